//! From an event to a candidate: its stream and partition, and the keyed hashes of the people in it.

use std::sync::Arc;

use super::{
    Delivery,
    append::Candidate,
    digest::{self, Salt},
    keys,
    registry::Tenant,
    rows::Fingerprint,
};
use crate::domain::{
    erasure,
    event::{Actor, NewEvent, Target},
    ids::{Category, StreamId, StreamName},
    own,
    position::PartitionId,
};

/// Category of the tenant's own streams.
const TENANT: &str = "tenant";
/// Categories of which each partition has one stream, named after it.
const PER_PARTITION: [&str; 2] = [erasure::CATEGORY, own::CHECKPOINT];
/// The extension that names the person whom an event is about.
pub(crate) const DATA_SUBJECT: &str = "datasubject";
/// The tenant's audit stream.
const AUDIT: &str = "audit";

/// The partition of a stream that the tenant has. An audit stream names its own.
pub(crate) fn partition_of(tenant: &Tenant, stream: &StreamName) -> PartitionId {
    let id = stream.id.as_str();
    let named = match stream.category.as_str() {
        TENANT => id.strip_prefix("audit-"),
        // Our own streams of proof stand in the partition that they are about.
        own if PER_PARTITION.contains(&own) => Some(id),
        _ => None,
    };
    named
        .and_then(PartitionId::parse)
        .filter(|partition| partition.number() < tenant.settings.partitions)
        .unwrap_or_else(|| keys::partition_of_stream(stream, tenant.settings.partitions))
}

/// Prepares an event: its stream and partition, its salt, and the keyed hash of its actor.
pub(super) fn candidate(
    tenant: &Tenant,
    mut event: NewEvent,
    delivery: &Delivery,
) -> (PartitionId, Candidate) {
    event.recorded_by = Some(delivery.recorded_by.clone());
    let partitions = tenant.settings.partitions;
    let (stream, partition) = match &event.target {
        Target::Stream(name) => (name.clone(), partition_of(tenant, name)),
        Target::TenantAudit if partitions == 1 => {
            let name = audit_stream(AUDIT.to_owned());
            let partition = keys::partition_of_stream(&name, 1);
            (name, partition)
        }
        Target::TenantAudit => {
            let partition = keys::partition_of_identity(&event.identity(), partitions);
            (audit_stream(format!("{AUDIT}-{partition}")), partition)
        }
    };
    let fingerprint = Fingerprint::of(Salt(rand::random()), &event.content);
    let actor = event.actor.as_ref().map(|actor| actor_hash(tenant, actor));
    let subject = event.extensions.get(DATA_SUBJECT).map(|subject| subject_hash(tenant, &subject.to_text()));
    let attention =
        event.status.as_ref().is_some_and(|status| tenant.settings.wants_attention(status.as_str()));
    (partition, Candidate { event: Arc::new(event), stream, fingerprint, actor, subject, attention })
}

fn audit_stream(id: String) -> StreamName {
    let valid = "a constant that is a valid id";
    StreamName::new(Category::parse(TENANT).expect(valid), StreamId::parse(id).expect(valid))
}

/// The actor that a filter names: a keyed hash as essentials show it, or `type:id`.
pub(crate) fn actor_filter(tenant: &Tenant, text: &str) -> String {
    let is_hash = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match text.split_once(':') {
        Some((kind, id)) => actor_hash(
            tenant,
            &Actor { kind: kind.to_owned(), id: Some(id.to_owned()).filter(|id| !id.is_empty()) },
        ),
        None if is_hash => text.to_owned(),
        None => actor_hash(tenant, &Actor { kind: "unknown".to_owned(), id: Some(text.to_owned()) }),
    }
}

/// Under which a data subject's events are found: HMAC under the tenant's key.
pub(crate) fn subject_hash(tenant: &Tenant, subject: &str) -> String {
    let message = format!("subject\0{subject}");
    hex::encode(&digest::hmac(&tenant.key.0, message.as_bytes())[..16])
}

/// Says "the same person" without saying who: HMAC of type and id under the tenant's key.
fn actor_hash(tenant: &Tenant, actor: &Actor) -> String {
    let message = format!("actor\0{}\0{}", actor.kind, actor.id.as_deref().unwrap_or_default());
    hex::encode(&digest::hmac(&tenant.key.0, message.as_bytes())[..16])
}
