//! Secrets that are shown once: what is kept of them is a keyed fingerprint, by which "was this the
//! key?" can be asked and which says nothing else.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    domain::{
        canonical::canonical_json,
        ids::{Invalid, StreamId},
    },
    store::{digest, registry::TenantKey},
};

/// What stands in the place of such a secret.
const CONCEALED: &str = "\"[REVEALED ONCE]\"";
/// Most pointers in one outcome.
const MAX: usize = 20;

/// A secret that was shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revealed {
    /// Where it stood in the result.
    pub pointer: String,
    /// Its fingerprint under the tenant's key.
    pub fingerprint: String,
}

/// The fingerprint of a value. Another command's, or another place's, is another one.
///
/// # Errors
/// [`Invalid`] when the value is not JSON.
pub fn fingerprint(
    key: &TenantKey,
    command: &StreamId,
    pointer: &str,
    value: &str,
) -> Result<String, Invalid> {
    let canonical = canonical_json(value).map_err(|error| error.invalid)?;
    let mut message = format!("revealed once\0{command}\0{pointer}\0").into_bytes();
    message.extend(canonical);
    Ok(format!("hmac-sha256:{}", hex::encode(digest::hmac(&key.0, &message))))
}

/// Takes what the pointers lead to out of a result; everything else stays as it was sent.
///
/// # Errors
/// [`Invalid`] when a pointer leads nowhere, or into another one's value.
pub(super) fn conceal(
    key: &TenantKey,
    command: &StreamId,
    result: &RawValue,
    pointers: &[String],
) -> Result<(Box<RawValue>, Vec<Revealed>), Invalid> {
    let invalid = |rule: &str| Invalid::new("secretOnce", rule);
    if pointers.len() > MAX {
        return Err(invalid(&format!("must hold at most {MAX} pointers")));
    }
    let text = result.get();
    let mut places: Vec<(Range<usize>, Revealed)> = Vec::new();
    for pointer in pointers {
        let place = locate(text, pointer).ok_or_else(|| invalid("must hold JSON pointers into `result`"))?;
        let fingerprint = fingerprint(key, command, pointer, &text[place.clone()])?;
        places.push((place, Revealed { pointer: pointer.clone(), fingerprint }));
    }
    places.sort_by_key(|(place, _)| place.start);
    if places.windows(2).any(|pair| pair[1].0.start < pair[0].0.end) {
        return Err(invalid("must not point twice at the same value, or into another one's"));
    }
    let mut concealed = text.to_owned();
    for (place, _) in places.iter().rev() {
        concealed.replace_range(place.clone(), CONCEALED);
    }
    let concealed = RawValue::from_string(concealed).map_err(|_| invalid("must point at values"))?;
    Ok((concealed, places.into_iter().map(|(_, revealed)| revealed).collect()))
}

/// Where the value stands to which a JSON pointer (RFC 6901) leads.
fn locate(text: &str, pointer: &str) -> Option<Range<usize>> {
    let mut value = text;
    if !pointer.is_empty() {
        for token in pointer.strip_prefix('/')?.split('/') {
            value = child(value, &token.replace("~1", "/").replace("~0", "~"))?;
        }
    }
    // Every value borrows from the text it was found in.
    let start = value.as_ptr() as usize - text.as_ptr() as usize;
    Some(start..start + value.len())
}

fn child<'a>(value: &'a str, token: &str) -> Option<&'a str> {
    #[derive(Deserialize)]
    struct Members<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);
    match value.trim_start().as_bytes().first()? {
        b'{' => serde_json::from_str::<Members<'a>>(value).ok()?.0.get(token).map(|found| found.get()),
        b'[' => {
            let elements: Vec<&'a RawValue> = serde_json::from_str(value).ok()?;
            elements.get(token.parse::<usize>().ok()?).map(|found| found.get())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: TenantKey = TenantKey([7; 32]);

    fn id() -> StreamId {
        StreamId::parse("c-1").unwrap()
    }

    #[test]
    fn what_is_shown_once_leaves_a_fingerprint_and_the_rest_as_it_was() {
        let text = r#"{"id" : 1.0, "key":"s3cret", "list": [ {"a/b":"other"}, 2e400 ]}"#;
        let result = RawValue::from_string(text.to_owned()).unwrap();
        let pointers = ["/list/0/a~1b".to_owned(), "/key".to_owned()];
        let (concealed, revealed) = conceal(&KEY, &id(), &result, &pointers).unwrap();
        let want = r#"{"id" : 1.0, "key":"[REVEALED ONCE]", "list": [ {"a/b":"[REVEALED ONCE]"}, 2e400 ]}"#;
        assert_eq!(concealed.get(), want);
        assert_eq!(revealed[0].pointer, "/key");
        let was = |value| fingerprint(&KEY, &id(), "/key", value).unwrap() == revealed[0].fingerprint;
        assert!(was(r#""s3cret""#) && was(r#" "s3\u0063ret""#) && !was(r#""s3cret ""#));
        assert_ne!(revealed[0].fingerprint, fingerprint(&KEY, &id(), "/other", r#""s3cret""#).unwrap());
    }

    #[test]
    fn pointers_that_lead_nowhere_or_into_each_other_are_refused() {
        let result = RawValue::from_string(r#"{"a":{"b":1}}"#.to_owned()).unwrap();
        for pointers in [&["/x"][..], &["a"], &["/a/b/c"], &["/a", "/a/b"], &["/a", "/a"]] {
            let pointers: Vec<String> = pointers.iter().map(|text| (*text).to_owned()).collect();
            assert!(conceal(&KEY, &id(), &result, &pointers).is_err(), "{pointers:?}");
        }
    }
}
