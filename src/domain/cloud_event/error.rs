//! Why something that came in is not an event.

use crate::domain::ids::Invalid;

/// A message, or one element of it, that can never be stored as it is.
///
/// `code` is stable and meant for machines (dead letters, problem documents); `invalid` names the
/// field and the rule for the sender. Neither ever repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {invalid}")]
pub struct DecodeError {
    /// One of the constants of this type.
    pub code: &'static str,
    /// The field and the rule that it broke.
    pub invalid: Invalid,
}

impl DecodeError {
    /// Not UTF-8, or not JSON.
    pub const NOT_JSON: &'static str = "not-json";
    /// JSON whose arrays and objects are nested too deeply.
    pub const TOO_DEEP: &'static str = "too-deep";
    /// JSON, but neither a CloudEvent nor a Marain envelope.
    pub const NOT_A_CLOUDEVENT: &'static str = "not-a-cloudevent";
    /// A CloudEvent of another version than 1.0.
    pub const UNSUPPORTED_SPECVERSION: &'static str = "unsupported-specversion";
    /// A member or attribute that breaks a rule of CloudEvents or of ours.
    pub const INVALID_ATTRIBUTE: &'static str = "invalid-attribute";
    /// `data` is larger than [`MAX_DATA`](crate::domain::event::MAX_DATA).
    pub const DATA_TOO_LARGE: &'static str = "data-too-large";
    /// The attributes are larger than [`MAX_ENVELOPE`](crate::domain::event::MAX_ENVELOPE).
    pub const ENVELOPE_TOO_LARGE: &'static str = "envelope-too-large";
    /// The event does not say which stream it belongs to.
    pub const NO_STREAM: &'static str = "no-stream";
    /// A type, category or source that only Annals itself uses.
    pub const RESERVED: &'static str = "reserved";
    /// An array with no events.
    pub const EMPTY_BATCH: &'static str = "empty-batch";
    /// An array with more events than one message may carry.
    pub const TOO_MANY_EVENTS: &'static str = "too-many-events";
    /// A Marain envelope that does not say what it carries.
    pub const INVALID_ENVELOPE: &'static str = "invalid-envelope";

    /// Says that `field` broke `rule`, under `code`.
    pub(crate) fn new(code: &'static str, field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { code, invalid: Invalid::new(field, rule) }
    }
}

impl From<Invalid> for DecodeError {
    fn from(invalid: Invalid) -> Self {
        Self { code: Self::INVALID_ATTRIBUTE, invalid }
    }
}
