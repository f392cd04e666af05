//! Marain's message envelope: what its message ingestion puts on a queue before the engine sees
//! it, taken as it is and recorded as an event.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    classify::classify,
    cloud_event::{CloudEvent, DecodeError},
    event::{Attribute, Data, MAX_DATA, NewEvent},
    ids::{EventId, EventType, Invalid, Source},
    json::{self, Members},
    known,
};

/// The content type by which an envelope is known.
pub const ENVELOPE: &str = "application/vnd.marain.workflows.hosted.messageenvelope";
/// The `source` of the events that envelopes become.
pub const SOURCE: &str = "/marain/workflow/message-ingestion";

/// .NET writes this for a `Guid` that nobody set.
const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// Whether the object is an envelope. One that says `specversion` is a CloudEvent.
pub(crate) fn is_envelope(members: &Members<'_>) -> bool {
    members.get("specversion").is_none()
        && members.string("contentType").is_some_and(|given| given == ENVELOPE)
}

/// Makes an event of the envelope whose exact text is `text`.
///
/// Its id is the operation id, which Marain makes once for each request, so that a second
/// delivery is a duplicate; else the id of the trigger or request.
pub(crate) fn event(members: &Members<'_>, text: &str) -> Result<NewEvent, DecodeError> {
    if text.len() > MAX_DATA {
        let rule = format!("must be at most {MAX_DATA} bytes, got {}", text.len());
        return Err(DecodeError::new(DecodeError::DATA_TOO_LARGE, "body", rule));
    }
    let body = Body::read(members)?;
    let operation = id(members.string("operationId"));
    let own = id(body.id.clone());
    let event_id = operation.as_deref().or(own.as_deref()).ok_or_else(|| {
        let rule = format!("must be given, or else `{}`", body.id_field);
        DecodeError::new(DecodeError::INVALID_ENVELOPE, "operationId", rule)
    })?;
    let extension = |name: &str, value: Option<Cow<'_, str>>| {
        value.map(|value| (name.to_owned(), Attribute::Str(value.into_owned())))
    };
    let extensions =
        [extension("tenantid", members.string("tenantId")), extension("correlationid", operation.clone())];
    let event = CloudEvent {
        id: named("operationId", EventId::parse(event_id))?,
        source: Source::parse(SOURCE)?,
        event_type: EventType::parse(body.event_type)?,
        subject: body.subject.filter(|subject| is_subject(subject)).map(Cow::into_owned),
        time: None,
        content_type: Some(ENVELOPE.to_owned()),
        data_schema: None,
        extensions: extensions.into_iter().flatten().collect(),
        data: Data::Json(text.into()),
    };
    let mut event = classify(event)?;
    known::put_essential(&mut event.essentials, "workflowId", body.workflow_id.as_deref());
    known::put_essential(&mut event.essentials, "instanceId", body.instance_id.as_deref());
    Ok(event)
}

/// What the envelope carries: a trigger or a request to start an instance.
struct Body<'a> {
    event_type: &'static str,
    id_field: &'static str,
    id: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    workflow_id: Option<Cow<'a, str>>,
    instance_id: Option<Cow<'a, str>>,
}

/// The members of either that we read; all others are skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow)]
    workflow_id: Option<&'a RawValue>,
    #[serde(borrow)]
    workflow_instance_id: Option<&'a RawValue>,
}

impl<'a> Body<'a> {
    fn read(members: &Members<'a>) -> Result<Self, DecodeError> {
        let flag = |name: &str| members.get(name).is_some_and(|value| value.get() == "true");
        match (flag("isTrigger"), flag("isStartWorkflowRequest")) {
            (true, false) => {
                let raw = nested(members, "trigger")?;
                let id = raw.id.and_then(json::string);
                Ok(Self {
                    event_type: known::TRIGGER_RECEIVED,
                    id_field: "trigger.id",
                    subject: id.clone(),
                    id,
                    workflow_id: None,
                    instance_id: None,
                })
            }
            (false, true) => {
                let raw = nested(members, "startWorkflowInstanceRequest")?;
                let instance_id = raw.workflow_instance_id.and_then(json::string);
                Ok(Self {
                    event_type: known::CREATION_REQUESTED,
                    id_field: "startWorkflowInstanceRequest.requestId",
                    id: raw.request_id.and_then(json::string),
                    subject: instance_id.clone(),
                    workflow_id: raw.workflow_id.and_then(json::string),
                    instance_id,
                })
            }
            _ => Err(DecodeError::new(
                DecodeError::INVALID_ENVELOPE,
                "isTrigger",
                "must be true, or else `isStartWorkflowRequest`, and not both",
            )),
        }
    }
}

fn nested<'a>(members: &Members<'a>, name: &str) -> Result<Raw<'a>, DecodeError> {
    let broken = || DecodeError::new(DecodeError::INVALID_ENVELOPE, name, "must be an object");
    let text =
        members.get(name).map(RawValue::get).filter(|text| text.starts_with('{')).ok_or_else(broken)?;
    // The text is JSON already, so what fails here is a repeated member.
    serde_json::from_str(text).map_err(|_| json::repeated(name))
}

/// An id that is really one.
fn id(given: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    given.filter(|text| !text.is_empty() && text != NIL)
}

/// The subject is a courtesy to the reader: one that CloudEvents would refuse is left out.
fn is_subject(text: &str) -> bool {
    EventId::parse(text).is_ok()
}

fn named<T>(field: &str, parsed: Result<T, Invalid>) -> Result<T, Invalid> {
    parsed.map_err(|invalid| Invalid { field: field.to_owned(), ..invalid })
}

#[cfg(test)]
mod tests;
