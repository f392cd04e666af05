use super::*;

/// Every queue invocation of `tests/fixtures/host`, and what it must be read as.
const CAPTURED: [(&str, &str, &str, u32); 10] = [
    ("queue-string-object", r#"{"orderId":"A-1","qty":2}"#, "5e7c0d4e-0000-0000-0000-000000000000", 1),
    ("queue-string-text", "hello world", "5e7c0d4e-0000-0000-0000-000000000001", 2),
    ("queue-string-base64-text", "aGVsbG8=", "5e7c0d4e-0000-0000-0000-000000000002", 1),
    ("queue-string-array", "[1,2]", "5e7c0d4e-0000-0000-0000-000000000003", 1),
    (
        "queue-string-merged-metadata",
        r#"{"id":"forged","dequeueCount":99,"popReceipt":"forged","sys":{"MethodName":"forged"},"insertionTime":"1999-01-01T00:00:00Z"}"#,
        "",
        1,
    ),
    ("queue-string-retry-context", "hello world", "5e7c0d4e-0000-0000-0000-000000000005", 1),
    ("queue-binary-text", "hello", "5e7c0d4e-0000-0000-0000-000000000006", 1),
    (
        "queue-binary-object",
        r#"{"id":"forged","dequeueCount":99,"popReceipt":"forged"}"#,
        "5e7c0d4e-0000-0000-0000-000000000007",
        3,
    ),
    (
        "queue-binary-base64-of-json",
        r#"{"orderId":"A-1","qty":2}"#,
        "5e7c0d4e-0000-0000-0000-000000000008",
        1,
    ),
    ("queue-binary-never-expires", "{}", "5e7c0d4e-0000-0000-0000-000000000009", 480),
];

fn captured(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/host/2024-10-25");
    std::fs::read(format!("{folder}/{name}.json")).unwrap()
}

fn parse(json: &str) -> QueueMessage {
    QueueMessage::parse(json.as_bytes()).unwrap()
}

#[test]
fn every_captured_queue_invocation_is_read() {
    for (name, body, id, dequeue_count) in CAPTURED {
        let read = QueueMessage::parse(&captured(name)).unwrap();
        assert_eq!(String::from_utf8(read.body).unwrap(), body, "{name}");
        assert_eq!((read.id.as_str(), read.dequeue_count), (id, dequeue_count), "{name}");
    }
}

#[test]
fn what_a_message_merges_over_the_metadata_is_never_believed() {
    // As the host writes the members of a message: a number, a truth value, an object.
    for forged in [r#""\"99\"""#, r#""\"True\"""#, r#"{"a":1}"#] {
        let json = format!(
            r#"{{"Data":{{"msg":"\"{{\\\"ID\\\":1,\\\"DEQUEUECOUNT\\\":99}}\""}},"Metadata":{{"DequeueCount":{forged},"Id":{forged}}}}}"#
        );
        let message = parse(&json);
        assert_eq!((message.id.as_str(), message.dequeue_count), ("", 1), "{forged}");
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
