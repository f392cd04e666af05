//! The wire contract with the Functions host: requests and answers, and nothing else.
//!
//! Tolerance lives here, once. The host encodes a queue message in one of two ways: with
//! `dataType: binary` as base64, otherwise as a JSON string that holds JSON text. In the second,
//! members of the message are merged over the metadata, so that only the first can be believed
//! about how often a message was delivered.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Name of the input binding of the queue functions.
const MESSAGE: &str = "msg";

/// An invocation is not what the contract says.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the invocation is not JSON")]
    Json(#[from] serde_json::Error),
    #[error("the invocation holds no queue message")]
    NoMessage,
}

/// Members borrow from the invocation: it holds a message of up to 64 KiB, and much that is never
/// looked at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Invocation<'a> {
    #[serde(default, borrow)]
    data: BTreeMap<Text<'a>, &'a RawValue>,
    #[serde(default, borrow)]
    metadata: BTreeMap<Text<'a>, &'a RawValue>,
}

/// A string that borrows when it holds no escapes (a bare `Cow` never does).
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::borrow::Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A message as a queue function gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueMessage {
    /// What the sender put on the queue, without the base64 that some senders add.
    pub(super) body: Vec<u8>,
    /// The queue's id of the message, as a label.
    pub(super) id: String,
    /// How often it was delivered, this time included; 1 where the host cannot be believed.
    pub(super) dequeue_count: u32,
}

impl QueueMessage {
    /// Reads an invocation of a queue function.
    pub(super) fn parse(invocation: &[u8]) -> Result<Self, WireError> {
        let Invocation { data, metadata } = serde_json::from_slice(invocation)?;
        let only = || data.values().next().filter(|_| data.len() == 1);
        let value = data.get(MESSAGE).or_else(only).ok_or(WireError::NoMessage)?;
        let (stored, trusted) = match value.get() {
            text if text.starts_with('"') => payload(serde_json::from_str::<Text<'_>>(text)?.0),
            other => (other.as_bytes().to_vec(), false),
        };
        let label = |key: &str| {
            let text = serde_json::from_str::<Text<'_>>(metadata.get(key)?.get()).ok()?;
            Some(unquote(&text.0))
        };
        let count = label("DequeueCount").and_then(|digits| digits.parse().ok()).filter(|_| trusted);
        Ok(Self {
            body: without_base64(stored),
            id: label("Id").unwrap_or_default(),
            dequeue_count: count.unwrap_or(1),
        })
    }
}

/// The stored text of a message, and whether the metadata beside it can be believed.
fn payload(text: Cow<'_, str>) -> (Vec<u8>, bool) {
    if text.starts_with('"')
        && let Ok(inner) = serde_json::from_str::<String>(&text)
    {
        return (inner.into_bytes(), false);
    }
    match STANDARD.decode(text.as_ref()) {
        Ok(bytes) => (bytes, true),
        Err(_) => (text.into_owned().into_bytes(), false),
    }
}

/// Takes off the base64 of a sender that encodes its messages, where what is below is JSON.
fn without_base64(stored: Vec<u8>) -> Vec<u8> {
    let trimmed = stored.trim_ascii();
    if is_json_like(trimmed) {
        return stored;
    }
    match STANDARD.decode(trimmed) {
        Ok(inner) if is_json_like(inner.trim_ascii()) => inner,
        _ => stored,
    }
}

fn is_json_like(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    matches!(text.first(), Some(b'{' | b'['))
}

/// `"\"x\""` and `x` alike: the host writes strings with quotes and digits without.
fn unquote(text: &str) -> String {
    serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned())
}

/// A success. MUST be an object with a body: an empty answer makes the host wait for ever.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Success {
    /// Output bindings; empty for none.
    outputs: Outputs,
}

#[derive(Debug, Default, Serialize)]
struct Outputs {
    /// One JSON text an event. Strings in an array are the one form that the host passes on
    /// byte for byte: objects would be written again, dates changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<String>,
}

impl Success {
    /// A success that publishes nothing.
    pub(super) fn silent() -> Self {
        Self { outputs: Outputs::default() }
    }

    /// A success that publishes events.
    pub(super) fn publishing(events: Vec<Box<RawValue>>) -> Self {
        Self { outputs: Outputs { events: events.into_iter().map(|event| event.get().to_owned()).collect() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> QueueMessage {
        QueueMessage::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn string_mode_is_decoded_twice() {
        let cases = [
            (
                r#"{"Data":{"msg":"\"{\\\"orderId\\\":\\\"A-1\\\",\\\"qty\\\":2}\""},"Metadata":{}}"#,
                r#"{"orderId":"A-1","qty":2}"#,
            ),
            (r#"{"Data":{"msg":"\"hello world\""},"Metadata":{}}"#, "hello world"),
            (r#"{"Data":{"msg":"\"aGVsbG8=\""},"Metadata":{}}"#, "aGVsbG8="),
            (r#"{"Data":{"msg":"aGVsbG8="},"Metadata":{}}"#, "hello"),
        ];
        for (json, body) in cases {
            assert_eq!(String::from_utf8(parse(json).body).unwrap(), body);
        }
    }

    #[test]
    fn base64_that_holds_json_is_taken_off_in_both_modes() {
        let inner = STANDARD.encode(r#"{"id":"1"}"#);
        let binary = format!(r#"{{"Data":{{"msg":"{}"}}}}"#, STANDARD.encode(&inner));
        let string = format!(r#"{{"Data":{{"msg":"\"{inner}\""}}}}"#);
        for json in [binary, string] {
            assert_eq!(parse(&json).body, br#"{"id":"1"}"#);
        }
    }

    #[test]
    fn the_full_example_of_the_contract_is_read_and_its_merged_metadata_is_not_believed() {
        let message = parse(include_str!("../../tests/fixtures/host/queue-string-mode.json"));
        assert_eq!(message.body, br#"{"orderId":"A-1","qty":2}"#);
        assert_eq!(message.id, "5e7c0d4e-0000-0000-0000-000000000000");
        let merged = r#"{"Data":{"msg":"\"{\\\"dequeueCount\\\":99}\""},"Metadata":{"DequeueCount":"\"99\"","Id":"\"x\""}}"#;
        assert_eq!(parse(merged).dequeue_count, 1);
    }

    #[test]
    fn binary_mode_says_how_often_a_message_was_delivered() {
        let json = format!(
            r#"{{"Data":{{"msg":"{}"}},"Metadata":{{"DequeueCount":"3","Id":"\"a-b\""}}}}"#,
            STANDARD.encode("{}")
        );
        let message = parse(&json);
        assert_eq!(
            (message.dequeue_count, message.id.as_str(), message.body.as_slice()),
            (3, "a-b", &b"{}"[..])
        );
    }

    #[test]
    fn another_binding_name_and_an_object_are_understood() {
        assert_eq!(parse(r#"{"Data":{"item":{"id":"1"}}}"#).body, br#"{"id":"1"}"#);
        assert!(matches!(QueueMessage::parse(b"{\"Data\":{}}"), Err(WireError::NoMessage)));
        assert!(matches!(QueueMessage::parse(b"x"), Err(WireError::Json(_))));
    }

    #[test]
    fn a_success_is_never_empty_and_its_events_are_strings() {
        assert_eq!(serde_json::to_string(&Success::silent()).unwrap(), r#"{"Outputs":{}}"#);
        let event = RawValue::from_string(r#"{"id":"1"}"#.to_owned()).unwrap();
        let json = serde_json::to_string(&Success::publishing(vec![event])).unwrap();
        assert_eq!(json, r#"{"Outputs":{"events":["{\"id\":\"1\"}"]}}"#);
    }
}
