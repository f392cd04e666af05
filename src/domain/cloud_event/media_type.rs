//! What a content type says about the bytes that follow it.

/// How an HTTP body carries events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The body is a document: one event in structured mode, a batch, or a Marain envelope.
    Document,
    /// The body is the data of one event; its attributes are in `ce-` headers.
    Binary,
}

impl Mode {
    /// Tells the mode of a request; `None` when it is neither.
    ///
    /// `application/cloudevents` without a format is what Marain sends and means JSON here. Plain
    /// JSON without a `ce-specversion` header is read as a document, so that `curl` is enough.
    pub fn of(content_type: Option<&str>, has_specversion_header: bool) -> Option<Self> {
        let essence = content_type.map(essence).unwrap_or_default();
        match essence.as_str() {
            "application/cloudevents"
            | "application/cloudevents+json"
            | "application/cloudevents-batch"
            | "application/cloudevents-batch+json" => Some(Self::Document),
            other if other.starts_with("application/cloudevents") => None,
            _ if has_specversion_header => Some(Self::Binary),
            _ if content_type.is_some_and(is_json) => Some(Self::Document),
            _ => None,
        }
    }
}

/// Whether bytes of this type are JSON: `application/json`, `text/json`, any `+json`, and Marain's
/// own types, which are JSON without saying so.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    matches!(essence.as_str(), "application/json" | "text/json")
        || essence.ends_with("+json")
        || essence.starts_with("application/marain.")
        || essence.starts_with("application/vnd.marain.")
}

/// Whether bytes of this type are text that we may read as UTF-8.
pub(crate) fn is_utf8_text(content_type: &str) -> bool {
    let foreign = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset")
            && !["utf-8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
    };
    essence(content_type).starts_with("text/") && !content_type.split(';').skip(1).any(foreign)
}

/// `type/subtype` in lower case, without parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_follows_the_content_type_and_then_the_header() {
        let cases = [
            (Some("application/cloudevents; charset=utf-8"), false, Some(Mode::Document)),
            (Some("application/cloudevents+json"), true, Some(Mode::Document)),
            (Some("Application/CloudEvents-Batch+JSON"), false, Some(Mode::Document)),
            (Some("application/cloudevents+avro"), true, None),
            (Some("application/json"), false, Some(Mode::Document)),
            (Some("application/json"), true, Some(Mode::Binary)),
            (Some("application/vnd.marain.workflows.hosted.messageenvelope"), false, Some(Mode::Document)),
            (Some("text/plain"), false, None),
            (None, true, Some(Mode::Binary)),
            (None, false, None),
        ];
        for (content_type, header, want) in cases {
            assert_eq!(Mode::of(content_type, header), want, "{content_type:?} {header}");
        }
    }

    #[test]
    fn text_in_a_foreign_charset_is_not_read_as_utf_8() {
        assert!(is_utf8_text("text/plain"));
        assert!(is_utf8_text("text/html; Charset=\"UTF-8\""));
        assert!(!is_utf8_text("text/plain; charset=utf-16"));
        assert!(!is_utf8_text("application/xml"));
    }
}
