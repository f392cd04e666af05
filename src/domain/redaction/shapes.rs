//! Values that are secrets by their form. Bare base64 is none: it may be a digest.

use std::{borrow::Cow, ops::Range};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use memchr::{memchr2, memchr3_iter};

use super::REDACTED;

/// What introduces a secret, in lower case, up to the secret itself.
const MARKERS: [&str; 7] = [
    "accountkey=",
    "sharedaccesskey=",
    "sharedaccesssignature=",
    "password=",
    "pwd=",
    "client_secret=",
    "sig=",
];
const PEM: (&str, &str, &str) = ("-----BEGIN ", "PRIVATE KEY", "-----END ");
/// Shortest signature of a SAS, and shortest bearer token.
const SHORTEST: usize = 20;

/// Whether a secret by shape can be in a text at all: each of them holds `=`, `eyJ`, `earer ` or
/// `-----BEGIN `. Looked for in one pass, by what is rare in them.
pub(super) fn may_be_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr3_iter(b'=', b'J', b' ', bytes).any(|at| {
        let before = &bytes[..at];
        match bytes[at] {
            b'=' => true,
            b'J' => before.ends_with(b"ey"),
            _ => before.ends_with(b"earer") || before.ends_with(b"-----BEGIN"),
        }
    })
}

/// The text without what is a secret by shape; borrowed when there is none.
pub(super) fn redact(text: &str) -> Cow<'_, str> {
    if !may_be_in(text) {
        return Cow::Borrowed(text);
    }
    let mut found = Vec::new();
    if text.contains("eyJ") {
        jwts(text, &mut found);
    }
    if text.contains('=') {
        marked(text, &mut found);
    }
    if text.contains(PEM.0) {
        pems(text, &mut found);
    }
    if text.contains("earer ") {
        bearers(text, &mut found);
    }
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_unstable_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for span in found {
        if span.start >= at {
            out.push_str(&text[at..span.start]);
            out.push_str(REDACTED);
        }
        at = at.max(span.end);
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Three parts (or the five of an encrypted one), the first the JSON of a header with an `alg`.
fn jwts(text: &str, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let run = |from: usize| bytes[from..].iter().take_while(|byte| is_base64url(**byte)).count();
    let mut at = 0;
    while let Some(offset) = text[at..].find("eyJ") {
        let start = at + offset;
        let header_end = start + run(start);
        at = header_end;
        let begins = start == 0 || !is_base64url(bytes[start - 1]);
        if !begins || bytes.get(header_end) != Some(&b'.') || !is_header(&text[start..header_end]) {
            continue;
        }
        let mut end = header_end;
        for _ in 0..4 {
            if bytes.get(end) != Some(&b'.') {
                break;
            }
            let length = run(end + 1);
            // A full stop behind the signature ends a sentence; an unsigned token ends in one.
            end += 1 + length;
        }
        found.push(start..end);
        at = end;
    }
}

fn is_header(encoded: &str) -> bool {
    let decoded = URL_SAFE_NO_PAD.decode(encoded).ok();
    decoded.is_some_and(|json| json.starts_with(b"{") && json.windows(5).any(|window| window == b"\"alg\""))
}

/// What follows `AccountKey=` and its like.
fn marked(text: &str, found: &mut Vec<Range<usize>>) {
    let lower = text.to_ascii_lowercase();
    for marker in MARKERS {
        // The end of the last value is the end of every value that begins before it: looked for once, or
        // `pwd=pwd=pwd=…` would be read again from each of them.
        let mut end = None;
        for (at, _) in lower.match_indices(marker) {
            let before = at.checked_sub(1).map(|at| lower.as_bytes()[at]);
            let start = at + marker.len();
            let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '"' | '\'' | ',' | '<' | ')');
            let ahead = || text[start..].find(ends).map_or(text.len(), |length| start + length);
            let end = *end.insert(end.filter(|end| start <= *end).unwrap_or_else(ahead));
            let value = &text[start..end];
            let counts = match marker {
                "sig=" => matches!(before, None | Some(b'?' | b'&')) && value.len() >= SHORTEST,
                "pwd=" => before.is_none_or(|before| !before.is_ascii_alphanumeric()),
                _ => true,
            };
            if counts && !value.is_empty() && value != REDACTED {
                found.push(start..end);
            }
        }
    }
}

fn pems(text: &str, found: &mut Vec<Range<usize>>) {
    // Where the footer ahead begins, and where it ends: looked for once for all keys before it.
    let mut footer = None;
    for (start, _) in text.match_indices(PEM.0) {
        let label_end = text[start + PEM.0.len()..].find("-----").map(|length| start + PEM.0.len() + length);
        let Some(label_end) = label_end.filter(|end| text[start..*end].contains(PEM.1)) else { continue };
        let body = label_end + 5;
        let ahead = || {
            let begin = text[body..].find(PEM.2).map_or(text.len(), |offset| body + offset);
            let rest = begin + PEM.2.len();
            // One that was cut off is a key all the same.
            let length = text.get(rest..).and_then(|text| text.find("-----"));
            (begin, length.map_or(text.len(), |length| rest + length + 5))
        };
        let (_, end) = *footer.insert(footer.filter(|(begin, _)| body <= *begin).unwrap_or_else(ahead));
        found.push(start..end);
    }
}

/// `Bearer` and a token that no word is.
fn bearers(text: &str, found: &mut Vec<Range<usize>>) {
    for (at, introduction) in text.match_indices("earer ") {
        let start = at + introduction.len();
        let token = |b: &u8| {
            b.is_ascii_alphanumeric() || matches!(*b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
        };
        let end = start + text.as_bytes()[start..].iter().take_while(|byte| token(byte)).count();
        let value = &text[start..end];
        if value.len() >= SHORTEST && value.bytes().any(|byte| byte.is_ascii_digit()) {
            found.push(start..end);
        }
    }
}

/// Whether a URL carries a password before its host, or a parameter with a secret's name.
pub(super) fn url_secret(text: &str, secret: impl Fn(&str) -> bool) -> bool {
    // A password stands before an `@`, a parameter behind a `?`.
    if memchr2(b'@', b'?', text.as_bytes()).is_none() {
        return false;
    }
    let authority =
        text.split_once("//").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let user_info = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    if user_info.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty()) {
        return true;
    }
    let Some((_, query)) = text.split_once('?') else { return false };
    let query = query.split('#').next().unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .any(|(name, value)| !value.is_empty() && secret(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"alg":"none"}` and `{"sub":"x"}`, unsigned.
    const UNSIGNED: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.";

    #[test]
    fn secrets_are_known_by_their_shape() {
        let jwt = format!("{UNSIGNED}c2lnbmF0dXJl");
        let cases = [
            (jwt.clone(), "[REDACTED]"),
            (format!("call with {jwt}, then"), "call with [REDACTED], then"),
            (
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Zm9v+/==;EndpointSuffix=x"
                    .to_owned(),
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=[REDACTED];EndpointSuffix=x",
            ),
            (
                "Endpoint=sb://x;SharedAccessKeyName=n;SharedAccessKey=Zm9v=".to_owned(),
                "Endpoint=sb://x;SharedAccessKeyName=n;SharedAccessKey=[REDACTED]",
            ),
            (
                "https://a.blob.core.windows.net/c/b?sv=2024&sig=abcdefghij%2Bklmnopqr%3D&se=9".to_owned(),
                "https://a.blob.core.windows.net/c/b?sv=2024&sig=[REDACTED]&se=9",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nafter".to_owned(),
                "[REDACTED]\nafter",
            ),
            ("-----BEGIN PRIVATE KEY-----\nMII cut".to_owned(), "[REDACTED]"),
            ("Server=x;User=sa;Password=hunter2;".to_owned(), "Server=x;User=sa;Password=[REDACTED];"),
            ("Authorization: Bearer 0123456789abcdefghij".to_owned(), "Authorization: Bearer [REDACTED]"),
        ];
        for (text, want) in cases {
            assert_eq!(redact(&text), want);
            assert_eq!(redact(want), want, "what was redacted stays as it is");
        }
    }

    #[test]
    fn what_only_looks_a_little_like_a_secret_stays() {
        for text in [
            "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
            "eyJ is how tokens begin",
            "eyJhbGciOi.not.one",
            "the bearer of bad news from everywhere",
            "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
            "AccountKey=",
            "design=abcdefghijklmnopqrstuvwxyz",
            "sig=short",
            "a=b&c=d",
            "Bearer of responsibilities",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    /// Read again from each marker, half a MiB of them would take minutes.
    #[test]
    fn a_text_full_of_what_introduces_a_secret_is_read_once() {
        let times = |part: &str| part.repeat((512 << 10) / part.len());
        for marker in MARKERS {
            let text = times(marker);
            let want = format!("{marker}{REDACTED}");
            assert!(redact(&text) == want, "{marker}");
        }
        let keys = times("-----BEGIN PRIVATE KEY-----");
        assert_eq!(redact(&keys), REDACTED);
        assert_eq!(redact(&format!("{keys}-----END {}", "x".repeat(512 << 10))), REDACTED);
        assert_eq!(redact(&format!("{keys}-----END PRIVATE KEY----- after")), "[REDACTED] after");
        for other in ["Bearer ", "eyJ", "eyJ.", "-----END ", "-----BEGIN ", "-----"] {
            let text = times(other);
            assert!(redact(&text) == text, "{other}");
        }
    }

    #[test]
    fn every_value_ends_where_it_would_alone() {
        let text = "pwd=a pwd=pwd=b;pwd=;x&pwd=c";
        assert_eq!(redact(text), "pwd=[REDACTED] pwd=[REDACTED];pwd=;x&pwd=[REDACTED]");
        let (key, other) =
            ("-----BEGIN PRIVATE KEY-----k", "-----BEGIN CERTIFICATE-----c-----END CERTIFICATE-----");
        let text = format!("{key}-----END A-----1{key}{key}-----END B-----2{other}3{key}");
        assert_eq!(redact(&text), format!("[REDACTED]1[REDACTED]2{other}3[REDACTED]"));
    }

    #[test]
    fn a_url_may_carry_a_secret() {
        let secret = |name: &str| name == "token";
        for bad in ["https://x/?token=1", "amqp://user:pass@host/", "/relative?a=b&token=1#f"] {
            assert!(url_secret(bad, secret), "{bad}");
        }
        for good in
            ["https://x/?page=1", "mailto:a@b", "//user@host/x", "urn:x:y", "https://x/?token=", "/a/b:c@d"]
        {
            assert!(!url_secret(good, secret), "{good}");
        }
    }
}
