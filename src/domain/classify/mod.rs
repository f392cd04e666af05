//! From a CloudEvent to an event of ours: extensions that mean something become members, and the
//! type decides the stream.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    canonical,
    cloud_event::{CloudEvent, DecodeError},
    event::{Actor, Attribute, Expected, NewEvent, Target},
    ids::{Category, CausationId, CorrelationId, Invalid, TenantId},
    known,
};

/// Understands an event, or says why it cannot be placed.
///
/// Never reads more of `data` than the members that its type is known for, and never refuses an
/// event for what it does not need: a malformed `traceparent` stays an extension like any other.
///
/// # Errors
/// [`DecodeError`] when an extension that we act on breaks its rule, the event names no stream,
/// or its data has no canonical form.
pub fn classify(event: CloudEvent) -> Result<NewEvent, DecodeError> {
    let content = canonical::digest(&event)?;
    let CloudEvent { id, source, event_type, subject, time, content_type, data_schema, mut extensions, data } =
        event;
    let tenant = tenant(&mut extensions)?;
    let category = match known::has_own_route(&event_type) {
        true => None,
        false => take(&mut extensions, "category").map(Category::parse).transpose()?,
    };
    let correlation = take(&mut extensions, "correlationid").map(CorrelationId::parse).transpose()?;
    let causation = take(&mut extensions, "causationid").map(CausationId::parse).transpose()?;
    let actor = actor(&mut extensions)?;
    let expected = take(&mut extensions, "expectedversion").map(|text| Expected::parse(&text)).transpose()?;
    let well_formed = extensions.get("traceparent").is_some_and(|value| is_traceparent(&value.to_text()));
    let traceparent = if well_formed { take(&mut extensions, "traceparent") } else { None };
    let effect = known::effect(&event_type, category, subject.as_deref(), &source, &data)?;
    Ok(NewEvent {
        id,
        source,
        event_type,
        subject,
        time,
        content_type,
        data_schema,
        data,
        tenant,
        target: effect.target,
        correlation,
        causation,
        actor,
        recorded_by: None,
        redacted: Vec::new(),
        traceparent,
        expected: expected.unwrap_or_default(),
        extensions,
        status: effect.status,
        ruling: None,
        state: effect.state,
        essentials: effect.essentials,
        starts_stream: effect.starts_stream,
        content,
    })
}

impl From<&NewEvent> for CloudEvent {
    /// The event as it is served: every member back in its attribute. `maraintenantid` comes back
    /// as `tenantid`, and what was assumed (the default category, an actor of kind `unknown`) comes
    /// back in words; `expectedversion` was a condition and does not come back.
    fn from(event: &NewEvent) -> Self {
        let mut extensions = event.extensions.clone();
        let mut put = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                extensions.insert(name.to_owned(), Attribute::Str(value.to_owned()));
            }
        };
        put("tenantid", event.tenant.as_ref().map(TenantId::as_str));
        put("correlationid", event.correlation.as_ref().map(CorrelationId::as_str));
        put("causationid", event.causation.as_ref().map(CausationId::as_str));
        put("authtype", event.actor.as_ref().map(|actor| actor.kind.as_str()));
        put("authid", event.actor.as_ref().and_then(|actor| actor.id.as_deref()));
        put("traceparent", event.traceparent.as_deref());
        if let Target::Stream(stream) = &event.target
            && !known::has_own_route(&event.event_type)
        {
            put("category", Some(stream.category.as_str()));
        }
        Self {
            id: event.id.clone(),
            source: event.source.clone(),
            event_type: event.event_type.clone(),
            subject: event.subject.clone(),
            time: event.time,
            content_type: event.content_type.clone(),
            data_schema: event.data_schema.clone(),
            extensions,
            data: event.data.clone(),
        }
    }
}

type Extensions = BTreeMap<String, Attribute>;

/// Takes an extension out, in its string form.
fn take(extensions: &mut Extensions, name: &str) -> Option<String> {
    extensions.remove(name).map(|value| match value {
        Attribute::Str(text) => text,
        other => other.to_text().into_owned(),
    })
}

fn tenant(extensions: &mut Extensions) -> Result<Option<TenantId>, Invalid> {
    let mut parse = |name: &str| {
        take(extensions, name)
            .map(TenantId::parse)
            .transpose()
            .map_err(|invalid| Invalid { field: name.into(), ..invalid })
    };
    match (parse("tenantid")?, parse("maraintenantid")?) {
        (Some(ours), Some(marain)) if ours != marain => {
            Err(Invalid::new("tenantid", "must equal `maraintenantid` when both are given"))
        }
        (ours, marain) => Ok(ours.or(marain)),
    }
}

fn actor(extensions: &mut Extensions) -> Result<Option<Actor>, Invalid> {
    let mut text = |name: &str| match take(extensions, name) {
        Some(text) if text.is_empty() => Err(Invalid::new(name, "must not be empty")),
        given => Ok(given),
    };
    let (kind, id) = (text("authtype")?, text("authid")?);
    if kind.is_none() && id.is_none() {
        return Ok(None);
    }
    Ok(Some(Actor { kind: kind.unwrap_or_else(|| "unknown".to_owned()), id }))
}

/// W3C Trace Context: `version-traceid-parentid-flags` in lower-case hexadecimal, ids not zero.
/// Later versions than 00 may append fields.
pub(crate) fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let id = |part: &str, length: usize| hex(part, length) && part.bytes().any(|b| b != b'0');
    let mut parts = text.splitn(5, '-');
    let mut next = || parts.next().unwrap_or_default();
    let (version, trace, parent, flags) = (next(), next(), next(), next());
    hex(version, 2)
        && version != "ff"
        && id(trace, 32)
        && id(parent, 16)
        && hex(flags, 2)
        && (version != "00" || parts.next().is_none())
}

/// The tenant that an event names, as far as that can be told from an event that may be broken:
/// the hint under which a dead letter is kept.
pub(crate) fn tenant_hint<'a>(candidates: impl Iterator<Item = Cow<'a, str>>) -> Option<TenantId> {
    let mut tenants = candidates.map(|text| TenantId::parse(text).ok());
    let first = tenants.next()??;
    tenants.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests;
