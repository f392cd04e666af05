use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::domain::{cloud_event::DecodeError, json::MAX_DEPTH};

fn event(members: &str) -> CloudEvent {
    CloudEvent::from_json(&format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{members}}}"#))
        .unwrap()
}

fn of(members: &str) -> [u8; 32] {
    digest(&event(members)).unwrap()
}

fn canonical(text: &str) -> String {
    String::from_utf8(canonical_json(text).unwrap_or_default()).unwrap()
}

#[test]
fn the_canonical_form_is_fixed() {
    let cases = [
        (r#" { "b" : [ 1.0 , 1 , -0 ] , "a" : { } } "#, r#"{"a":{},"b":[1.0,1,-0]}"#),
        (r#"{"\u0062":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        (r#""\u00e9\/\ud83d\ude00\n\"\\""#, "\"é/😀\\u000a\\\"\\\\\""),
        (r#""\uD800x\uDC00\uD800\uD800\uDC00""#, "\"\\ud800x\\udc00\\ud800\u{10000}\""),
        (r#"[[],[[]],"," ]"#, r#"[[],[[]],","]"#),
        ("true", "true"),
    ];
    for (text, want) in cases {
        assert_eq!(canonical(text), want);
    }
}

/// Stored digests rest on this value (computed by another program from the description): a
/// change of it forgets every event that is stored.
#[test]
fn the_digest_is_fixed() {
    let event = event(r#","time":"2026-01-31T13:00:00+01:00","n":5,"data":{"b":1.0,"a":"é"}"#);
    insta::assert_snapshot!(hex::encode(digest(&event).unwrap()), @"d9f9729799f17448b4e655790017a496d0f0d11a4f36163f43e66fad88f5b720");
}

#[test]
fn a_repeated_member_is_refused_at_any_depth() {
    for text in [r#"{"a":1,"a":1}"#, r#"[{"x":{"a":1,"b":2,"\u0061":3}}]"#] {
        assert_eq!(canonical_json(text).unwrap_err().code, DecodeError::INVALID_ATTRIBUTE);
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(canonical_json(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(canonical_json(&nested(MAX_DEPTH + 1)).unwrap_err().code, DecodeError::TOO_DEEP);
    assert_eq!(canonical_json(&"[".repeat(1_000_000)).unwrap_err().code, DecodeError::TOO_DEEP);
}

#[test]
fn an_expected_version_is_no_content() {
    assert_eq!(of(r#","expectedversion":"7""#), of(""));
}

#[test]
fn any_other_change_of_the_envelope_shows() {
    let mut seen = std::collections::HashSet::new();
    let variants = [
        "",
        r#","subject":"a""#,
        r#","subject":"b""#,
        r#","dataschema":"a""#,
        r#","datacontenttype":"a""#,
        r#","time":"2026-01-01T00:00:00Z""#,
        r#","time":"2026-01-01T00:00:00.000000001Z""#,
        r#","ext":"a""#,
        r#","ext":"""#,
        r#","ext":"av""#,
        r#","ex":"ta""#,
        r#","data":"a""#,
        r#","data":1"#,
        r#","data":1.0"#,
        r#","data":"1""#,
        r#","data":[]"#,
        r#","data":{}"#,
        r#","data":[1,2]"#,
        r#","data":[2,1]"#,
        r#","data_base64":"YQ==""#,
    ];
    for members in variants {
        assert!(seen.insert(of(members)), "{members} says the same as another");
    }
}

#[test]
fn every_mode_of_one_event_says_the_same() {
    let of_binary = |headers: &[(&str, &str)], content_type: &str, body: &str| {
        let required = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "t")];
        let headers = required.iter().chain(headers).map(|(name, value)| (*name, value.as_bytes()));
        let body = Bytes::copy_from_slice(body.as_bytes());
        digest(&CloudEvent::from_binary(headers, Some(content_type), body).unwrap()).unwrap()
    };
    assert_eq!(
        of(
            r#","subject":"é","n":5,"b":true,"time":"2026-01-31T12:00:00.0Z","datacontenttype":"application/json","data":{"a":1,"b":2}"#
        ),
        of_binary(
            &[
                ("ce-subject", "%C3%A9"),
                ("ce-n", "5"),
                ("ce-b", "true"),
                ("ce-time", "2026-01-31T13:00:00+01:00")
            ],
            "application/json",
            "{ \"b\": 2, \"a\": 1 }\n",
        )
    );
    let xml = of_binary(&[], "application/xml", "<a/>");
    assert_eq!(of(r#","datacontenttype":"application/xml","data":"<a/>""#), xml);
    assert_eq!(of(r#","datacontenttype":"application/xml","data_base64":"PGEvPg==""#), xml);
    assert_eq!(of(r#","datacontenttype":"text/plain","data":"hé""#), of_binary(&[], "text/plain", "hé"));
}

/// JSON with its members in an order and its strings in a spelling of our choice.
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Token(&'static str),
    Text(String),
    Array(Vec<Json>),
    Object(std::collections::BTreeMap<String, Json>),
}

fn json() -> impl Strategy<Value = Json> {
    let text = "[a-c\"\\\\/\u{0}\n\u{7f}é€😀]{0,4}";
    let token = proptest::sample::select(vec!["null", "true", "false", "0", "-0", "1", "1.0", "1e2", "100"]);
    let leaf = prop_oneof![token.prop_map(Json::Token), text.prop_map(Json::Text)];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            proptest::collection::btree_map(text, inner, 0..5).prop_map(Json::Object),
        ]
    })
}

impl Json {
    /// Writes the value; every choice that changes nothing is made by `dice`.
    fn write(&self, dice: &mut dyn FnMut() -> usize, out: &mut String) {
        space(dice, out);
        match self {
            Self::Token(token) => out.push_str(token),
            Self::Text(text) => spell(text, dice, out),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    item.write(dice, out);
                }
                space(dice, out);
                out.push(']');
            }
            Self::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                for last in (1..members.len()).rev() {
                    members.swap(last, dice() % (last + 1));
                }
                out.push('{');
                for (index, (name, value)) in members.into_iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    space(dice, out);
                    spell(name, dice, out);
                    space(dice, out);
                    out.push(':');
                    value.write(dice, out);
                    space(dice, out);
                }
                out.push('}');
            }
        }
    }

    fn text(&self, seed: u64) -> String {
        let mut state = seed;
        let mut dice = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let mut out = String::new();
        self.write(&mut dice, &mut out);
        out
    }

    /// Changes the `n`th leaf (an empty container counts as one); false when there are fewer.
    fn change(&mut self, n: &mut usize) -> bool {
        let inner: Vec<&mut Json> = match self {
            Self::Array(items) if !items.is_empty() => items.iter_mut().collect(),
            Self::Object(members) if !members.is_empty() => members.values_mut().collect(),
            _ if *n == 0 => {
                *self = match self {
                    Self::Token(token) if *token == "1.0" => Self::Token("1"),
                    Self::Text(text) => Self::Text(format!("{text}x")),
                    _ => Self::Token("1.0"),
                };
                return true;
            }
            _ => {
                *n -= 1;
                return false;
            }
        };
        inner.into_iter().any(|value| value.change(n))
    }
}

fn space(dice: &mut dyn FnMut() -> usize, out: &mut String) {
    out.push_str(["", "", " ", "\n\t", "\r\n"][dice() % 5]);
}

fn spell(text: &str, dice: &mut dyn FnMut() -> usize, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let must = matches!(c, '"' | '\\') || c < ' ';
        if must || dice().is_multiple_of(3) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let escape = format!("\\u{unit:04x}");
                out.push_str(&if dice().is_multiple_of(2) { escape } else { format!("\\u{unit:04X}") });
            }
        } else {
            out.push(c);
        }
    }
    out.push('"');
}

proptest! {
    #[test]
    fn another_serialisation_says_the_same(value in json(), one: u64, two: u64) {
        let (one, two) = (value.text(one), value.text(two));
        prop_assert_eq!(canonical(&one), canonical(&two));
        prop_assert_eq!(of(&format!(r#","data":{one}"#)), of(&format!(r#","data":{two}"#)));
    }

    #[test]
    fn a_changed_leaf_shows(value in json(), leaf in 0_usize..40, seed: u64) {
        let mut changed = value.clone();
        let mut n = leaf;
        if changed.change(&mut n) {
            let of = |value: &Json| of(&format!(r#","data":{}"#, value.text(seed)));
            prop_assert_ne!(of(&value), of(&changed));
        }
    }

    #[test]
    fn the_canonical_form_is_json_and_its_own_canonical_form(value in json(), seed: u64) {
        let text = canonical(&value.text(seed));
        prop_assert_eq!(canonical(&text), text.clone());
        prop_assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            serde_json::from_str::<serde_json::Value>(&value.text(seed)).unwrap()
        );
    }

    #[test]
    fn a_text_that_is_not_json_never_panics(text in "[\\[\\]{}\",:\\\\u0d81 a]{0,40}") {
        let _ = canonical_json(&text);
    }
}
