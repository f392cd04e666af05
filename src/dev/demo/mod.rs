//! `--demo`: expense claims as Marain.Workflow would send them, through the queue like any other
//! message, and then what there is to see. Every figure that is shown was read back.

mod claims;

use std::{
    fmt::Write as _,
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use self::claims::Claims;
use super::change_feed::ChangeFeed;

const TENANT: &str = "demo";
/// Source of what Annals tells of tenants.
const REGISTRY: &str = "/annals/registry";
/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plays the demo against `annals dev` on `port`.
pub(super) async fn play(port: u16, feed: &ChangeFeed) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
    let stage = Stage { base: format!("http://localhost:{port}"), client };
    stage.register().await?;
    // Ids of this run: a second run of the demo is new traffic, not a repetition.
    let run = uuid::Uuid::new_v4().simple().to_string();
    let claims = Claims { run: &run[..8] };
    let messages = claims.messages();
    let (published, audited) = (feed.published(), stage.version("tenant/audit").await?);
    let started = Instant::now();
    for message in &messages {
        stage.put(message).await?;
    }
    // One delivery too many, as queues do: it is recognised, and published once more.
    stage.put(&messages[0]).await?;
    let sent = messages.len() + 1;
    let events = stage.published(feed, published, sent).await?;
    let took = started.elapsed();

    let mut stored = stage.version("tenant/audit").await? - audited;
    for claim in 1..=3 {
        stored += stage.version(&format!("workflow-instance/{}", claims.id(claim))).await?;
    }
    let distinct: std::collections::BTreeSet<_> = events.iter().map(|event| event["id"].as_str()).collect();
    let figures = format!(
        "  Sent       {sent} queue messages of 3 expense claims, one of them twice\n  \
           Stored     {stored} events, each once\n  \
           Published  {} change-feed events with {} different ids, {} ms after the first was sent\n",
        events.len(),
        distinct.len(),
        took.as_millis(),
    );
    let history = stage.history(&claims.id(2)).await?;
    show(&format!("{}{figures}\n{history}{}", hello(&stage.base), lines(&stage.base, &claims)))
        .context("stdout is closed")
}

struct Stage {
    base: String,
    client: reqwest::Client,
}

impl Stage {
    async fn register(&self) -> anyhow::Result<()> {
        let tenant = json!({ "displayName": "Demo", "partitions": 1, "changeFeed": { "enabled": true } });
        let request = self.client.put(format!("{}/api/tenants/{TENANT}", self.base));
        let request = request.header("content-type", "application/json").body(tenant.to_string());
        let status = request.send().await?.status();
        ensure!(status.is_success(), "the tenant was not registered ({status})");
        Ok(())
    }

    async fn put(&self, message: &Value) -> anyhow::Result<()> {
        let queue = format!("{}/dev/queues/annals-ingest/messages", self.base);
        let put = self.client.post(queue).body(message.to_string()).send().await?;
        ensure!(put.status().is_success(), "a message was not put on the queue");
        Ok(())
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let text = self.client.get(format!("{}{path}", self.base)).send().await?.text().await?;
        serde_json::from_str(&text).with_context(|| format!("{path} is not JSON"))
    }

    /// How many events a stream has.
    async fn version(&self, stream: &str) -> anyhow::Result<u64> {
        let stream = self.get(&format!("/api/tenants/{TENANT}/streams/{stream}")).await?;
        Ok(stream["version"].as_u64().unwrap_or(0))
    }

    /// Waits until so many events of the claims were published since, and gives them. That the tenant was
    /// added is published too, sooner or later: that event is not one of them.
    async fn published(&self, feed: &ChangeFeed, since: u64, expected: usize) -> anyhow::Result<Vec<Value>> {
        let started = Instant::now();
        loop {
            let page = feed.page(since, usize::MAX);
            let sent = |event: &&Value| event["data"]["eventSource"] != REGISTRY;
            let events: Vec<_> =
                page["events"].as_array().into_iter().flatten().filter(sent).cloned().collect();
            if events.len() >= expected {
                return Ok(events);
            }
            if started.elapsed() > PATIENCE {
                let (count, depths) = (events.len(), self.get("/dev/queues").await?);
                bail!("only {count} of {expected} events were published after 30 s; queues: {depths}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What Annals tells about a claim, one line an event.
    async fn history(&self, claim: &str) -> anyhow::Result<String> {
        let path = format!("/api/tenants/{TENANT}/streams/workflow-instance/{claim}/events");
        let page = self.get(&path).await?;
        let mut text = format!("  {claim}, as Annals tells it:\n");
        for event in page["events"].as_array().into_iter().flatten() {
            let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (time, kind) = (words(&event["time"]), words(&event["type"]));
            writeln!(
                text,
                "    {}  {}  {:<22} {}",
                event["version"],
                time.get(11..19).unwrap_or(&time),
                kind.trim_start_matches("io.marain.workflow.instance."),
                words(&event["data"]["newStatus"]),
            )?;
        }
        Ok(text)
    }
}

fn hello(base: &str) -> String {
    format!("\n  Annals is running on {base} (Ctrl-C ends it)\n\n")
}

fn lines(base: &str, claims: &Claims<'_>) -> String {
    let (approved, faulted) = (claims.id(1), claims.id(2));
    let api = format!("{base}/api/tenants/{TENANT}");
    format!(
        "
  Which claims are faulted?
    curl '{api}/streams?category=workflow-instance&status=faulted'

  What happened to one, newest first, with its data?
    curl '{api}/streams/workflow-instance/{faulted}/events?order=desc'

  Where does another one stand?
    curl '{api}/streams/workflow-instance/{approved}'

  What did Event Grid receive? (Essentials and a link: no context, no parameters.)
    curl '{base}/dev/change-feed'

  Send an event of your own, through the queue and directly, and read both:
    curl '{base}/dev/queues/annals-ingest/messages' -d '{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/me\",\"type\":\"note\",\"subject\":\"n-1\",\"tenantid\":\"{TENANT}\",\"data\":{{\"text\":\"hello\"}}}}'
    curl '{api}/events' -H 'content-type: application/cloudevents+json' -d '{{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/me\",\"type\":\"note\",\"subject\":\"n-1\",\"data\":{{\"text\":\"again\"}}}}'
    curl '{api}/streams/event/n-1/events'

  What cannot be stored is kept, with the reason:
    curl '{base}/dev/queues/annals-ingest/messages' -d 'not json'
    curl '{base}/api/dead-letters'

"
    )
}

#[expect(clippy::print_stdout, reason = "what the demo is for")]
fn show(text: &str) -> std::io::Result<()> {
    print!("{text}");
    std::io::stdout().flush()
}
