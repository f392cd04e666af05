use proptest::prelude::*;

use super::*;

fn effect_of(
    event_type: &str,
    category: Option<&str>,
    subject: Option<&str>,
    data: &str,
) -> Result<Effect, DecodeError> {
    effect(
        &EventType::parse(event_type).unwrap(),
        category.map(|category| Category::parse(category).unwrap()),
        subject,
        &Source::parse("the/source").unwrap(),
        &Data::Json(data.into()),
    )
}

fn stream_of(effect: &Effect) -> String {
    match &effect.target {
        Target::TenantAudit => "(tenant audit)".to_owned(),
        Target::Stream(name) => name.to_string(),
    }
}

#[test]
fn each_known_type_has_its_stream_and_status() {
    let data = r#"{"workflowInstanceId":"i","newStatus":"waiting","newState":"draft"}"#;
    let cases = [
        ("io.marain.workflow.trigger.received", "(tenant audit)", None, false),
        ("io.marain.workflow.instance.creation-requested", "(tenant audit)", None, false),
        ("io.marain.workflow.trigger.ignored", "workflow-instance/i", None, false),
        ("io.marain.workflow.instance.created", "workflow-instance/i", Some("waiting"), true),
        (
            "io.marain.workflow.instance.creation-failed",
            "workflow-instance/i",
            Some("creation-failed"),
            false,
        ),
        ("io.marain.workflow.instance.transition-completed", "workflow-instance/i", Some("waiting"), false),
        ("io.marain.workflow.instance.faulted", "workflow-instance/i", Some("faulted"), false),
        ("annals.command.received", "command/subject", None, false),
        ("annals.approval.given", "command/subject", None, false),
        ("annals.commander.x", "house/subject", None, false),
        ("io.marain.workflow.instance.created.v2", "house/subject", None, false),
    ];
    assert_eq!(
        TABLE.len(),
        cases.iter().filter(|case| TABLE.iter().any(|known| known.event_type == case.0)).count()
    );
    for (event_type, stream, status, starts_stream) in cases {
        let effect = effect_of(event_type, Some("house"), Some("subject"), data).unwrap();
        assert_eq!(stream_of(&effect), stream, "{event_type}");
        assert_eq!(effect.status.as_ref().map(Status::as_str), status, "{event_type}");
        assert_eq!(effect.starts_stream, starts_stream, "{event_type}");
    }
}

#[test]
fn the_instance_is_named_by_the_data_or_else_by_the_subject() {
    let created = "io.marain.workflow.instance.created";
    for (data, want) in [
        (r#"{"workflowInstanceId":"i\u00e9"}"#, "workflow-instance/ié"),
        (r#"{"workflowInstanceId":""}"#, "workflow-instance/s"),
        (r#"{"workflowInstanceId":7}"#, "workflow-instance/s"),
        (r#"{"workflowInstanceId":"\ud800"}"#, "workflow-instance/s"),
        (r#"["workflowInstanceId"]"#, "workflow-instance/s"),
    ] {
        assert_eq!(stream_of(&effect_of(created, None, Some("s"), data).unwrap()), want, "{data}");
    }
    assert_eq!(effect_of(created, None, None, "{}").unwrap_err().code, DecodeError::NO_STREAM);
    assert_eq!(
        effect_of("annals.command.received", None, None, "{}").unwrap_err().code,
        DecodeError::NO_STREAM
    );
    let long = format!(r#"{{"workflowInstanceId":"{}"}}"#, "x".repeat(1025));
    assert_eq!(
        effect_of(created, None, None, &long).unwrap_err().invalid.to_string(),
        "`data.workflowInstanceId` must be at most 1024 bytes of UTF-8, got 1025"
    );
}

#[test]
fn an_unknown_type_goes_where_category_and_subject_say() {
    let of = |category, subject| stream_of(&effect_of("com.example.x", category, subject, "{}").unwrap());
    assert_eq!(of(Some("order"), Some("7/a")), "order/7/a");
    assert_eq!(of(None, Some("7")), "event/7");
    assert_eq!(of(None, None), "event/the/source");
    let foreign = effect_of("com.example.x", Some("command"), Some("7"), "{}").unwrap_err();
    assert_eq!((foreign.code, foreign.invalid.field.as_str()), (DecodeError::RESERVED, "category"));
}

#[test]
fn our_own_sources_are_nobody_elses_whatever_the_type() {
    let of = |event_type: &str, source: &str| {
        let element = serde_json::json!({
            "specversion": "1.0", "id": "in-doubt-1", "source": source, "type": event_type, "subject": "c",
        });
        let text = element.to_string();
        let elements = crate::domain::message::decode_document(text.as_bytes()).unwrap();
        elements.into_iter().next().unwrap().event.map_err(|error| error.code)
    };
    for event_type in ["com.example.x", TRIGGER_RECEIVED, "io.marain.workflow.instance.faulted"] {
        for source in ["annals", "urn:annals:journal"] {
            assert_eq!(of(event_type, source).unwrap_err(), DecodeError::RESERVED, "{source} {event_type}");
        }
        assert!(of(event_type, "urn:annals:journal:mine").is_ok());
    }
    // The journal's own come sealed, and the journal looks at that.
    assert!(of("annals.command.succeeded", "urn:annals:journal").is_ok());
}

#[test]
fn only_short_strings_of_the_allow_list_are_essential() {
    let just = "é".repeat(256);
    let over = "é".repeat(257);
    let data = format!(
        r#"{{"workflowId":"{just}","transitionId":"{over}","previousStatus":{{"secret":1}},"newStatus":1e999,
            "newState":"{over}","workflowInstanceId":"i","suppliedContext":{{"workflowId":"secret"}},"extra":"secret"}}"#
    );
    let effect = effect_of("io.marain.workflow.instance.transition-completed", None, None, &data).unwrap();
    let want = [("instanceId", "i".to_owned()), ("workflowId", just)];
    assert_eq!(effect.essentials, want.into_iter().collect());
    assert_eq!((effect.status, effect.state), (None, None));
}

#[test]
fn an_unknown_type_publishes_nothing_of_its_data() {
    let data = r#"{"workflowId":"w","newStatus":"faulted","newState":"s"}"#;
    let effect = effect_of("com.example.x", None, None, data).unwrap();
    assert!(effect.essentials.is_empty() && effect.status.is_none() && effect.state.is_none());
}

proptest! {
    #[test]
    fn any_data_of_a_known_type_is_taken(data in ".{0,60}") {
        prop_assert!(effect_of("io.marain.workflow.instance.faulted", None, Some("s"), &data).is_ok());
    }
}
