//! What a command looks like.

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    domain::{
        command::{Command, Fact, Ignored, Stage, Verdict},
        event::Actor,
        ids::StreamId,
        timestamp::Timestamp,
    },
    journal::{Entry, Receipt, Record},
    links,
    store::{registry::Tenant, rows::ErasedMark},
};

/// What came of an operation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiptView<'a> {
    id: &'a str,
    status: &'static str,
    version: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    approvals: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<usize>,
    /// Why a decision counts for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<Ignored>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl<'a> ReceiptView<'a> {
    pub(super) fn of(id: &'a StreamId, receipt: &Receipt) -> Self {
        let Receipt { command, facts, repeated, .. } = receipt;
        let claim = match &command.stage {
            Stage::Claimed(claim) => Some(claim),
            _ => None,
        };
        let ignored = facts.iter().find_map(|(_, fact)| match fact {
            Fact::Given { ignored, .. } => *ignored,
            _ => None,
        });
        Self {
            id: id.as_str(),
            status: command.stage.status(),
            version: command.version,
            repeated: *repeated,
            approvals: command.policy().map(|_| command.approvals()),
            required: command.policy().map(|policy| policy.required()),
            ignored,
            fence: claim.map(|claim| claim.fence),
            until: claim.map(|claim| claim.until),
        }
    }
}

/// A command in full.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommandView<'a> {
    id: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a RawValue>,
    status: &'static str,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
    occurred_at: Timestamp,
    recorded_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_limit: Option<&'a RawValue>,
    /// When time alone changes the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<ClaimView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<OutcomeView<'a>>,
    /// JSON Patch (RFC 6902) from `before` to `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<json_patch::Patch>,
    /// What was erased of the dispatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased: Option<&'a ErasedMark>,
    href: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApprovalView<'a> {
    required: usize,
    approvals: usize,
    allow_requester: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a RawValue>,
    decisions: Vec<DecisionView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecisionView<'a> {
    decision: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<Ignored>,
    time: Timestamp,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    erased: Option<&'a ErasedMark>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClaimView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a Actor>,
    fence: u64,
    until: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutcomeView<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a Actor>,
    time: Timestamp,
    recorded_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_reason: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_micros: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<EventLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    once_revealed: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    erased: Option<&'a ErasedMark>,
}

#[derive(Serialize)]
struct EventLink {
    id: String,
    href: String,
}

impl<'a> CommandView<'a> {
    /// The command as it is at `now`, whether or not what fell due is on record yet.
    pub(super) fn of(tenant: &Tenant, record: &'a Record, now: Timestamp) -> Option<Self> {
        let (command, dispatched) = record.command.as_ref().zip(record.dispatched())?;
        let event = &dispatched.event;
        let envelope = &event.envelope;
        let stage = command.stage_at(now);
        Some(Self {
            id: record.id.as_str(),
            kind: dispatched.member("type"),
            status: stage.status(),
            version: record.version,
            actor: event.actor.as_ref(),
            recorded_by: envelope.recorded_by.as_ref().map(|by| by.as_str()),
            correlation_id: envelope.correlation.as_ref().map(|id| id.as_str()),
            causation_id: envelope.causation.as_ref().map(|id| id.as_str()),
            occurred_at: envelope.time.unwrap_or(event.recorded),
            recorded_time: event.recorded,
            data: dispatched.member("data"),
            metadata: dispatched.member("metadata"),
            time_limit: dispatched.member("timeLimit"),
            due_time: stage.due(),
            approval: approval(record, command, dispatched),
            claim: claim(record, &stage),
            outcome: record.concluded().map(|entry| outcome(tenant, entry, stage.status())),
            changes: changes(record),
            erased: event.erased.as_ref(),
            href: format!("/api/tenants/{}/commands/{}", tenant.id, links::segment(record.id.as_str())),
        })
    }
}

fn approval<'a>(record: &'a Record, command: &Command, dispatched: &'a Entry) -> Option<ApprovalView<'a>> {
    let policy = command.policy()?;
    let decisions = record.entries.iter().filter_map(|entry| match entry.fact {
        Fact::Given { verdict, ignored, .. } => Some(DecisionView {
            decision: verdict,
            actor: entry.event.actor.as_ref(),
            comment: entry.member("comment"),
            ignored,
            time: entry.event.envelope.time.unwrap_or(entry.event.recorded),
            version: entry.event.version,
            erased: entry.event.erased.as_ref(),
        }),
        _ => None,
    });
    Some(ApprovalView {
        required: policy.required(),
        approvals: command.approvals(),
        allow_requester: policy.allows_requester(),
        policy: dispatched.member("approval"),
        decisions: decisions.collect(),
    })
}

fn claim<'a>(record: &'a Record, stage: &Stage) -> Option<ClaimView<'a>> {
    let Stage::Claimed(claim) = stage else { return None };
    let entry = record.entries.iter().find(|entry| entry.event.version == claim.fence);
    let holder = entry.and_then(|entry| entry.event.actor.as_ref());
    Some(ClaimView { holder, fence: claim.fence, until: claim.until })
}

fn outcome<'a>(tenant: &Tenant, entry: &'a Entry, status: &'static str) -> OutcomeView<'a> {
    let ids = entry.member("events").and_then(|raw| serde_json::from_str::<Vec<String>>(raw.get()).ok());
    let link = |id: String| {
        let href = format!("/api/tenants/{}/events/{}", tenant.id, links::segment(&id));
        EventLink { id, href }
    };
    OutcomeView {
        status,
        actor: entry.event.actor.as_ref(),
        time: entry.event.envelope.time.unwrap_or(entry.event.recorded),
        recorded_time: entry.event.recorded,
        result: entry.member("result"),
        error: entry.member("error"),
        error_reason: entry.member("errorReason"),
        duration_micros: entry.member("durationMicros"),
        events: ids.unwrap_or_default().into_iter().map(link).collect(),
        once_revealed: entry.member("onceRevealed"),
        erased: entry.event.erased.as_ref(),
    }
}

/// What changed: from `before` to `after`, each taken from the result or else from the data.
fn changes(record: &Record) -> Option<json_patch::Patch> {
    #[derive(Default, Deserialize)]
    struct Sides {
        #[serde(default)]
        before: Option<Value>,
        #[serde(default)]
        after: Option<Value>,
    }
    let sides = |entry: Option<&Entry>, member| {
        let raw = entry.and_then(|entry| entry.member(member)).map(RawValue::get);
        let object = raw.filter(|text| text.trim_start().starts_with('{'));
        object.and_then(|text| serde_json::from_str::<Sides>(text).ok()).unwrap_or_default()
    };
    let (data, result) = (sides(record.dispatched(), "data"), sides(record.concluded(), "result"));
    let (before, after) = (result.before.or(data.before)?, result.after.or(data.after)?);
    Some(json_patch::diff(&before, &after))
}

impl CommandView<'_> {
    pub(super) fn status(&self) -> &'static str {
        self.status
    }
}

/// A page of commands. Not through `json!`, which would parse and rewrite every payload.
#[derive(Serialize)]
pub(super) struct Page<'a> {
    pub(super) commands: Vec<CommandView<'a>>,
    pub(super) cursor: Option<String>,
}
