//! What callers send: the bodies of the operations, over HTTP and in messages.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Number, value::RawValue};

use super::secrets::Revealed;
use crate::domain::{
    command::{Outcome, Verdict},
    event::Actor,
    ids::Invalid,
    json::Members,
    timestamp::Timestamp,
};

/// Reads a body that may hold these members and no others.
///
/// # Errors
/// [`Invalid`], which names the place but never repeats what stands there.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, allowed: &[&[&str]]) -> Result<T, Invalid> {
    let members = Members::parse("body", text).map_err(|error| error.invalid)?;
    let foreign = members.iter().find(|(name, _)| !allowed.iter().any(|names| names.contains(name)));
    if foreign.is_some() {
        let names = allowed.concat().join("`, `");
        return Err(Invalid::new("body", format!("must hold no other members than `{names}`")));
    }
    serde_json::from_str(text).map_err(|error| {
        let rule = format!(
            "has a member of the wrong kind, or lacks one: see line {}, column {}",
            error.line(),
            error.column()
        );
        Invalid::new("body", rule)
    })
}

/// What a command is, and what must happen before it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DispatchBody {
    /// The type of the command.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Anything else worth keeping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    /// How long the work may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Number>,
    /// Who must agree first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalBody>,
}

/// Who must agree before a command runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalBody {
    /// How many.
    pub required: usize,
    /// The ids of those who may; none: anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Vec<Approver>>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether the requester may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_requester: bool,
}

/// Somebody who may decide: an id, or an actor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Approver {
    /// By id.
    Id(String),
    /// As an actor; its id counts.
    Actor(Actor),
}

/// How the work ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeBody {
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Outcome>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// The error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<RawValue>>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<Box<RawValue>>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_micros: Option<u64>,
    /// Ids of the events that it made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The fence of the claim under which it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// Pointers into `result` to what is shown to the caller once and never kept.
    #[serde(default, skip_serializing)]
    pub secret_once: Vec<String>,
    /// The fingerprints of those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub once_revealed: Vec<Revealed>,
}

/// What an approver says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GivenBody {
    /// Yes or no.
    pub decision: Verdict,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Who wants to run a command, and how long it takes.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ClaimBody {
    /// Seconds.
    #[serde(default)]
    pub lease: Option<f64>,
}

/// Who needs more time.
#[derive(Debug, Clone, Deserialize)]
pub struct RenewBody {
    /// The fence of the claim.
    pub fence: u64,
    /// Seconds from now.
    #[serde(default)]
    pub lease: Option<f64>,
}

/// Why a command is taken back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct WithdrawBody {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The members of each body.
pub(crate) mod members {
    pub(crate) const DISPATCH: &[&str] = &["type", "data", "metadata", "timeLimit", "approval"];
    pub(crate) const OUTCOME: &[&str] =
        &["status", "result", "error", "errorReason", "durationMicros", "events", "fence", "secretOnce"];
    /// Of a message that we put on the queue ourselves.
    pub(crate) const SEALED_OUTCOME: &[&str] = &["onceRevealed"];
    pub(crate) const GIVEN: &[&str] = &["decision", "comment"];
    pub(crate) const CLAIM: &[&str] = &["lease"];
    pub(crate) const RENEW: &[&str] = &["fence", "lease"];
    pub(crate) const WITHDRAW: &[&str] = &["comment"];
}
