//! Everything that belongs to one request, folded.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};

use super::{Journal, Record};
use crate::{
    domain::{
        command::CATEGORY,
        ids::{CorrelationId, StreamId},
        position::Position,
    },
    store::{
        correlated::Link,
        history::{HistoryError, PAGE_BYTES},
        registry::Tenant,
        rows::RecordedEvent,
    },
};

/// Most links looked at, and most events and commands told.
const MOST: usize = 200;
/// Most links looked at for a list of commands, in each partition.
const LISTED: usize = 2_000;
/// Events read at the same time.
const PARALLEL: usize = 16;

/// What belongs to one request.
#[derive(Debug)]
pub struct Belongings {
    /// Its commands.
    pub records: Vec<Record>,
    /// Every other event, in the order in which they were recorded.
    pub events: Vec<RecordedEvent>,
    /// Whether there is more.
    pub truncated: bool,
}

impl Journal {
    /// The commands of a correlation id, whole, and the events that share it.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn belonging(
        &self,
        tenant: &Arc<Tenant>,
        correlation: &CorrelationId,
    ) -> Result<Belongings, HistoryError> {
        let (mut links, mut truncated) = self.store().correlated(tenant).links(correlation, MOST).await?;
        truncated |= links.len() > MOST;
        links.sort_by_key(|link| link.position);
        links.truncate(MOST);
        let (ours, others): (Vec<Link>, Vec<Link>) =
            links.into_iter().partition(|link| link.stream.category.as_str() == CATEGORY);
        let mut seen = BTreeSet::new();
        let ids: Vec<StreamId> =
            ours.into_iter().map(|link| link.stream.id).filter(|id| seen.insert(id.clone())).collect();
        let (records, cut) = self.records(tenant, ids, PAGE_BYTES).await?;
        truncated |= cut;
        let history = self.store().history(tenant);
        let read = |link: Link| {
            let history = history.clone();
            async move { history.version(link.position.partition, &link.stream, link.version).await }
        };
        let mut found = stream::iter(others).map(read).buffered(PARALLEL);
        let (mut events, mut bytes) = (Vec::<RecordedEvent>::new(), 0);
        while let Some(event) = found.try_next().await? {
            if bytes > PAGE_BYTES {
                truncated = true;
                break;
            }
            bytes += event.data.as_bytes().len();
            events.push(event);
        }
        drop(found);
        events.sort_by_key(|event| (event.recorded, event.position));
        Ok(Belongings { records, events, truncated })
    }

    /// The commands of a correlation id, each with the place of its first event that has it, in that
    /// order. Those among the first [`LISTED`] events of a partition are found.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub(super) async fn correlated(
        &self,
        tenant: &Arc<Tenant>,
        correlation: &CorrelationId,
    ) -> Result<Vec<(Position, StreamId)>, HistoryError> {
        let (mut links, _) = self.store().correlated(tenant).links(correlation, LISTED).await?;
        links.sort_by_key(|link| link.position);
        let mut seen = BTreeSet::new();
        let ours = links.into_iter().filter(|link| link.stream.category.as_str() == CATEGORY);
        let first = ours.filter(|link| seen.insert(link.stream.id.clone()));
        Ok(first.map(|link| (link.position, link.stream.id)).collect())
    }
}
