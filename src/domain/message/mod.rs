//! One document from outside: a queue message, or the body of an HTTP request in structured or
//! batch mode.

use super::{
    classify::{classify, tenant_hint},
    cloud_event::{CloudEvent, DecodeError},
    event::NewEvent,
    ids::TenantId,
    json::{self, Members},
    marain,
};

/// Most events in one document.
pub const MAX_EVENTS: usize = 1_000;

/// One event of a document, good or bad.
#[derive(Debug, Clone, PartialEq)]
pub struct Element<'a> {
    /// The exact text of the element, for the dead letter that it may become.
    pub raw: &'a str,
    /// The tenant that it names, also when the event is bad: whose dead letter it is. `None` when
    /// it names none, a malformed one, or two different ones.
    pub tenant: Option<TenantId>,
    /// The event, or why it can never be stored as it is.
    pub event: Result<NewEvent, DecodeError>,
}

/// Decodes a document: one JSON object, or an array of them. A byte order mark is passed over.
///
/// Elements succeed and fail each on their own; there is at least one and at most [`MAX_EVENTS`].
///
/// # Errors
/// [`DecodeError`] when the document as a whole is unusable: not UTF-8, not JSON, nested too
/// deeply, neither object nor array, an empty array, or too many elements.
pub fn decode_document(bytes: &[u8]) -> Result<Vec<Element<'_>>, DecodeError> {
    let text = json::text(bytes)?;
    json::check_depth("body", text)?;
    if text.starts_with('{') {
        return Ok(vec![object(text)?]);
    }
    if !text.starts_with('[') {
        json::value("body", text)?;
        let rule = "must be a JSON object or an array of them";
        return Err(DecodeError::new(DecodeError::NOT_A_CLOUDEVENT, "body", rule));
    }
    let elements = json::elements("body", text)?;
    if elements.is_empty() {
        return Err(DecodeError::new(DecodeError::EMPTY_BATCH, "body", "must hold at least one event"));
    }
    if elements.len() > MAX_EVENTS {
        let rule = format!("must hold at most {MAX_EVENTS} events, got {}", elements.len());
        return Err(DecodeError::new(DecodeError::TOO_MANY_EVENTS, "body", rule));
    }
    Ok(elements.into_iter().map(|element| array_element(element.get())).collect())
}

/// An object that is the whole document: if it is not JSON, nothing is.
fn object(text: &str) -> Result<Element<'_>, DecodeError> {
    match Members::parse("body", text) {
        Ok(members) => Ok(element(text, &members)),
        Err(error) if error.code == DecodeError::NOT_JSON => Err(error),
        Err(error) => Ok(bad(text, error)),
    }
}

/// An element whose text is known to be JSON.
fn array_element(text: &str) -> Element<'_> {
    if !text.starts_with('{') {
        let rule = "must be a JSON object";
        return bad(text, DecodeError::new(DecodeError::NOT_A_CLOUDEVENT, "element", rule));
    }
    match Members::parse("element", text) {
        Ok(members) => element(text, &members),
        Err(error) => bad(text, error),
    }
}

fn bad(text: &str, error: DecodeError) -> Element<'_> {
    Element { raw: text, tenant: None, event: Err(error) }
}

fn element<'a>(text: &'a str, members: &Members<'_>) -> Element<'a> {
    let event = match marain::is_envelope(members) {
        true => marain::event(members, text),
        false => CloudEvent::from_members(members).and_then(classify),
    };
    let tenant = match &event {
        Ok(event) => event.tenant.clone(),
        Err(_) => {
            let names = ["tenantid", "maraintenantid", "tenantId"];
            tenant_hint(names.iter().filter_map(|name| members.string(name)))
        }
    };
    Element { raw: text, tenant, event }
}

#[cfg(test)]
mod tests;
