use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::domain::event::{MAX_DATA, MAX_ENVELOPE};

fn read(members: &str) -> Result<CloudEvent, DecodeError> {
    CloudEvent::from_json(&format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{members}}}"#))
}

fn binary(
    headers: &[(&str, &str)],
    content_type: Option<&str>,
    body: &[u8],
) -> Result<CloudEvent, DecodeError> {
    let required = [("CE-SpecVersion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "t")];
    let headers = required.iter().chain(headers).map(|(name, value)| (*name, value.as_bytes()));
    CloudEvent::from_binary(headers, content_type, Bytes::copy_from_slice(body))
}

#[test]
fn data_keeps_its_exact_text() {
    let text = r#"{ "b" : 1.0, "a":12345678901234567890123, "c":1e2 }"#;
    let event = read(&format!(r#","data": {text} "#)).unwrap();
    assert_eq!(event.data, Data::Json(text.into()));
    assert!(serde_json::to_string(&event).unwrap().contains(text));
}

#[test]
fn null_counts_as_not_given() {
    let event = read(r#","data":null,"data_base64":null,"subject":null,"time":null,"ext":null"#).unwrap();
    assert_eq!(event, read("").unwrap());
    assert_eq!(
        read(r#","data":null,"data_base64":"AAE=""#).unwrap().data,
        Data::Binary(Bytes::from_static(&[0, 1]))
    );
}

#[test]
fn bad_events_are_refused_with_the_field_and_the_rule() {
    let strings = "must be a string, a boolean or an integer of 32 bits";
    let numbers = "must be an integer of 32 bits (send other numbers as strings)";
    let names = "must be named with 1 to 64 lower-case letters (a-z) and digits, and not `data`";
    let cases = [
        (
            r#","data":1,"data_base64":"AA==""#,
            "`data` must not be given together with `data_base64`".to_owned(),
        ),
        (
            r#","data_base64":"secret!""#,
            "`data_base64` must be a string of standard, padded Base64".to_owned(),
        ),
        (r#","id":"2""#, "`body` must not hold a name twice in one object".to_owned()),
        (r#","subject":"""#, "`subject` must not be empty".to_owned()),
        (r#","subject":7"#, "`subject` must be a string".to_owned()),
        (r#","ext":1.0"#, format!("`ext` {numbers}")),
        (r#","ext":2147483648"#, format!("`ext` {numbers}")),
        (r#","ext":{"a":1}"#, format!("`ext` {strings}")),
        (r#","ext":[]"#, format!("`ext` {strings}")),
        (r#","ext":"\u0007""#, "`ext` must not contain control characters or noncharacters".to_owned()),
        (r#","ext":"\ud800""#, "`ext` must not contain lone surrogates".to_owned()),
        (r#","correlationId":"x""#, format!("`correlationId` {names}")),
        (r#","a\u0000b":{}"#, format!("`extension` {names}")),
        (r#","a b":1"#, format!("`extension` {names}")),
    ];
    for (members, want) in cases {
        let error = read(members).unwrap_err();
        assert_eq!(
            (error.code, error.invalid.to_string()),
            (DecodeError::INVALID_ATTRIBUTE, want),
            "{members}"
        );
    }
    let time = read(r#","time":"secret""#).unwrap_err().to_string();
    assert!(time.contains("`time` must be an RFC 3339") && !time.contains("secret"), "{time}");
}

#[test]
fn what_is_no_cloudevent_says_which_kind_of_wrong_it_is() {
    let cases = [
        ("[]", DecodeError::NOT_A_CLOUDEVENT),
        ("{}", DecodeError::NOT_A_CLOUDEVENT),
        (r#"{"specversion":null}"#, DecodeError::NOT_A_CLOUDEVENT),
        (r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, DecodeError::UNSUPPORTED_SPECVERSION),
        (r#"{"specversion":"1.0","source":"s","type":"t"}"#, DecodeError::INVALID_ATTRIBUTE),
        (r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, DecodeError::INVALID_ATTRIBUTE),
        ("{", DecodeError::NOT_JSON),
        ("", DecodeError::NOT_JSON),
        (r#"{"a":1} x"#, DecodeError::NOT_JSON),
    ];
    for (text, want) in cases {
        assert_eq!(CloudEvent::from_json(text).unwrap_err().code, want, "{text}");
    }
}

#[test]
fn the_limits_are_inclusive() {
    let data = |size: usize| format!(r#","data":"{}""#, "x".repeat(size - 2));
    assert!(read(&data(MAX_DATA)).is_ok());
    assert_eq!(read(&data(MAX_DATA + 1)).unwrap_err().code, DecodeError::DATA_TOO_LARGE);
    let base64 = |size: usize| {
        use base64::{Engine, prelude::BASE64_STANDARD};
        format!(r#","data_base64":"{}""#, BASE64_STANDARD.encode(vec![1; size]))
    };
    assert!(read(&base64(MAX_DATA)).is_ok());
    assert_eq!(read(&base64(MAX_DATA + 1)).unwrap_err().code, DecodeError::DATA_TOO_LARGE);
    assert_eq!(read(&base64(2 * MAX_DATA)).unwrap_err().code, DecodeError::DATA_TOO_LARGE);
    // specversion 1.0, id 1, source s, type t, ext
    let rest = 11 + 3 + 2 + 1 + 6 + 1 + 4 + 1 + 3;
    let envelope = |size: usize| format!(r#","ext":"{}""#, "x".repeat(size - rest));
    assert!(read(&envelope(MAX_ENVELOPE)).is_ok());
    assert_eq!(read(&envelope(MAX_ENVELOPE + 1)).unwrap_err().code, DecodeError::ENVELOPE_TOO_LARGE);
}

#[test]
fn header_values_are_unquoted_and_percent_decoded() {
    let cases = [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        (r#""a \"b\" \\""#, r#"a "b" \"#),
        ("100%", "100%"),
        ("%2520", "%20"),
        (r#"""#, r#"""#),
    ];
    for (sent, want) in cases {
        let event = binary(&[("ce-ext", sent)], None, b"").unwrap();
        assert_eq!(event.extensions["ext"], Attribute::Str(want.to_owned()), "{sent}");
    }
    assert_eq!(
        binary(&[("ce-ext", "%FF")], None, b"").unwrap_err().invalid.to_string(),
        "`ext` must be UTF-8 after percent-decoding"
    );
}

#[test]
fn binary_mode_refuses_what_has_no_one_meaning() {
    for header in
        [("ce-ext", "2"), ("CE-Id", "2"), ("ce-datacontenttype", "a/b"), ("ce-data", "x"), ("ce-a_b", "x")]
    {
        let error = binary(&[("ce-ext", "1"), header], None, b"").unwrap_err();
        assert_eq!(error.code, DecodeError::INVALID_ATTRIBUTE, "{header:?}");
    }
    let error = binary(&[], Some("application/json"), b"{secret").unwrap_err();
    assert_eq!(error.code, DecodeError::NOT_JSON);
    assert_eq!(error.invalid.field, "data");
    assert!(binary(&[("content-length", "3"), ("x", "\u{7f}"), ("é", "x")], None, b"").is_ok());
}

#[test]
fn the_body_becomes_what_the_json_format_would_carry() {
    let json = |text: &str| Data::Json(text.into());
    let bytes = |bytes: &'static [u8]| Data::Binary(Bytes::from_static(bytes));
    let cases: [(Option<&str>, &'static [u8], Data); 12] = [
        (Some("application/json; charset=utf-8"), b" {\"a\": 1} ", json(r#"{"a": 1}"#)),
        (Some("application/vnd.x+json"), b"[1]", json("[1]")),
        (Some("application/json"), b"null", Data::None),
        (Some("application/json"), b"", Data::None),
        (Some("text/plain"), b"say \"hi\"", json(r#""say \"hi\"""#)),
        (Some("text/plain"), b"\xFF", bytes(b"\xFF")),
        (Some("text/plain; charset=utf-16"), b"h\0", bytes(b"h\0")),
        (Some("application/xml"), b"<a/>", bytes(b"<a/>")),
        (Some("application/octet-stream"), b"{}", bytes(b"{}")),
        (None, b"{}", json("{}")),
        (None, b"{", bytes(b"{")),
        (None, b"\xFF", bytes(b"\xFF")),
    ];
    for (content_type, body, want) in cases {
        assert_eq!(binary(&[], content_type, body).unwrap().data, want, "{content_type:?} {body:?}");
    }
}

fn event() -> impl Strategy<Value = CloudEvent> {
    let text = "[ -~äé€😀\u{2028}]{1,20}";
    let value = prop_oneof![
        any::<bool>().prop_map(Attribute::Bool),
        any::<i32>().prop_map(Attribute::Int),
        text.prop_map(Attribute::Str),
    ];
    let data = prop_oneof![
        Just(Data::None),
        Just(Data::Json(r#"{"b": 1.0, "a": [1e400, "\ud800"]}"#.into())),
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(|bytes| Data::Binary(bytes.into())),
    ];
    let optional = || proptest::option::of(text);
    let time = proptest::option::of(any::<i64>().prop_map(|nanos| Timestamp::from_unix_nanos(nanos.into())));
    let core = (text, text, text, optional(), optional(), optional(), time);
    let extensions = proptest::collection::btree_map("x[a-z0-9]{1,20}", value, 0..5);
    (core, extensions, data).prop_map(
        |((id, source, event_type, subject, content_type, schema, time), extensions, data)| CloudEvent {
            id: EventId::parse(id).unwrap(),
            source: Source::parse(source).unwrap(),
            event_type: EventType::parse(event_type).unwrap(),
            subject,
            time,
            content_type,
            data_schema: schema,
            extensions,
            data,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(event in event()) {
        let text = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(CloudEvent::from_json(&text).unwrap(), event);
    }

    #[test]
    fn arbitrary_headers_and_bodies_never_panic(
        name in "(?i)ce-.{0,8}|.{0,12}",
        value in proptest::collection::vec(any::<u8>(), 0..30),
        content_type in proptest::option::of("(text|application)/[a-z+]{0,8}(json)?(; ?charset=.{0,5})?"),
        body in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let required: [(&str, &[u8]); 4] = [("ce-specversion", b"1.0"), ("ce-id", b"1"), ("ce-source", b"s"), ("ce-type", b"t")];
        let headers = required.into_iter().chain([(name.as_str(), value.as_slice())]);
        if let Ok(event) = CloudEvent::from_binary(headers, content_type.as_deref(), body.into()) {
            let text = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(CloudEvent::from_json(&text).unwrap(), event);
        }
    }
}
