//! The event types that the product knows: which stream, which status, what may be published.
//!
//! One table. A type that is not in it is stored and served all the same, in the stream that its
//! `category` and `subject` name.

mod members;

use std::collections::BTreeMap;

use super::{
    cloud_event::DecodeError,
    event::{Data, Target},
    ids::{Category, EventType, Source, Status, StreamId, StreamName},
    own,
};
use members::Members;

/// A request or trigger, recorded before it is dispatched.
pub const TRIGGER_RECEIVED: &str = "io.marain.workflow.trigger.received";
/// A request for a new workflow instance, recorded before it is dispatched.
pub const CREATION_REQUESTED: &str = "io.marain.workflow.instance.creation-requested";

const WORKFLOW_INSTANCE: &str = "workflow-instance";
const COMMAND: &str = "command";
const DEFAULT_CATEGORY: &str = "event";
/// Everything below these is the journal of a command.
const JOURNAL: [&str; 2] = ["annals.command.", "annals.approval."];

/// What the product knows of one event type.
#[derive(Debug)]
struct Known {
    event_type: &'static str,
    route: Route,
    status: StatusAfter,
    starts_stream: bool,
}

#[derive(Debug, Clone, Copy)]
enum Route {
    TenantAudit,
    WorkflowInstance,
}

#[derive(Debug, Clone, Copy)]
enum StatusAfter {
    Unchanged,
    NewStatus,
    Fixed(&'static str),
}

impl Known {
    const fn new(event_type: &'static str, route: Route, status: StatusAfter) -> Self {
        Self { event_type, route, status, starts_stream: false }
    }
}

const TABLE: [Known; 7] = [
    Known::new(TRIGGER_RECEIVED, Route::TenantAudit, StatusAfter::Unchanged),
    Known::new(CREATION_REQUESTED, Route::TenantAudit, StatusAfter::Unchanged),
    Known::new("io.marain.workflow.trigger.ignored", Route::WorkflowInstance, StatusAfter::Unchanged),
    Known {
        starts_stream: true,
        ..Known::new("io.marain.workflow.instance.created", Route::WorkflowInstance, StatusAfter::NewStatus)
    },
    Known::new(
        "io.marain.workflow.instance.creation-failed",
        Route::WorkflowInstance,
        StatusAfter::Fixed("creation-failed"),
    ),
    Known::new(
        "io.marain.workflow.instance.transition-completed",
        Route::WorkflowInstance,
        StatusAfter::NewStatus,
    ),
    Known::new("io.marain.workflow.instance.faulted", Route::WorkflowInstance, StatusAfter::Fixed("faulted")),
];

/// What an event does to the house: where it goes and what it changes there.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) target: Target,
    pub(crate) status: Option<Status>,
    pub(crate) state: Option<String>,
    pub(crate) essentials: BTreeMap<&'static str, String>,
    pub(crate) starts_stream: bool,
}

impl Effect {
    fn on(target: Target) -> Self {
        Self { target, status: None, state: None, essentials: BTreeMap::new(), starts_stream: false }
    }
}

/// Whether events of this type are the journal's: what they do is decided by its state machine.
pub(crate) fn is_journal(event_type: &EventType) -> bool {
    JOURNAL.iter().any(|prefix| event_type.as_str().starts_with(prefix))
}

/// Whether the stream of `event_type` is fixed by the type, so that a `category` changes nothing.
pub(crate) fn has_own_route(event_type: &EventType) -> bool {
    let name = event_type.as_str();
    JOURNAL.iter().any(|prefix| name.starts_with(prefix))
        || TABLE.iter().any(|known| known.event_type == name)
}

/// The effect of an event. `category` counts only for types that have no route of their own.
pub(crate) fn effect(
    event_type: &EventType,
    category: Option<Category>,
    subject: Option<&str>,
    source: &Source,
    data: &Data,
) -> Result<Effect, DecodeError> {
    let name = event_type.as_str();
    if own::is_reserved(event_type, category.as_ref().map(Category::as_str), source) {
        let rule = "must not be one of those that only Annals writes";
        return Err(DecodeError::new(DecodeError::RESERVED, "type", rule));
    }
    if let Some(known) = TABLE.iter().find(|known| known.event_type == name) {
        return known.effect(subject, data);
    }
    if JOURNAL.iter().any(|prefix| name.starts_with(prefix)) {
        let subject = subject.ok_or_else(|| no_stream("subject", "must be the id of the command"))?;
        return Ok(Effect::on(stream(Category::parse(COMMAND)?, StreamId::parse(subject)?)));
    }
    let category = match category {
        // Every operation reads the stream of its command whole: nobody else makes it longer.
        Some(category) if category.as_str() == COMMAND => {
            let rule = "must not be `command`, which the command journal alone writes";
            return Err(DecodeError::new(DecodeError::RESERVED, "category", rule));
        }
        Some(category) => category,
        None => Category::parse(DEFAULT_CATEGORY)?,
    };
    // A source is short enough and clean enough to be a stream id.
    let id = StreamId::parse(subject.unwrap_or(source.as_str()))?;
    Ok(Effect::on(stream(category, id)))
}

impl Known {
    fn effect(&self, subject: Option<&str>, data: &Data) -> Result<Effect, DecodeError> {
        let members = Members::parse(data);
        let target = match self.route {
            Route::TenantAudit => Target::TenantAudit,
            Route::WorkflowInstance => {
                stream(Category::parse(WORKFLOW_INSTANCE)?, instance_id(&members, subject)?)
            }
        };
        let mut essentials = members.essentials();
        if let Target::Stream(name) = &target {
            members::put(&mut essentials, "instanceId", Some(name.id.as_str()));
        }
        let status = match self.status {
            StatusAfter::Unchanged => None,
            StatusAfter::Fixed(status) => Some(Status::parse(status)?),
            // An event whose status makes no sense is history too; it just sets none.
            StatusAfter::NewStatus => members.new_status().and_then(|text| Status::parse(text).ok()),
        };
        let state = members.new_state().map(str::to_owned);
        Ok(Effect { target, status, state, essentials, starts_stream: self.starts_stream })
    }
}

fn stream(category: Category, id: StreamId) -> Target {
    Target::Stream(StreamName::new(category, id))
}

fn instance_id(members: &Members<'_>, subject: Option<&str>) -> Result<StreamId, DecodeError> {
    if let Some(id) = members.workflow_instance_id() {
        return StreamId::parse(id).map_err(|mut invalid| {
            invalid.field = "data.workflowInstanceId".to_owned();
            invalid.into()
        });
    }
    let rule = "must name the workflow instance when `data.workflowInstanceId` does not";
    Ok(StreamId::parse(subject.ok_or_else(|| no_stream("subject", rule))?)?)
}

fn no_stream(field: &str, rule: &str) -> DecodeError {
    DecodeError::new(DecodeError::NO_STREAM, field, rule)
}

pub(crate) use members::put as put_essential;

#[cfg(test)]
mod tests;
