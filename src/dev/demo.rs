//! `--demo`: expense claims as Marain.Workflow would send them, through the queue like any other
//! message, and then what there is to see.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::change_feed::ChangeFeed;

const TENANT: &str = "demo";
const CREATED: &str = "application/marain.workflows.workflowinstance.creationcloudeventdata";
const TRANSITION: &str = "application/marain.workflows.workflowinstance.transitioncloudeventdata";
/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plays the demo against `annals dev` on `port`.
pub(super) async fn play(port: u16, feed: &ChangeFeed) -> anyhow::Result<()> {
    let base = format!("http://localhost:{port}");
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
    let tenant = json!({ "displayName": "Demo", "partitions": 1, "changeFeed": { "enabled": true } });
    let registered = client
        .put(format!("{base}/api/tenants/{TENANT}"))
        .header("content-type", "application/json")
        .body(tenant.to_string())
        .send()
        .await?;
    ensure!(registered.status().is_success(), "the tenant was not registered ({})", registered.status());

    // Ids of this run: a second run of the demo is new traffic, not a repetition.
    let run = uuid::Uuid::new_v4().simple().to_string();
    let claims = Claims { run: &run[..8] };
    let messages = claims.messages();
    let before = feed.published();
    for message in &messages {
        let put = client.post(format!("{base}/dev/queues/annals-ingest/messages")).body(message.to_string());
        ensure!(put.send().await?.status().is_success(), "a message was not put on the queue");
    }
    // One delivery too many, as queues do: it is recognised, and published once more.
    let again =
        client.post(format!("{base}/dev/queues/annals-ingest/messages")).body(messages[0].to_string());
    ensure!(again.send().await?.status().is_success(), "a message was not put on the queue");
    let expected = before + messages.len() as u64 + 1;
    let started = Instant::now();
    while feed.published() < expected {
        if started.elapsed() > PATIENCE {
            let depths = client.get(format!("{base}/dev/queues")).send().await?.text().await?;
            bail!(
                "only {} of {expected} events were published after 30 s; queues: {depths}",
                feed.published()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let faulted = claims.id(2);
    let versions =
        version(&client, &format!("{base}/api/tenants/{TENANT}/streams/workflow-instance/{faulted}")).await?;
    show(&summary(&base, messages.len(), versions, started.elapsed(), &claims)).context("stdout is closed")
}

async fn version(client: &reqwest::Client, url: &str) -> anyhow::Result<u64> {
    let stream: Value = serde_json::from_str(&client.get(url).send().await?.text().await?)?;
    stream["version"].as_u64().context("the faulted claim has no history")
}

fn summary(base: &str, messages: usize, versions: u64, took: Duration, claims: &Claims<'_>) -> String {
    let (approved, faulted) = (claims.id(1), claims.id(2));
    let api = format!("{base}/api/tenants/{TENANT}");
    format!(
        "
  Annals is running on {base} (Ctrl-C ends it)

  Sent      {sent} queue messages for 3 expense claims of tenant `{TENANT}`, one of them twice
  Stored    {messages} events, each once; claim {faulted} has {versions} and is faulted
  Published {sent} change-feed events, the repeated one under the same id ({took} ms)

  Which claims are faulted?
    curl '{api}/streams?category=workflow-instance&status=faulted'

  What happened to one, newest first, with its data?
    curl '{api}/streams/workflow-instance/{faulted}/events?order=desc'

  Where does another one stand?
    curl '{api}/streams/workflow-instance/{approved}'

  What did Event Grid receive? (Essentials and a link: no context, no parameters.)
    curl '{base}/dev/change-feed'

  Send an event of your own, through the queue and directly:
    curl '{base}/dev/queues/annals-ingest/messages' -d '{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/me\",\"type\":\"note\",\"subject\":\"n-1\",\"tenantid\":\"{TENANT}\",\"data\":{{\"text\":\"hello\"}}}}'
    curl '{api}/events' -H 'content-type: application/cloudevents+json' -d '{{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/me\",\"type\":\"note\",\"subject\":\"n-1\",\"data\":{{\"text\":\"again\"}}}}'
    curl '{api}/streams/event/n-1/events'

  What cannot be stored is kept, with the reason:
    curl '{base}/dev/queues/annals-ingest/messages' -d 'not json'
    curl '{base}/api/dead-letters'

",
        sent = messages + 1,
        took = took.as_millis(),
    )
}

#[expect(clippy::print_stdout, reason = "what the demo is for")]
fn show(text: &str) -> std::io::Result<()> {
    print!("{text}");
    std::io::stdout().flush()
}

/// Three expense claims: one approved, one faulted, one whose trigger was ignored.
struct Claims<'a> {
    run: &'a str,
}

impl Claims<'_> {
    fn id(&self, claim: u32) -> String {
        format!("expense-claim-{}-{claim}", self.run)
    }

    fn messages(&self) -> Vec<Value> {
        let mut messages = Vec::new();
        for (claim, claimant) in [(1, "J George"), (2, "A Okafor"), (3, "M Lindqvist")] {
            messages.push(self.start_request(claim, claimant));
            messages.push(self.created(claim, claimant));
            messages.push(self.trigger(claim, "submit"));
            messages.push(self.transition(
                claim,
                1,
                "submit",
                "waiting-for-submission",
                "waiting-for-approval",
                "waiting",
            ));
        }
        messages.push(self.trigger(1, "approve"));
        messages.push(self.transition(1, 2, "approve", "waiting-for-approval", "approved", "complete"));
        messages.push(self.trigger(2, "approve"));
        messages.push(self.faulted(2));
        messages.push(self.ignored(3));
        messages
    }

    /// Marain's message envelope, as its ingestion API puts it on the queue.
    fn envelope(&self, operation: &str, body: Value) -> Value {
        let mut envelope = json!({
            "contentType": "application/vnd.marain.workflows.hosted.messageenvelope",
            "tenantId": TENANT,
            "operationId": uuid::Uuid::new_v4().to_string(),
            "isStartWorkflowRequest": operation == "start",
            "isTrigger": operation == "trigger",
            "properties": {},
        });
        envelope[if operation == "start" { "startWorkflowInstanceRequest" } else { "trigger" }] = body;
        envelope
    }

    fn start_request(&self, claim: u32, claimant: &str) -> Value {
        self.envelope(
            "start",
            json!({
                "contentType": "application/vnd.marain.workflows.hosted.startworkflowinstancerequest",
                "context": { "Claimant": claimant, "CostCenter": "GD3724" },
                "requestId": format!("request-{}-{claim}", self.run),
                "workflowId": "simple-expenses-workflow-1",
                "workflowInstanceId": self.id(claim),
            }),
        )
    }

    fn trigger(&self, claim: u32, name: &str) -> Value {
        self.envelope(
            "trigger",
            json!({
                "contentType": "application/vnd.marain.workflows.hosted.trigger",
                "id": format!("{name}-{}-{claim}", self.run),
                "triggerName": name,
                "parameters": { "comment": "as agreed" },
                "subjects": [self.id(claim)],
            }),
        )
    }

    /// One of Marain's CloudEvents; `step` puts it in its place in time.
    fn event(&self, claim: u32, step: u32, kind: &str, content_type: &str, data: Value) -> Value {
        json!({
            "id": format!("{}-{claim}-{step}", self.run),
            "source": format!("azuresubscriptionid.workflowresourcegroupname.{TENANT}"),
            "specversion": "1.0",
            "subject": self.id(claim),
            "type": format!("io.marain.workflow.{kind}"),
            "time": format!("2026-11-24T09:{claim:02}:{step:02}.1234567Z"),
            "datacontenttype": content_type,
            "data": data,
            "maraintenantid": TENANT,
        })
    }

    fn created(&self, claim: u32, claimant: &str) -> Value {
        let context = json!({ "Claimant": claimant, "CostCenter": "GD3724" });
        self.event(
            claim,
            0,
            "instance.created",
            CREATED,
            json!({
                "contentType": CREATED,
                "workflowInstanceId": self.id(claim),
                "workflowId": "simple-expenses-workflow-1",
                "newState": "waiting-for-submission",
                "newStatus": "waiting",
                "suppliedContext": context,
                "newContext": context,
            }),
        )
    }

    fn transition(
        &self,
        claim: u32,
        step: u32,
        transition: &str,
        from: &str,
        to: &str,
        status: &str,
    ) -> Value {
        self.event(claim, step, "instance.transition-completed", TRANSITION, json!({
            "contentType": TRANSITION,
            "workflowInstanceId": self.id(claim),
            "workflowId": "simple-expenses-workflow-1",
            "trigger": { "triggerName": transition, "parameters": { "comment": "as agreed" }, "subjects": [self.id(claim)] },
            "previousState": from,
            "previousStatus": "waiting",
            "transitionId": transition,
            "newState": to,
            "newStatus": status,
        }))
    }

    fn faulted(&self, claim: u32) -> Value {
        self.event(
            claim,
            2,
            "instance.faulted",
            TRANSITION,
            json!({
                "contentType": TRANSITION,
                "workflowInstanceId": self.id(claim),
                "workflowId": "simple-expenses-workflow-1",
                "previousState": "waiting-for-approval",
                "previousStatus": "waiting",
                "newStatus": "faulted",
            }),
        )
    }

    fn ignored(&self, claim: u32) -> Value {
        self.event(
            claim,
            2,
            "trigger.ignored",
            "application/json",
            json!({
                "workflowInstanceId": self.id(claim),
                "workflowId": "simple-expenses-workflow-1",
                "reason": "no transition of state waiting-for-approval accepts the trigger `submit`",
            }),
        )
    }
}
