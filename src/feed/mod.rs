//! The change feed: what was recorded, told to others.
//!
//! The feed says *that* something was recorded and where to read it; what it was stays in the
//! tenant's table. Publishing is the queue's job: only queue functions answer with events, because
//! there the Functions host tries again when Event Grid does not take them.

pub mod all_stream;
pub mod handover;
pub mod replay;

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    domain::{
        essentials::Essentials,
        ids::TenantId,
        position::{PartitionId, Position},
        timestamp::Timestamp,
    },
    links::PublicUrl,
    store::{append::Stored, registry::Tenant},
};

/// A CloudEvent of our own. Numbers are strings: Event Grid takes no more than 32 bits.
#[derive(Serialize)]
struct FeedEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: String,
    time: Timestamp,
    datacontenttype: &'static str,
    sequence: String,
    tenantid: &'a TenantId,
    streamversion: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
    storedtime: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: FeedData<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FeedData<'a> {
    event_id: &'a str,
    event_source: &'a str,
    #[serde(flatten)]
    essentials: &'a BTreeMap<Cow<'static, str>, String>,
    href: String,
}

/// Writes feed events of one tenant.
#[derive(Debug, Clone, Copy)]
pub struct Feed<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// The base of the links.
    pub public_url: &'a PublicUrl,
}

impl Feed<'_> {
    /// The feed event of a stored event; `None` when the tenant's feed does not publish its type.
    /// The same for every publish, whoever makes it.
    pub fn stored(&self, stored: &Stored) -> Option<Box<RawValue>> {
        self.event(stored.partition, stored.recorded, &stored.essentials)
    }

    /// As [`Feed::stored`], from a commit.
    pub fn event(
        &self,
        partition: PartitionId,
        recorded: Timestamp,
        essentials: &Essentials,
    ) -> Option<Box<RawValue>> {
        let Self { tenant, public_url } = self;
        if !tenant.settings.change_feed.publishes(essentials.event_type.as_str()) {
            return None;
        }
        let position = Position { partition, sequence: essentials.sequence };
        let event = FeedEvent {
            specversion: "1.0",
            id: position.to_string(),
            source: format!("/tenants/{}", tenant.id),
            event_type: essentials.event_type.as_str(),
            subject: format!("{}/{}", essentials.category.as_str(), essentials.stream.as_str()),
            time: essentials.time.unwrap_or(recorded),
            datacontenttype: "application/json",
            sequence: essentials.sequence.to_string(),
            tenantid: &tenant.id,
            streamversion: essentials.version.to_string(),
            correlationid: essentials.correlation.as_ref().map(|id| id.as_str()),
            causationid: essentials.causation.as_ref().map(|id| id.as_str()),
            storedtime: recorded,
            traceparent: essentials.traceparent.as_deref(),
            data: FeedData {
                event_id: essentials.id.as_str(),
                event_source: essentials.source.as_str(),
                essentials: &essentials.data,
                href: public_url.event(&tenant.id, &essentials.id, &essentials.source),
            },
        };
        Some(serde_json::value::to_raw_value(&event).expect("maps with string keys serialise"))
    }
}
