//! The wire contract with the Functions host: requests and answers, and nothing else.
//!
//! Tolerance lives here, once. The host encodes a queue message in one of two ways: with
//! `dataType: binary` as base64, otherwise as a JSON string that holds JSON text. In the second it
//! merges the members of the message over the metadata, names compared without case: a sender could
//! pretend another `Id` or `DequeueCount`. What it merges is always quoted once more, which the
//! genuine count never is; an `Id` that the message has too is not believed.

use std::{borrow::Cow, collections::BTreeMap};

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::domain::json::{self, Members};

/// Name of the input binding of the queue functions.
const MESSAGE: &str = "msg";

/// An invocation is not what the contract says.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the invocation is not JSON")]
    Json(#[from] serde_json::Error),
    #[error("the invocation is not UTF-8")]
    NotUtf8,
    #[error("the invocation holds no queue message")]
    NoMessage,
}

/// Members stay where they are in the text: of a dozen, two or three are read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Posted<'a> {
    #[serde(borrow, default)]
    data: Members<'a>,
    #[serde(borrow, default)]
    metadata: Members<'a>,
}

/// A message as a queue function gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueMessage {
    /// What the sender put on the queue, without the base64 that some senders add.
    pub(super) body: Vec<u8>,
    /// The queue's id of the message; empty where the message itself may have written it.
    pub(super) id: String,
    /// How often it was delivered, this time included; 1 where the message may have written it.
    pub(super) dequeue_count: u32,
}

impl QueueMessage {
    /// Reads an invocation of a queue function.
    pub(super) fn parse(invocation: &[u8]) -> Result<Self, WireError> {
        let text = std::str::from_utf8(invocation).map_err(|_| WireError::NotUtf8)?;
        let Posted { data, metadata } = serde_json::from_str(text)?;
        let message = data.get(MESSAGE).or_else(|| data.only()).ok_or(WireError::NoMessage)?;
        let Payload { stored, merged } = match json::string(message) {
            Some(text) => payload(text),
            None => Payload { stored: message.get().as_bytes().to_vec(), merged: true },
        };
        let id = metadata.string("Id");
        let id = id.filter(|_| !(merged && has_member(&stored, "id")));
        Ok(Self {
            id: id.map(|id| unquote(&id)).unwrap_or_default(),
            dequeue_count: metadata.get("DequeueCount").and_then(count).unwrap_or(1),
            body: without_base64(stored),
        })
    }
}

/// The stored text of a message.
struct Payload {
    stored: Vec<u8>,
    /// Whether the host has merged its members over the metadata.
    merged: bool,
}

fn payload(text: Cow<'_, str>) -> Payload {
    if text.starts_with('"')
        && let Ok(inner) = serde_json::from_str::<String>(&text)
    {
        return Payload { stored: inner.into_bytes(), merged: true };
    }
    match STANDARD.decode(text.as_ref()) {
        Ok(stored) => Payload { stored, merged: false },
        Err(_) => Payload { stored: text.into_owned().into_bytes(), merged: true },
    }
}

/// A count as the host writes it: bare digits. What was merged is quoted once more.
fn count(value: &RawValue) -> Option<u32> {
    value.get().trim_matches('"').parse().ok()
}

fn has_member(message: &[u8], name: &str) -> bool {
    serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(message)
        .is_ok_and(|members| members.keys().any(|member| member.eq_ignore_ascii_case(name)))
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

/// `"\"x\""` and `x` alike: the host writes ids with quotes.
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
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_strings")]
    events: Vec<Box<RawValue>>,
}

fn as_strings<S: Serializer>(events: &[Box<RawValue>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(events.iter().map(|event| event.get()))
}

impl Success {
    /// A success that publishes nothing.
    pub(super) fn silent() -> Self {
        Self { outputs: Outputs::default() }
    }

    /// A success that publishes events.
    pub(super) fn publishing(events: Vec<Box<RawValue>>) -> Self {
        Self { outputs: Outputs { events } }
    }
}

impl IntoResponse for Success {
    fn into_response(self) -> Response {
        // An event stands there as a string: its quotes are escaped.
        let events = self.outputs.events.iter().map(|event| event.get().len() * 5 / 4);
        let mut body = Vec::with_capacity(64 + events.sum::<usize>());
        serde_json::to_writer(&mut body, &self).expect("strings serialise");
        ([(CONTENT_TYPE, "application/json")], body).into_response()
    }
}

#[cfg(test)]
mod tests;
