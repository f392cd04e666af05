use super::*;
use crate::domain::{event::Target, message::decode_document};

const TENANT: &str = "3633754ac4c9be44b55bfe791b1780f1ca7153e8fbe1b54db4b5a5a0e2d5d9f1";
const CREATED: &str = include_str!("../../../tests/fixtures/marain/instance-created.json");
const TRANSITION: &str = include_str!("../../../tests/fixtures/marain/transition-completed.json");
const FAULTED: &str = include_str!("../../../tests/fixtures/marain/instance-faulted.json");
const TRIGGER: &str = include_str!("../../../tests/fixtures/marain/envelope-trigger.json");
const START: &str = include_str!("../../../tests/fixtures/marain/envelope-start-request.json");

fn decode(text: &str) -> Result<NewEvent, DecodeError> {
    let mut elements = decode_document(text.as_bytes()).unwrap();
    assert_eq!(elements.len(), 1);
    elements.remove(0).event
}

fn essentials(event: &NewEvent) -> Vec<(&str, &str)> {
    event.essentials.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn the_published_events_are_taken_unchanged() {
    let cases = [
        (CREATED, "created", "waiting", Some("waiting-for-submission")),
        (TRANSITION, "transition-completed", "waiting", Some("waiting-for-approval")),
        (FAULTED, "faulted", "faulted", None),
    ];
    for (text, event_type, status, state) in cases {
        let event = decode(text).unwrap();
        assert_eq!(event.event_type.as_str(), format!("io.marain.workflow.instance.{event_type}"));
        assert_eq!(event.tenant.as_ref().unwrap().as_str(), TENANT);
        assert!(
            matches!(&event.target, Target::Stream(name) if name.to_string() == "workflow-instance/instance")
        );
        assert_eq!(event.status.as_ref().unwrap().as_str(), status);
        assert_eq!(event.state.as_deref(), state);
        assert_eq!(event.starts_stream, event_type == "created");
        let data = Members::parse("body", text).unwrap().get("data").unwrap();
        assert_eq!(event.data, Data::Json(data.get().into()));
        assert!(event.extensions.is_empty());
    }
    assert_eq!(
        essentials(&decode(TRANSITION).unwrap()),
        [
            ("instanceId", "instance"),
            ("newStatus", "waiting"),
            ("previousStatus", "waiting"),
            ("transitionId", "submit"),
            ("workflowId", "simple-expenses-workflow-1"),
        ]
    );
}

#[test]
fn an_envelope_with_a_trigger_is_a_trigger_received() {
    let event = decode(TRIGGER).unwrap();
    assert_eq!(event.id.as_str(), "0f8fad5b-d9cb-469f-a165-70867728950e");
    assert_eq!(event.source.as_str(), SOURCE);
    assert_eq!(event.event_type.as_str(), "io.marain.workflow.trigger.received");
    assert_eq!(event.subject.as_deref(), Some("trigger-id-1"));
    assert_eq!(event.tenant.as_ref().unwrap().as_str(), TENANT);
    assert_eq!(event.correlation.as_ref().unwrap().as_str(), event.id.as_str());
    assert_eq!(event.content_type.as_deref(), Some(ENVELOPE));
    assert_eq!(event.data, Data::Json(TRIGGER.into()));
    assert_eq!(event.target, Target::TenantAudit);
    assert!(event.essentials.is_empty());
}

#[test]
fn an_envelope_with_a_start_request_is_a_creation_requested() {
    let event = decode(START).unwrap();
    assert_eq!(event.id.as_str(), "7c9e6679-7425-40de-944b-e07fc1f90ae7");
    assert_eq!(event.event_type.as_str(), "io.marain.workflow.instance.creation-requested");
    assert_eq!(event.subject.as_deref(), Some("instance"));
    assert_eq!(event.target, Target::TenantAudit);
    assert_eq!(
        essentials(&event),
        [("instanceId", "instance"), ("workflowId", "simple-expenses-workflow-1")]
    );
}

#[test]
fn without_an_operation_the_trigger_or_request_lends_its_id() {
    for (text, operation, own) in [
        (TRIGGER, "0f8fad5b-d9cb-469f-a165-70867728950e", "trigger-id-1"),
        (START, "7c9e6679-7425-40de-944b-e07fc1f90ae7", "request-1"),
    ] {
        for text in [text.replace(operation, NIL), text.replace("operationId", "unused")] {
            let event = decode(&text).unwrap();
            assert_eq!((event.id.as_str(), event.correlation), (own, None));
            let error = decode(&text.replace(own, "")).unwrap_err();
            assert_eq!(
                (error.code, error.invalid.field.as_str()),
                (DecodeError::INVALID_ENVELOPE, "operationId")
            );
        }
    }
}

#[test]
fn an_envelope_must_say_what_it_carries() {
    let both = TRIGGER.replace(r#""isStartWorkflowRequest":false"#, r#""isStartWorkflowRequest":true"#);
    let neither = TRIGGER.replace(r#""isTrigger":true"#, r#""isTrigger":false"#);
    let empty = START.replace("startWorkflowInstanceRequest\":{", "x\":{");
    for text in [both, neither, empty] {
        assert_eq!(decode(&text).unwrap_err().code, DecodeError::INVALID_ENVELOPE, "{text}");
    }
}

#[test]
fn a_bad_envelope_is_still_filed_under_its_tenant() {
    let text = TRIGGER.replace(r#""isTrigger":true"#, r#""isTrigger":null"#);
    let elements = decode_document(text.as_bytes()).unwrap();
    assert!(elements[0].event.is_err());
    assert_eq!(elements[0].tenant.as_ref().unwrap().as_str(), TENANT);
}

#[test]
fn a_cloudevent_with_a_content_type_member_is_no_envelope() {
    let text = TRIGGER.replacen('{', r#"{"specversion":"1.0","#, 1);
    assert_eq!(decode(&text).unwrap_err().code, DecodeError::INVALID_ATTRIBUTE);
}
