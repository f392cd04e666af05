//! What an erasure asks for, and how it is found in messages that were never stored.

use serde_json::Value;

use crate::domain::ids::Identity;

/// An event, or everything that is about a data subject.
pub(super) enum What {
    /// The event of this identity.
    Event(Identity),
    /// Every event tagged with this subject.
    Subject(String),
}

impl What {
    /// Whether a message holds it, as far as the message can be read.
    pub(super) fn is_in(&self, body: &[u8]) -> bool {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        match self {
            Self::Event(identity) => {
                let is = |event: &Value| {
                    event["id"].as_str() == Some(identity.id.as_str())
                        && event["source"].as_str() == Some(identity.source.as_str())
                };
                match &json {
                    Some(Value::Array(events)) => events.iter().any(is),
                    Some(event) => is(event),
                    None => {
                        let source = identity.source.as_str().as_bytes();
                        holds(body, identity.id.as_str().as_bytes()) && holds(body, source)
                    }
                }
            }
            Self::Subject(subject) => {
                holds(body, subject.as_bytes()) || json.is_some_and(|json| says(&json, subject))
            }
        }
    }
}

/// Whether the text stands there as a word of its own: `person-1` is not `person-12`, and a letter about
/// somebody else is not lost for it.
fn holds(body: &[u8], text: &[u8]) -> bool {
    let of_word = |at: Option<usize>| at.and_then(|at| body.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    let ends = [text.first(), text.last()].map(|end| end.is_some_and(u8::is_ascii_alphanumeric));
    body.windows(text.len()).enumerate().any(|(at, window)| {
        window == text
            && !(ends[0] && of_word(at.checked_sub(1)))
            && !(ends[1] && of_word(Some(at + text.len())))
    })
}

fn says(json: &Value, text: &str) -> bool {
    match json {
        Value::String(value) => holds(value.as_bytes(), text.as_bytes()),
        Value::Array(values) => values.iter().any(|value| says(value, text)),
        Value::Object(members) => {
            let named = |name: &String| holds(name.as_bytes(), text.as_bytes());
            members.iter().any(|(name, value)| named(name) || says(value, text))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_about_a_subject_that_it_names_and_no_other() {
        let about = |body: &str| What::Subject("person-1".to_owned()).is_in(body.as_bytes());
        for body in [
            r#"{"datasubject":"person-1"}"#,
            r#"{"data":{"who":["mail of person-1."]}}"#,
            r#"{"data":{"person-1":true}}"#,
            r#"{"datasubject":"\u0070erson-1"}"#,
            r#"[{"a":"x\nperson-1"}]"#,
            "not JSON at all, but person-1 is in it",
        ] {
            assert!(about(body), "{body}");
        }
        for body in
            [r#"{"datasubject":"person-12"}"#, r#"{"datasubject":"xperson-1"}"#, "{}", "person-10 of 10"]
        {
            assert!(!about(body), "{body}");
        }
    }
}
