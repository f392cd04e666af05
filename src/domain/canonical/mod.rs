//! The content of an event as one digest: equal exactly when two deliveries say the same.
//!
//! A sender that retries may serialise anew: members in another order, other white space, other
//! escapes, another content mode. None of that changes what it says, so none of it changes the
//! digest. Number tokens count as they stand: 1.0 and 1 may be equal to one reader and different
//! to another, and an audit log does not guess.

mod walker;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::{
    cloud_event::{CloudEvent, DecodeError, is_json},
    event::Data,
    json,
};
pub(crate) use walker::canonical_json;

/// Goes in first, so that this digest equals no other digest of ours. Changing what follows
/// breaks the recognition of every retry: it would need another label.
const LABEL: &[u8] = b"annals content 1\0";

/// Attributes that say where and whether to store an event, not what happened.
const NO_CONTENT: [&str; 3] = ["expectedversion", "tenantid", "maraintenantid"];

/// The digest of everything in `event` but `expectedversion`, which is a condition and no content,
/// and the tenant, which a path may say in its place: both ways of sending one event say the same.
///
/// # Errors
/// [`DecodeError`] when `data` nests too deeply, repeats a member name, or is not JSON after all.
pub fn digest(event: &CloudEvent) -> Result<[u8; 32], DecodeError> {
    let time = event.time.map(|time| time.to_string());
    let mut attributes: Vec<(&str, Cow<'_, str>)> = vec![
        ("specversion", "1.0".into()),
        ("id", event.id.as_str().into()),
        ("source", event.source.as_str().into()),
        ("type", event.event_type.as_str().into()),
    ];
    let optional = [
        ("subject", &event.subject),
        ("time", &time),
        ("datacontenttype", &event.content_type),
        ("dataschema", &event.data_schema),
    ];
    attributes
        .extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?.into()))));
    attributes.extend(
        event
            .extensions
            .iter()
            .filter(|(name, _)| !NO_CONTENT.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value.to_text())),
    );
    attributes.sort_unstable_by(|a, b| a.0.cmp(b.0));

    let mut hash = Sha256::new();
    hash.update(LABEL);
    for (name, value) in &attributes {
        field(&mut hash, b'a', name.as_bytes());
        field(&mut hash, b'v', value.as_bytes());
    }
    match &event.data {
        Data::None => {}
        Data::Binary(bytes) => field(&mut hash, b'b', bytes),
        Data::Json(text) => match plain_text(event.content_type.as_deref(), text) {
            Some(plain) => field(&mut hash, b'b', plain.as_bytes()),
            None => field(&mut hash, b'j', &canonical_json(text)?),
        },
    }
    Ok(hash.finalize().into())
}

fn field(hash: &mut Sha256, tag: u8, bytes: &[u8]) {
    hash.update([tag]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// The text behind a JSON string whose content type is not JSON. The JSON format may write such
/// data as a string or as Base64, and binary mode sends its bytes: one content, three spellings.
fn plain_text<'a>(content_type: Option<&str>, text: &'a str) -> Option<Cow<'a, str>> {
    if !text.starts_with('"') || content_type.is_none_or(is_json) {
        return None;
    }
    json::value("data", text).ok().and_then(json::string)
}

#[cfg(test)]
mod tests;
