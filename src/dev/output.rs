//! What the host makes of a function's answer: accepted or not, and which events are published.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Most bytes that Event Grid takes in one request.
const MAX_REQUEST: usize = 1_000_000;

/// Why an invocation failed, in the host's place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejected {
    #[error("the handler answered {0}")]
    Status(u16),
    #[error("an empty answer: the real host would wait for ever, then kill the handler")]
    Hang,
    #[error("the answer is no JSON object of content type application/json")]
    NotJson,
    #[error("the Event Grid output `{0}` is not what the binding takes")]
    Output(&'static str),
    #[error("Event Grid would refuse an event: {0}")]
    Event(&'static str),
}

/// Accepts an answer, and gives the events for the binding `event_grid`.
pub(super) fn accept(
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
    event_grid: Option<&str>,
) -> Result<Vec<Value>, Rejected> {
    if !(200..300).contains(&status) {
        return Err(Rejected::Status(status));
    }
    let text = body.trim_ascii();
    if text.is_empty() || text == b"null" {
        return Err(Rejected::Hang);
    }
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let json = ["application/json", "text/json"].contains(&essence);
    let answer: Value = serde_json::from_slice(text).ok().filter(|_| json).ok_or(Rejected::NotJson)?;
    let members = answer.as_object().ok_or(Rejected::NotJson)?;
    let outputs =
        members.iter().find(|(name, _)| name.eq_ignore_ascii_case("outputs")).map(|(_, value)| value);
    let Some(output) = outputs.zip(event_grid).and_then(|(outputs, name)| outputs.get(name)) else {
        return Ok(Vec::new());
    };
    let events = items(output)?;
    events.iter().try_for_each(check)?;
    let bytes: usize = events.iter().map(|event| event.to_string().len()).sum();
    if bytes > MAX_REQUEST {
        return Err(Rejected::Event("all events of one invocation together must stay below 1 MB"));
    }
    Ok(events)
}

/// The collector's items: one for each element of an array, or the one object or JSON text.
fn items(output: &Value) -> Result<Vec<Value>, Rejected> {
    match output {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(item).collect(),
        Value::String(text) if !text.starts_with(['{', '[']) && STANDARD.decode(text).is_ok() => {
            Err(Rejected::Output("a bare string that is valid base64 is decoded to bytes by the host"))
        }
        one => match item(one)? {
            Value::Array(items) => Ok(items),
            event => Ok(vec![event]),
        },
    }
}

fn item(value: &Value) -> Result<Value, Rejected> {
    match value {
        Value::String(text) => {
            serde_json::from_str(text).map_err(|_| Rejected::Output("an item is not JSON"))
        }
        Value::Object(_) => Ok(value.clone()),
        _ => Err(Rejected::Output("an item must be an event or its JSON text")),
    }
}

/// Checks an event as Azure.Core's converter reads a CloudEvent.
fn check(event: &Value) -> Result<(), Rejected> {
    let members = event.as_object().ok_or(Rejected::Event("an event must be a JSON object"))?;
    for required in ["id", "source", "type"] {
        if members.get(required).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Rejected::Event("id, source and type must be given"));
        }
    }
    if members.get("specversion").and_then(Value::as_str) != Some("1.0") {
        return Err(Rejected::Event("specversion must be 1.0"));
    }
    for (name, value) in members.iter().filter(|(name, _)| !matches!(name.as_str(), "data" | "data_base64")) {
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(Rejected::Event("extension names must be lower-case letters and digits"));
        }
        let fits = match value {
            Value::Number(number) => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Value::String(_) | Value::Bool(_) => true,
            _ => false,
        };
        if !fits {
            return Err(Rejected::Event("an attribute must be a string, a truth value or a 32-bit number"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const JSON: Option<&str> = Some("application/json");

    fn outputs(events: &Value) -> Result<Vec<Value>, Rejected> {
        accept(200, JSON, json!({ "Outputs": { "events": events } }).to_string().as_bytes(), Some("events"))
    }

    fn event() -> Value {
        json!({ "id": "p00-1", "source": "/tenants/t", "type": "x", "specversion": "1.0", "sequence": "1" })
    }

    #[test]
    fn answers_are_accepted_as_the_host_accepts_them() {
        assert_eq!(accept(200, JSON, b"{}", None), Ok(Vec::new()));
        assert_eq!(accept(200, Some("application/json; charset=utf-8"), b"{}", None), Ok(Vec::new()));
        assert_eq!(accept(500, JSON, b"{}", None), Err(Rejected::Status(500)));
        assert_eq!(accept(200, JSON, b"", None), Err(Rejected::Hang));
        assert_eq!(accept(200, JSON, b"null", None), Err(Rejected::Hang));
        assert_eq!(accept(200, Some("text/plain"), b"{}", None), Err(Rejected::NotJson));
        assert_eq!(accept(200, JSON, b"[]", None), Err(Rejected::NotJson));
    }

    #[test]
    fn an_array_of_json_texts_is_one_event_each() {
        assert_eq!(outputs(&json!([event().to_string(), event().to_string()])), Ok(vec![event(), event()]));
        assert_eq!(outputs(&json!([])), Ok(Vec::new()));
        assert!(matches!(outputs(&json!([null])), Err(Rejected::Output(_))));
        assert!(matches!(outputs(&json!(["nonsense"])), Err(Rejected::Output(_))));
        assert!(matches!(outputs(&json!("test")), Err(Rejected::Output(_))));
    }

    #[test]
    fn an_event_that_event_grid_would_refuse_fails_the_invocation() {
        for (name, value) in
            [("id", json!("")), ("specversion", json!("0.3")), ("Upper", json!("x")), ("n", json!(3e9))]
        {
            let mut bad = event();
            bad[name] = value;
            assert!(
                matches!(outputs(&json!([bad.to_string()])), Err(Rejected::Event(_))),
                "{name} was taken"
            );
        }
    }
}
