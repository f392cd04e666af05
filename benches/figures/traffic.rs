//! Marain-shaped messages, always the same ones.

use annals::domain::{event::NewEvent, message::decode_document};
use anyhow::Context;
use serde_json::{Value, json};

/// The tenant of all messages.
pub(crate) const TENANT: &str = "bench";

/// The `n`th message of mixed instance traffic over `streams` instances. Each is created, then goes
/// on by transitions; one trigger in twenty is ignored, one transition in fifty faults. Every
/// message has a correlation id.
pub(crate) fn instance(n: usize, streams: usize) -> Value {
    let (instance, step) = (n % streams, n / streams);
    let (kind, status) = match step {
        0 => ("instance.created", "waiting"),
        _ if n % 50 == 7 => ("instance.faulted", "faulted"),
        _ if n % 20 == 3 => ("trigger.ignored", "waiting"),
        _ => ("instance.transition-completed", "waiting"),
    };
    let data = json!({
        "workflowId": "simple-expenses-workflow-1",
        "workflowInstanceId": format!("expense-claim-{instance}"),
        "newStatus": status,
        "newState": "waiting-for-approval",
        "trigger": { "id": format!("trigger-{n}"), "parameters": { "comment": "c".repeat(120) } },
        "newContext": { "Claimant": "J George", "CostCenter": "GD3724", "Notes": "n".repeat(200) },
    });
    event(n, kind, data, Some(format!("request-{n}")))
}

/// The `n`th message for the tenant's audit stream.
pub(crate) fn audit(n: usize) -> Value {
    let data = json!({ "triggerName": "submit", "parameters": { "comment": "c".repeat(320) } });
    event(n, "trigger.received", data, None)
}

fn event(n: usize, kind: &str, data: Value, correlation: Option<String>) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": format!("9f2c-{n:08}"),
        "source": "azuresubscriptionid.workflowresourcegroupname.bench",
        "subject": data["workflowInstanceId"],
        "type": format!("io.marain.workflow.{kind}"),
        "time": format!("2026-11-24T{:02}:{:02}:{:02}.1234567Z", n / 3600 % 24, n / 60 % 60, n % 60),
        "datacontenttype": "application/json",
        "maraintenantid": TENANT,
        "data": data,
    });
    if let Some(correlation) = correlation {
        event["correlationid"] = correlation.into();
    }
    event
}

/// Messages as the store takes them.
///
/// # Errors
/// When one is no event: a mistake in this file.
pub(crate) fn decoded(messages: impl IntoIterator<Item = Value>) -> anyhow::Result<Vec<NewEvent>> {
    let decode = |message: Value| {
        let text = message.to_string();
        let mut elements = decode_document(text.as_bytes())?;
        Ok(elements.pop().context("one message is one element")?.event?)
    };
    messages.into_iter().map(decode).collect()
}
