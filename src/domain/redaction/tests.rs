use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::message::decode_document;

/// An event around this data, as a sender writes it.
fn event_with(members: &Value) -> NewEvent {
    let mut event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t" });
    event.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    decode_document(event.to_string().as_bytes()).unwrap().remove(0).event.unwrap()
}

fn redacted(redactor: &Redactor, data: Value) -> (Value, Vec<String>) {
    let mut event = event_with(&json!({ "data": data }));
    redactor.event(&mut event).unwrap();
    (serde_json::from_slice(event.data.as_bytes()).unwrap(), event.redacted)
}

#[test]
fn names_are_found_at_any_depth_and_their_whole_value_goes() {
    let data = json!({
        "command": { "attrs": { "password": "p", "Password_Confirmation": "p", "email": "a@b" } },
        "list": [{ "apiKey": { "id": 1, "value": "v" } }, 7],
        "metadata": { "authorization": ["Basic", "x"], "tokenCount": 3, "hasToken": true, "tokens": 12 },
        "error": { "detail": { "connectionString": "Server=x" } },
        "pin": null, "token": null, "secret": "",
        "a/b~c": { "secret": 12345 },
    });
    let (data, noted) = redacted(&Redactor::default(), data);
    assert_eq!(
        data["command"]["attrs"],
        json!({ "password": REDACTED, "Password_Confirmation": REDACTED, "email": "a@b" })
    );
    assert_eq!(data["list"], json!([{ "apiKey": REDACTED }, 7]));
    assert_eq!(
        data["metadata"],
        json!({ "authorization": REDACTED, "tokenCount": 3, "hasToken": true, "tokens": 12 })
    );
    assert_eq!(data["error"]["detail"]["connectionString"], REDACTED);
    assert_eq!((&data["token"], &data["secret"]), (&Value::Null, &json!("")));
    for pointer in ["/data/command/attrs/password", "/data/list/0/apiKey", "/data/a~1b~0c/secret"] {
        assert!(noted.iter().any(|noted| noted == pointer), "{pointer} is not noted: {noted:?}");
    }
    assert_eq!(noted.len(), 6);
}

#[test]
fn shapes_are_found_wherever_they_stand() {
    let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln";
    let data = json!({
        "plain": format!("got {jwt}"),
        "inner": json!({ "deep": { "password": "hunter2" }, "kept": 1.50 }).to_string(),
        "headers": [{ "name": "X-Api-Key", "value": "k" }, { "Key": "accept", "Value": "json" }],
        jwt: 1,
    });
    let (data, noted) = redacted(&Redactor::default(), data);
    assert_eq!(data["plain"], "got [REDACTED]");
    assert_eq!(data["inner"], r#"{"deep":{"password":"[REDACTED]"},"kept":1.5}"#);
    assert_eq!(data["headers"][0]["value"], REDACTED);
    assert_eq!(data["headers"][1]["Value"], "json");
    assert_eq!(data[REDACTED], 1);
    assert_eq!(noted.len(), 4, "{noted:?}");
    let off = Redactor::new(&Rules { shapes: false, ..Rules::default() });
    let (data, _) = redacted(&off, json!({ "plain": jwt, "password": "p" }));
    assert_eq!(data, json!({ "plain": jwt, "password": REDACTED }));
}

#[test]
fn a_tenant_adds_names_and_pointers() {
    let rules = Rules {
        names: vec!["iban".to_owned()],
        pointers: vec!["/data/cards/*/number".to_owned(), "/extensions/pin".to_owned()],
        shapes: true,
    };
    rules.check().unwrap();
    let mut event = event_with(&json!({
        "pin": "1234", "apikey": "k", "authid": "Bearer 0123456789abcdefghij",
        "data": { "cards": [{ "number": 1, "name": "x" }], "customerIban": "DE", "password": "p" }
    }));
    Redactor::new(&rules).event(&mut event).unwrap();
    let data: Value = serde_json::from_slice(event.data.as_bytes()).unwrap();
    let want = json!({ "cards": [{ "number": REDACTED, "name": "x" }], "customerIban": REDACTED, "password": REDACTED });
    assert_eq!(data, want);
    assert_eq!(event.extensions["pin"], Attribute::Str(REDACTED.to_owned()));
    assert_eq!(event.extensions["apikey"], Attribute::Str(REDACTED.to_owned()));
    assert!(event.redacted.iter().any(|pointer| pointer == "/actor/id"));
    for pointer in ["data/x", "/data", "/id", ""] {
        let rules = Rules { pointers: vec![pointer.to_owned()], ..Rules::default() };
        assert!(rules.check().is_err(), "{pointer:?}");
    }
}

#[test]
fn an_identifier_with_a_secret_is_refused() {
    let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln";
    let cases = [
        ("id", jwt),
        ("subject", jwt),
        ("correlationid", jwt),
        ("source", "https://x/?api_key=1"),
        ("source", "https://u:p@x/"),
        ("subject", "AccountKey=Zm9v"),
        ("dataschema", "https://x/?sig=abcdefghijklmnopqrstuvw"),
    ];
    for (field, value) in cases {
        let mut event = event_with(&json!({ field: value }));
        assert_eq!(Redactor::default().event(&mut event), Err(SecretIn(field)), "{value}");
    }
    assert!(Redactor::default().event(&mut event_with(&json!({ "subject": "password" }))).is_ok());
}

#[test]
fn what_is_not_json_is_read_as_far_as_it_can_be() {
    let redactor = Redactor::default();
    let text = |bytes: &str| redactor.document(bytes.as_bytes()).map(|out| String::from_utf8(out).unwrap());
    assert_eq!(text(r#"{"a": 1,  "token":"t"}"#).unwrap(), r#"{"a": 1,  "token":"[REDACTED]"}"#);
    assert_eq!(text("AccountKey=Zm9v").unwrap(), "AccountKey=[REDACTED]");
    assert_eq!(text(r#"{"a": 1}"#), None);
    assert_eq!(redactor.document(b"\xFF\xFE"), None);
    let encoded = base64::engine::general_purpose::STANDARD.encode(r#"{"password":"hunter2"}"#);
    let letter = json!({ "id": "1", "data_base64": encoded }).to_string();
    assert!(!text(&letter).unwrap().contains(&encoded));
    let mut event = event_with(
        &json!({ "datacontenttype": "application/x-www-form-urlencoded", "data": "user=a&password=b" }),
    );
    redactor.event(&mut event).unwrap();
    assert!(!String::from_utf8_lossy(event.data.as_bytes()).contains("=b"), "{:?}", event.data);
}

/// Every find noted with the whole way to it, a long name and many secrets are more than all memory.
#[test]
fn what_is_noted_of_one_event_is_little_however_long_its_names_are() {
    let secrets = json!({ "n".repeat(20_000): vec![json!({ "pwd": 1 }); 200] }).to_string();
    let mut noted = Vec::new();
    Redactor::default().json(&secrets, "/data", &mut noted).unwrap();
    let bytes: usize = noted.iter().map(|note| note.as_ref().map_or(0, String::len)).sum();
    assert!(bytes <= MAX_NOTED.0 * MAX_NOTED.1 && noted.len() <= MAX_NOTED.0 + 1, "{bytes} bytes");
}

#[test]
fn what_is_not_shown_counts_all_the_same() {
    let long = "n".repeat(300);
    let pointers = |data: &str| {
        let mut event = event_with(&json!({ "apikey": "k" }));
        event.data = Data::Json(data.to_owned().into());
        Redactor::default().event(&mut event).unwrap();
        event.redacted
    };
    let list = |count: usize| vec![r#"{"pwd":1}"#; count].join(",");
    let shown = |from: usize, to: usize, behind: &[&str]| {
        let all = (from..to).map(|at| format!("/data/b/{at}/pwd"));
        all.chain(behind.iter().map(|&text| text.to_owned())).collect::<Vec<_>>()
    };
    let some = pointers(&format!(r#"{{"{long}":[{}],"b":[{}]}}"#, list(60), list(10)));
    assert_eq!(some, shown(0, 4, &["/data"]));
    assert_eq!(pointers(&format!(r#"{{"b":[{}]}}"#, list(63))), shown(0, 63, &["/extensions/apikey"]));
    assert_eq!(pointers(&format!(r#"{{"b":[{}]}}"#, list(64))), shown(0, 64, &["/data"]));
    assert_eq!(pointers(&format!(r#"{{"b":[{}]}}"#, list(900))), shown(0, 64, &["/data"]));
}

/// What lay in a value that goes as a whole makes room for what was found behind it.
#[test]
fn what_goes_as_a_whole_is_noted_once() {
    let list = |count: usize| vec![r#"{"pwd":1}"#; count].join(",");
    let (many, few) = (list(200), list(2));
    let noted = |data: &str| {
        let mut noted = Vec::new();
        Redactor::default().json(data, "/data", &mut noted).unwrap();
        within_bounds(noted)
    };
    let (first, behind) = ("/data/value", ["/data/x/0/pwd", "/data/x/1/pwd"]);
    for data in [
        format!(r#"{{"value":[{many}],"x":[{few}],"name":"pwd"}}"#),
        format!(r#"{{"name":"pwd","value":{{"value":[{many}],"name":"pwd","z":[{many}]}},"x":[{few}]}}"#),
    ] {
        assert_eq!(noted(&data), [first, behind[0], behind[1]]);
    }
    let deep =
        format!(r#"{{"value":[{many}],"x":{{"value":[{many}],"u":[{few}],"key":"pwd"}},"key":"pwd"}}"#);
    assert_eq!(noted(&deep), [first, "/data/x/value", "/data/x/u/0/pwd", "/data/x/u/1/pwd"]);
    let kept = format!(r#"{{"value":[{many}],"x":[{few}],"key":"other"}}"#);
    assert_eq!(noted(&kept).len(), MAX_NOTED.0 + 1);
    assert_eq!(noted(&format!(r#"{{"token":[{many}],"x":[{few}]}}"#)), ["/data/token", behind[0], behind[1]]);
}

#[test]
fn a_rule_points_to_what_lies_as_deep_as_it_says() {
    let rules =
        Rules { pointers: vec!["/data/*/a~1b".to_owned(), "/data//x".to_owned()], ..Rules::default() };
    let redactor = Redactor::new(&rules);
    let data = json!({ "q": { "a/b": 1, "a": { "b": 2 } }, "a/b": 3, "": { "x": 4, "y": { "x": 5 } } });
    let (data, mut noted) = redacted(&redactor, data);
    let want = json!({ "q": { "a/b": REDACTED, "a": { "b": 2 } }, "a/b": 3, "": { "x": REDACTED, "y": { "x": 5 } } });
    assert_eq!(data, want);
    noted.sort();
    assert_eq!(noted, ["/data//x", "/data/q/a~1b"]);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~\u{e9}\u{1F600}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\/~ ]{1,6}", inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    /// Wherever a secret is planted, it goes, and everything beside it stays.
    #[test]
    fn a_planted_secret_goes_and_the_rest_stays(
        before in json_value(), after in json_value(), wraps in prop::collection::vec(any::<bool>(), 0..20),
        secret in "[A-Za-z]{24}", name in prop::sample::select(vec!["password", "api_key", "clientSecret", "Authorization"]),
    ) {
        let plant = |value: Value| {
            wraps.iter().fold(json!({ name: value, "beside": before }), |inner, array| match array {
                true => json!([after, inner]),
                false => json!({ "x": inner, "y": after }),
            })
        };
        let sent = plant(secret.as_str().into()).to_string();
        let redacted = Redactor::default().document(sent.as_bytes()).unwrap();
        let redacted: Value = serde_json::from_slice(&redacted).unwrap();
        prop_assert_eq!(redacted, plant(REDACTED.into()));
    }

    /// Any bytes: never a panic, and JSON stays JSON.
    #[test]
    fn anything_may_come(text in "[\\[\\]{}\",:\\\\a-z0-9 =eyJ.-]{0,80}") {
        if let Some(out) = Redactor::default().document(text.as_bytes()) {
            prop_assert!(serde_json::from_str::<Value>(&text).is_err() || serde_json::from_slice::<Value>(&out).is_ok());
        }
    }
}
