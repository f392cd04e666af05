//! The functions that a timer starts: each idempotent, short, and gone on with by the next.

use std::time::Duration;

use super::{
    functions::{Invoked, done, invocation},
    gauge,
    guard::Invocation,
    ingest::Outcome,
};

/// The same for a timer, which ends on its own after a minute and what it was just doing.
const TIMER_LIMIT: Duration = Duration::from_secs(90);

/// Hands over feed debt that its writer left behind, and puts on record what fell due.
pub(super) async fn sweep(Invocation { app, headers, .. }: Invocation) -> Invoked {
    invocation("sweep", TIMER_LIMIT, &headers, async {
        let now = app.store.clock().now();
        let (handed, fallen) = tokio::join!(app.handover.sweep(&app.store, now), app.journal.sweep(now));
        let (handed, fallen) = (handed?, fallen?);
        if handed > 0 {
            tracing::info!(evt = "feed.swept", commits = handed);
        }
        if fallen > 0 {
            tracing::info!(evt = "journal.swept", events = fallen);
        }
        Ok(done(Outcome::default()))
    })
    .await
}

/// Says how every tenant and queue stands.
pub(super) async fn gauge(Invocation { app, headers, .. }: Invocation) -> Invoked {
    invocation("gauge", TIMER_LIMIT, &headers, async {
        gauge::gauge(&app).await?;
        Ok(done(Outcome::default()))
    })
    .await
}

/// Signs where each log ends.
pub(super) async fn checkpoint(Invocation { app, headers, .. }: Invocation) -> Invoked {
    invocation("checkpoint", TIMER_LIMIT, &headers, async {
        app.checkpoints.round(&app.store).await?;
        Ok(done(Outcome::default()))
    })
    .await
}
