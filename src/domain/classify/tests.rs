use super::*;
use crate::domain::event::Data;

fn read(members: &str) -> Result<NewEvent, DecodeError> {
    let text = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{members}}}"#);
    classify(CloudEvent::from_json(&text).unwrap())
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn what_means_something_becomes_a_member_and_the_rest_stays() {
    let event = read(&format!(
        r#","tenantid":"t1","category":"order","subject":"7","correlationid":5,"causationid":"c",
            "authtype":"user","authid":"jane","expectedversion":3,"traceparent":"{TRACE}","other":true"#
    ))
    .unwrap();
    assert_eq!(event.tenant.as_ref().map(TenantId::as_str), Some("t1"));
    assert!(matches!(&event.target, Target::Stream(name) if name.to_string() == "order/7"));
    assert_eq!(event.correlation.as_ref().map(CorrelationId::as_str), Some("5"));
    assert_eq!(event.causation.as_ref().map(CausationId::as_str), Some("c"));
    assert_eq!(event.actor, Some(Actor { kind: "user".into(), id: Some("jane".into()) }));
    assert_eq!(event.expected, Expected::Exact(3));
    assert_eq!(event.traceparent.as_deref(), Some(TRACE));
    assert_eq!(event.extensions, [("other".to_owned(), Attribute::Bool(true))].into());
    assert_eq!(event.data, Data::None);
}

#[test]
fn what_is_served_means_the_same_again() {
    let event = read(&format!(
        r#","tenantid":"t1","category":"order","subject":"7","correlationid":"k","causationid":"c","authid":"jane",
            "traceparent":"{TRACE}","other":1,"data":{{"b":1.0,"a":2}}"#
    ))
    .unwrap();
    let served = CloudEvent::from(&event);
    // An actor of no stated kind is served as `unknown`, which the sender did not say.
    let again = classify(served).unwrap();
    assert_eq!(NewEvent { content: event.content, ..again }, event);
}

#[test]
fn an_expected_version_is_a_number_or_a_word() {
    for (value, want) in [
        (r#""any""#, Expected::Any),
        (r#""no-stream""#, Expected::NoStream),
        (r#""stream-exists""#, Expected::StreamExists),
        (r#""12""#, Expected::Exact(12)),
        ("0", Expected::Exact(0)),
    ] {
        assert_eq!(read(&format!(r#","expectedversion":{value}"#)).unwrap().expected, want, "{value}");
    }
    for bad in ["-1", "true", r#""""#, r#""latest""#] {
        assert!(read(&format!(r#","expectedversion":{bad}"#)).is_err(), "{bad} was taken");
    }
}

#[test]
fn either_name_of_the_tenant_will_do_but_not_two_tenants() {
    let tenant = |members| read(members).map(|event| event.tenant.map(|id| id.to_string()));
    assert_eq!(tenant(r#","tenantid":"a""#), Ok(Some("a".into())));
    assert_eq!(tenant(r#","maraintenantid":"a""#), Ok(Some("a".into())));
    assert_eq!(tenant(r#","tenantid":"a","maraintenantid":"a""#), Ok(Some("a".into())));
    assert_eq!(tenant(""), Ok(None));
    let error = tenant(r#","tenantid":"a","maraintenantid":"b""#).unwrap_err();
    assert_eq!(error.invalid.to_string(), "`tenantid` must equal `maraintenantid` when both are given");
    assert_eq!(tenant(r#","maraintenantid":"a/b""#).unwrap_err().invalid.field, "maraintenantid");
}

#[test]
fn an_actor_is_known_by_an_id_a_kind_or_both() {
    let actor = |members| read(members).unwrap().actor;
    assert_eq!(actor(r#","authid":"a""#), Some(Actor { kind: "unknown".into(), id: Some("a".into()) }));
    assert_eq!(actor(r#","authtype":"system""#), Some(Actor { kind: "system".into(), id: None }));
    assert_eq!(actor(""), None);
    assert_eq!(read(r#","authid":"""#).unwrap_err().invalid.to_string(), "`authid` must not be empty");
}

#[test]
fn a_malformed_traceparent_stays_a_plain_extension() {
    let zero_trace = TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
    for (text, well_formed) in [
        (TRACE.to_owned(), true),
        (TRACE.replacen("00", "01", 1) + "-more", true),
        (TRACE.to_owned() + "-more", false),
        (TRACE.replacen("00", "ff", 1), false),
        (TRACE.to_uppercase(), false),
        (zero_trace, false),
        ("x".to_owned(), false),
    ] {
        let event = read(&format!(r#","traceparent":"{text}""#)).unwrap();
        assert_eq!(event.traceparent.is_some(), well_formed, "{text}");
        assert_eq!(event.extensions.contains_key("traceparent"), !well_formed, "{text}");
    }
}

#[test]
fn a_category_is_kept_but_does_not_route_a_known_type() {
    let text = r#"{"specversion":"1.0","id":"1","source":"s","type":"io.marain.workflow.instance.created",
        "subject":"i","category":"not a/category"}"#;
    let event = classify(CloudEvent::from_json(text).unwrap()).unwrap();
    assert!(matches!(&event.target, Target::Stream(name) if name.to_string() == "workflow-instance/i"));
    assert_eq!(event.extensions["category"], Attribute::Str("not a/category".into()));
    assert_eq!(read(r#","category":"a/b""#).unwrap_err().invalid.field, "category");
}
