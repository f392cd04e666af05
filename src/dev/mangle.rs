//! What forwarding does to a path and a query: unescaped by one side, escaped and normalised by
//! the other. Kept here because it is a trap: a path below `/api` may come out as `/ingest`.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::form_urlencoded;

/// What ASP.NET escapes again in a path. `%` is not among it: `%252e` comes out as `%2e`.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}').add(b'?').add(b'#');
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The path that the handler sees.
pub(super) fn path(path: &str) -> String {
    // Once by the server (which keeps `%2F`), and then a `Uri` is built, which takes dot segments
    // out, also those that were escaped twice.
    let kept = path.replace("%2F", "%252F").replace("%2f", "%252f");
    let decoded = percent_decode_str(&kept).decode_utf8_lossy().into_owned();
    let escaped = utf8_percent_encode(&decoded, PATH).to_string().replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in escaped.split('/').skip(1) {
        match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// The query that the handler sees: decoded and encoded again, duplicates joined by commas.
pub(super) fn query(query: &str) -> String {
    let mut joined: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match joined.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push(',');
                values.push_str(&value);
            }
            None => joined.push((name.into_owned(), value.into_owned())),
        }
    }
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let pairs: Vec<_> =
        joined.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_path_can_collapse_onto_a_function_route() {
        assert_eq!(path("/api/%C3%A9/%252e%252e/%252e%252e/ingest"), "/ingest");
        assert_eq!(path("/api/a/../b"), "/api/b");
        assert_eq!(path("/api/tenants/t/streams/c/~YS9i"), "/api/tenants/t/streams/c/~YS9i");
        assert_eq!(path("/api/a%20b"), "/api/a%20b");
    }

    #[test]
    fn a_query_is_put_together_again_with_its_duplicates_joined() {
        assert_eq!(query("a=1&a=2&b=x%20y"), "?a=1%2C2&b=x%20y");
        assert_eq!(query(""), "");
    }
}
