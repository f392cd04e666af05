//! JSON strings and pointers, read and written.

use std::borrow::Cow;

/// The value of a JSON string. A lone surrogate becomes a replacement character: what we look for
/// is ASCII, and only a string in which something is found is ever written anew.
pub(super) fn decoded(quoted: &str) -> Option<Cow<'_, str>> {
    let inside = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    match serde_json::from_str::<String>(quoted) {
        Ok(text) => Some(Cow::Owned(text)),
        Err(_) => {
            let bytes: Vec<u8> = serde_json::from_str::<raw::Bytes>(quoted).ok()?.0;
            Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
        }
    }
}

/// JSON strings that Unicode cannot express, as bytes.
mod raw {
    use serde::{
        Deserialize, Deserializer,
        de::{Error, Visitor},
    };

    pub(super) struct Bytes(pub(super) Vec<u8>);

    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Take;
            impl Visitor<'_> for Take {
                type Value = Bytes;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a string")
                }

                fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                    Ok(Bytes(bytes.to_vec()))
                }
            }
            // serde_json keeps a lone surrogate as WTF-8 when it is asked for bytes.
            deserializer.deserialize_bytes(Take)
        }
    }
}

/// A JSON string.
pub(super) fn encoded(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A segment of a JSON pointer.
pub(super) fn escaped(segment: &str) -> Cow<'_, str> {
    match segment.contains(['~', '/']) {
        true => Cow::Owned(segment.replace('~', "~0").replace('/', "~1")),
        false => Cow::Borrowed(segment),
    }
}
