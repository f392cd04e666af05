//! Keys on their way into a URL or a filter, and where a scan goes on.

/// Longest key, in UTF-16 units (1 KiB).
const MAX_KEY: usize = 512;

/// Whether the service takes this as a key. The key layout of the store never makes another;
/// what gets here all the same is not sent.
pub(super) fn sendable(key: &str) -> bool {
    (key.len() <= MAX_KEY || key.encode_utf16().count() <= MAX_KEY) && bounds(key)
}

/// Whether a range may begin or end here: a bound may be longer than any key.
pub(super) fn bounds(bound: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'\\' | b'#' | b'?');
    // Our own keys are made of nothing else.
    bound.bytes().all(fine) || !bound.chars().any(|c| matches!(c, '/' | '\\' | '#' | '?') || c.is_control())
}

/// A key within the quotes of a URL or a filter: a quote is doubled, and so ends nothing.
pub(super) fn quoted(key: &str) -> String {
    key.replace('\'', "''")
}

/// Where a scan begins.
///
/// The end of a page is told to the caller as a key, because the port knows nothing else. NUL sorts
/// before every character and is in no key, so `k` + NUL is the first key behind `k`; and `k` + NUL +
/// a token of the service, which an empty page needs, lies there too.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// At this key.
    At(&'a str),
    /// Behind this key.
    After(&'a str),
    /// Where the service said, in a range that began at `from`.
    Token { from: &'a str, partition: &'a str, row: &'a str },
}

impl<'a> Start<'a> {
    /// Reads the beginning of a range.
    pub(super) fn read(from: &'a str) -> Self {
        match from.split_once('\0') {
            None => Self::At(from),
            Some((key, "")) => Self::After(key),
            Some((from, token)) => {
                let (partition, row) = token.split_once('\0').unwrap_or((token, ""));
                Self::Token { from, partition, row }
            }
        }
    }

    /// The key that it hangs on.
    pub(super) fn key(&self) -> &'a str {
        match self {
            Self::At(key) | Self::After(key) | Self::Token { from: key, .. } => key,
        }
    }

    /// As a condition on the row key.
    pub(super) fn filter(&self) -> String {
        match self {
            Self::After(key) => format!("RowKey gt '{}'", quoted(key)),
            Self::At(key) | Self::Token { from: key, .. } => format!("RowKey ge '{}'", quoted(key)),
        }
    }

    /// Where to go on behind a page that was not the last: behind its last row, or where the service
    /// said when it held none.
    pub(super) fn next(last: Option<&str>, from: &str, token: &(String, Option<String>)) -> String {
        match last {
            Some(key) => format!("{key}\0"),
            None => format!("{from}\0{}\0{}", token.0, token.1.as_deref().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_the_service_takes_are_sent() {
        for key in ["", "c|head", "e|x|000000000001", "a'b", "~", &"k".repeat(512)] {
            assert!(sendable(key), "{key}");
        }
        for key in ["a/b", "a\\b", "a#b", "a?b", "a\0", "a\n", "\u{7f}", "\u{85}", &"k".repeat(513)] {
            assert!(!sendable(key), "{key:?}");
        }
        assert!(bounds(&"k".repeat(513)) && !bounds("a/b"), "a bound is no key");
    }

    #[test]
    fn a_quote_ends_nothing() {
        assert_eq!(quoted("victim',RowKey='x"), "victim'',RowKey=''x");
        assert_eq!(Start::At("a' or 'b").filter(), "RowKey ge 'a'' or ''b'");
    }

    #[test]
    fn a_scan_goes_on_behind_the_last_row_of_a_page() {
        let token = ("1!4!cDAw".to_owned(), Some("1!4!ZTAx".to_owned()));
        let next = Start::next(Some("e|7"), "e|", &token);
        assert!("e|7" < next.as_str() && next.as_str() < "e|70");
        assert_eq!(Start::read(&next), Start::After("e|7"));
        assert_eq!(Start::read(&next).filter(), "RowKey gt 'e|7'");
    }

    #[test]
    fn a_scan_goes_on_by_the_service_s_token_behind_an_empty_page() {
        let token = ("1!4!cDAw".to_owned(), Some("1!4!ZTAx".to_owned()));
        let next = Start::next(None, "e|", &token);
        assert_eq!(Start::read(&next), Start::Token { from: "e|", partition: "1!4!cDAw", row: "1!4!ZTAx" });
        assert_eq!(Start::read(&next).filter(), "RowKey ge 'e|'");
        let bare = Start::next(None, "e|", &("1!4!cDAw".to_owned(), None));
        assert_eq!(Start::read(&bare), Start::Token { from: "e|", partition: "1!4!cDAw", row: "" });
    }

    #[test]
    fn a_scan_begins_at_its_first_key() {
        assert_eq!(Start::read("e|"), Start::At("e|"));
        assert_eq!(Start::read(""), Start::At(""));
    }
}
