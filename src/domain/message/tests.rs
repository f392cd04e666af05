use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","tenantid":"a"}"#;

fn code(text: &str) -> &'static str {
    decode_document(text.as_bytes()).unwrap_err().code
}

#[test]
fn an_object_is_one_event_and_an_array_many() {
    let text = format!("\u{FEFF}\r\n {GOOD} \n");
    let one = decode_document(text.as_bytes()).unwrap();
    assert_eq!((one.len(), one[0].raw), (1, GOOD));
    let spaced = GOOD.replace(r#""id":"1""#, r#" "id" : "2""#);
    let text = format!(" [ {GOOD} , {spaced} ] ");
    let many = decode_document(text.as_bytes()).unwrap();
    assert_eq!(many.iter().map(|element| element.raw).collect::<Vec<_>>(), [GOOD, &spaced]);
    assert_eq!(many[0], one[0]);
    assert!(many[1].event.is_ok());
}

#[test]
fn a_document_that_cannot_be_read_fails_as_a_whole() {
    assert_eq!(code(""), DecodeError::NOT_JSON);
    assert_eq!(code("secret"), DecodeError::NOT_JSON);
    assert_eq!(code(&format!("{GOOD}{GOOD}")), DecodeError::NOT_JSON);
    assert_eq!(code(&format!("[{GOOD},]")), DecodeError::NOT_JSON);
    assert_eq!(code(&GOOD[..20]), DecodeError::NOT_JSON);
    assert_eq!(code("17"), DecodeError::NOT_A_CLOUDEVENT);
    assert_eq!(code(" [ ] "), DecodeError::EMPTY_BATCH);
    assert_eq!(code(&"[".repeat(1_000_000)), DecodeError::TOO_DEEP);
    assert_eq!(decode_document(b"\"\xFF\"").unwrap_err().invalid.to_string(), "`body` must be UTF-8");
    let bad = decode_document(br#"{"a": secret}"#).unwrap_err();
    assert_eq!(bad.invalid.to_string(), "`body` must be JSON; it is not at line 1, column 7");
}

#[test]
fn a_document_holds_so_many_events_and_no_more() {
    let array = |count: usize| format!("[{}]", vec![GOOD; count].join(","));
    assert_eq!(decode_document(array(MAX_EVENTS).as_bytes()).unwrap().len(), MAX_EVENTS);
    assert_eq!(code(&array(MAX_EVENTS + 1)), DecodeError::TOO_MANY_EVENTS);
}

#[test]
fn the_whole_document_is_bounded_in_depth() {
    let nested = |depth: usize| {
        let data = "[".repeat(depth - 1) + &"]".repeat(depth - 1);
        GOOD.replacen('{', &format!(r#"{{"data":{data},"#), 1)
    };
    assert!(decode_document(nested(json::MAX_DEPTH).as_bytes()).unwrap()[0].event.is_ok());
    assert_eq!(code(&nested(json::MAX_DEPTH + 1)), DecodeError::TOO_DEEP);
    // Brackets within strings are text.
    let text = GOOD.replacen('{', &format!(r#"{{"data":"\"{}","#, "[".repeat(1_000)), 1);
    assert!(decode_document(text.as_bytes()).unwrap()[0].event.is_ok());
}

#[test]
fn a_bad_element_fails_alone_and_keeps_its_text_and_tenant() {
    let bad = r#"{"specversion": "1.0", "tenantid":"b"}"#;
    let twice = r#"{"id":1,"id":1}"#;
    let text = format!("[{GOOD},{bad},17,[{GOOD}],{twice}]");
    let elements = decode_document(text.as_bytes()).unwrap();
    let codes: Vec<_> =
        elements.iter().map(|element| element.event.as_ref().map_err(|error| error.code).err()).collect();
    assert_eq!(
        codes,
        [
            None,
            Some(DecodeError::INVALID_ATTRIBUTE),
            Some(DecodeError::NOT_A_CLOUDEVENT),
            Some(DecodeError::NOT_A_CLOUDEVENT),
            Some(DecodeError::INVALID_ATTRIBUTE),
        ]
    );
    assert_eq!(&*elements[1].raw, bad);
    assert_eq!(elements[1].tenant.as_ref().map(TenantId::as_str), Some("b"));
    assert_eq!(&*elements[2].raw, "17");
}

#[test]
fn a_bad_event_is_filed_under_a_tenant_only_if_it_names_exactly_one() {
    let hint = |members: &str| {
        let text = format!(r#"{{"specversion":"0.3",{members}}}"#);
        decode_document(text.as_bytes()).unwrap().remove(0).tenant.map(|id| id.to_string())
    };
    assert_eq!(hint(r#""maraintenantid":"a""#).as_deref(), Some("a"));
    assert_eq!(hint(r#""tenantid":"a","maraintenantid":"a""#).as_deref(), Some("a"));
    assert_eq!(hint(r#""tenantid":"a","maraintenantid":"b""#), None);
    assert_eq!(hint(r#""tenantid":"a","maraintenantid":"b/c""#), None);
    assert_eq!(hint(r#""tenantid":"../a""#), None);
    assert_eq!(hint(r#""tenantid":7"#), None);
}

#[test]
fn a_batch_of_one_says_the_same_as_the_event_alone() {
    let content = |text: String| decode_document(text.as_bytes()).unwrap().remove(0).event.unwrap().content;
    assert_eq!(content(GOOD.to_owned()), content(format!("[{GOOD}]")));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_document(&bytes);
    }

    #[test]
    fn almost_json_never_panics(text in r#"[\[{]?("(specversion|data|id|tenantid)":|"1.0"|[\[\]{},:"\\u d0-9e.-]|null|true){0,30}"#) {
        let _ = decode_document(text.as_bytes());
    }

    #[test]
    fn a_damaged_event_never_panics(at in 0..GOOD.len(), byte: u8, cut in 0..GOOD.len()) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = decode_document(&bytes);
        let _ = decode_document(&bytes[cut..]);
    }

    #[test]
    fn an_error_never_repeats_a_value(name in "(specversion|id|source|type|subject|time|ext|expectedversion|tenantid|data_base64|category|authid)") {
        for value in [r#""CANARY\u0007""#, r#""CANARY/é""#, r#"{"x":"CANARY"}"#, r#"["CANARY"]"#] {
            let text = GOOD.replace(&format!("\"{name}\":"), "\"unused\":").replacen('{', &format!("{{\"{name}\":{value},"), 1);
            for element in decode_document(text.as_bytes()).into_iter().flatten() {
                if let Err(error) = element.event {
                    prop_assert!(!error.to_string().contains("CANARY"), "{}", error);
                }
            }
        }
    }
}
