//! Everything that belongs to one request, folded.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};

use super::{Journal, Record};
use crate::{
    domain::{
        command::CATEGORY,
        ids::{CorrelationId, StreamId},
    },
    store::{
        correlated::Link,
        history::{HistoryError, Order},
        registry::Tenant,
        rows::RecordedEvent,
    },
};

/// Most links looked at, and most events and commands told.
const MOST: usize = 200;
/// Events read at the same time.
const PARALLEL: usize = 16;

/// What belongs to one request.
#[derive(Debug)]
pub struct Belongings {
    /// Its commands.
    pub records: Vec<Record>,
    /// Every other event, in the order in which they were recorded.
    pub events: Vec<RecordedEvent>,
    /// Whether there is more.
    pub truncated: bool,
}

impl Journal {
    /// The commands of a correlation id, whole, and the events that share it.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn belonging(
        &self,
        tenant: &Arc<Tenant>,
        correlation: &CorrelationId,
    ) -> Result<Belongings, HistoryError> {
        let (mut links, mut truncated) = self.store().correlated(tenant).links(correlation, MOST).await?;
        truncated |= links.len() > MOST;
        links.sort_by_key(|link| link.position);
        links.truncate(MOST);
        let (ours, others): (Vec<Link>, Vec<Link>) =
            links.into_iter().partition(|link| link.stream.category.as_str() == CATEGORY);
        let mut seen = BTreeSet::new();
        let ids: Vec<StreamId> =
            ours.into_iter().map(|link| link.stream.id).filter(|id| seen.insert(id.clone())).collect();
        let records = self.records(tenant, ids).await?;
        let history = self.store().history(tenant);
        let mut events: Vec<RecordedEvent> = stream::iter(others)
            .map(|link| {
                let history = history.clone();
                async move { history.events(&link.stream, Some(link.version), 1, Order::Asc).await }
            })
            .buffered(PARALLEL)
            .map_ok(|page| page.events)
            .try_concat()
            .await?;
        events.sort_by_key(|event| (event.recorded, event.position));
        Ok(Belongings { records, events, truncated })
    }

    /// The commands of a correlation id.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub(super) async fn correlated(
        &self,
        tenant: &Arc<Tenant>,
        correlation: &CorrelationId,
    ) -> Result<Vec<Record>, HistoryError> {
        let (links, _) = self.store().correlated(tenant).links(correlation, MOST).await?;
        let ours = links.into_iter().filter(|link| link.stream.category.as_str() == CATEGORY);
        let ids: BTreeSet<StreamId> = ours.map(|link| link.stream.id).collect();
        self.records(tenant, ids.into_iter().collect()).await
    }
}
