//! Links that we emit, and the ids in paths that we take: one rule for both.
//!
//! The Functions host changes escapes in a path on its way to us (`%2F`, `%3F`, `%23`, `%5C`,
//! `%25`). An id outside `[A-Za-z0-9._-]`, or `.` or `..`, is therefore written in a path as `~` and the
//! base64url of its UTF-8, which no proxy touches.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::ids::{EventId, Invalid, Source, TenantId};

/// What may stand in a query value as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Writes an id as a segment of a path.
pub fn segment(id: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if id != "." && id != ".." && id.bytes().all(plain) {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("~{}", URL_SAFE_NO_PAD.encode(id)))
    }
}

/// Reads an id from a (percent-decoded) segment of a path.
///
/// # Errors
/// [`Invalid`] when it holds what a host may have changed, or `~` with something that is not the
/// base64url of UTF-8.
pub fn from_segment(field: &str, segment: &str) -> Result<String, Invalid> {
    if let Some(encoded) = segment.strip_prefix('~') {
        let decoded = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        return decoded.ok_or_else(|| Invalid::new(field, "must be base64url of UTF-8 behind `~`"));
    }
    if segment.contains(['%', '?', '#', '\\', '/']) {
        let rule = "must be written as `~` and base64url when it holds '%', '?', '#', '\\' or '/'";
        return Err(Invalid::new(field, rule));
    }
    Ok(segment.to_owned())
}

/// The base of all links: `ANNALS_PUBLIC_URL`, never the `Host` of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// A base without a trailing slash.
    pub fn new(base: impl Into<String>) -> Self {
        Self(base.into().trim_end_matches('/').to_owned())
    }

    /// Where an event can be fetched, by those who may.
    pub fn event(&self, tenant: &TenantId, id: &EventId, source: &Source) -> String {
        let source = utf8_percent_encode(source.as_str(), QUERY);
        format!("{}/api/tenants/{tenant}/events/{}?source={source}", self.0, segment(id.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_link_survives_hostile_ids() {
        let url = PublicUrl::new("https://annals.example/");
        let tenant = TenantId::parse("demo").unwrap();
        let link = url.event(&tenant, &EventId::parse("../x").unwrap(), &Source::parse("/a?b=c&d").unwrap());
        assert_eq!(link, "https://annals.example/api/tenants/demo/events/~Li4veA?source=%2Fa%3Fb%3Dc%26d");
    }

    #[test]
    fn what_a_host_may_have_changed_is_refused() {
        for bad in ["a%2Fb", "a?b", "a#b", "a\\b", "~!!", "~_w"] {
            assert!(from_segment("id", bad).is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn every_id_comes_back_from_its_segment(id in "\\PC{1,40}") {
            prop_assert_eq!(from_segment("id", &segment(&id)).unwrap(), id);
        }
    }
}
