//! The few members of `data` that Annals reads, and nothing else of it.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::{event::Data, json};

/// Longest value that may be published or kept as a state, in characters. What is longer is no
/// id and no status, and stays at home.
const MAX_CHARS: usize = 256;

/// The members as they stand in the text: everything else is skipped, not parsed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    workflow_instance_id: Option<&'a RawValue>,
    #[serde(borrow)]
    workflow_id: Option<&'a RawValue>,
    #[serde(borrow)]
    transition_id: Option<&'a RawValue>,
    #[serde(borrow)]
    previous_status: Option<&'a RawValue>,
    #[serde(borrow)]
    new_status: Option<&'a RawValue>,
    #[serde(borrow)]
    new_state: Option<&'a RawValue>,
}

/// The members that are non-empty strings.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    workflow_instance_id: Option<Cow<'a, str>>,
    workflow_id: Option<Cow<'a, str>>,
    transition_id: Option<Cow<'a, str>>,
    previous_status: Option<Cow<'a, str>>,
    new_status: Option<Cow<'a, str>>,
    new_state: Option<Cow<'a, str>>,
}

impl<'a> Members<'a> {
    /// Reads the members of `data`; data that is no JSON object has none.
    pub(super) fn parse(data: &'a Data) -> Self {
        // A derived struct would take an array as well, member by member.
        let bytes = data.as_bytes().trim_ascii_start();
        let raw: Raw<'a> = match bytes.first() {
            Some(b'{') => serde_json::from_slice(bytes).unwrap_or_default(),
            _ => return Self::default(),
        };
        let text = |value: Option<&'a RawValue>| value.and_then(json::string).filter(|text| !text.is_empty());
        Self {
            workflow_instance_id: text(raw.workflow_instance_id),
            workflow_id: text(raw.workflow_id),
            transition_id: text(raw.transition_id),
            previous_status: text(raw.previous_status),
            new_status: text(raw.new_status),
            new_state: text(raw.new_state),
        }
    }

    pub(super) fn workflow_instance_id(&self) -> Option<&str> {
        self.workflow_instance_id.as_deref()
    }

    pub(super) fn new_status(&self) -> Option<&str> {
        self.new_status.as_deref()
    }

    pub(super) fn new_state(&self) -> Option<&str> {
        self.new_state.as_deref().filter(|text| is_short(text))
    }

    /// The allow-list: what of `data` may leave on the change feed.
    pub(super) fn essentials(&self) -> BTreeMap<&'static str, String> {
        let mut essentials = BTreeMap::new();
        put(&mut essentials, "workflowId", self.workflow_id.as_deref());
        put(&mut essentials, "instanceId", self.workflow_instance_id.as_deref());
        put(&mut essentials, "transitionId", self.transition_id.as_deref());
        put(&mut essentials, "previousStatus", self.previous_status.as_deref());
        put(&mut essentials, "newStatus", self.new_status.as_deref());
        essentials
    }
}

/// Adds one essential, unless it is missing, empty or too long to be what it claims.
pub(crate) fn put(essentials: &mut BTreeMap<&'static str, String>, name: &'static str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty() && is_short(value)) {
        essentials.insert(name, value.to_owned());
    }
}

fn is_short(text: &str) -> bool {
    text.len() <= MAX_CHARS || text.chars().nth(MAX_CHARS).is_none()
}
