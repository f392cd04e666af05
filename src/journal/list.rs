//! Lists of commands.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::{Journal, Record, stream as stream_of};
use crate::{
    domain::{
        command::CATEGORY,
        event::RecordedBy,
        ids::{Category, CorrelationId, Status, StreamId},
        timestamp::Timestamp,
    },
    store::{
        history::{HistoryError, ListFrom},
        registry::Tenant,
    },
};

/// Commands read at the same time.
const PARALLEL: usize = 8;

/// Which commands are wanted. What is not said is not asked.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The status on record.
    pub status: Option<Status>,
    /// The id of who asked.
    pub actor: Option<String>,
    /// The type.
    pub kind: Option<String>,
    /// The correlation id: all of its commands come on one page.
    pub correlation: Option<CorrelationId>,
    /// Dispatched then or later.
    pub from: Option<Timestamp>,
    /// Dispatched before.
    pub to: Option<Timestamp>,
    /// Recorded by this caller.
    pub recorded_by: Option<RecordedBy>,
}

impl Filter {
    fn wants(&self, record: &Record) -> bool {
        let Some(dispatched) = record.dispatched() else { return false };
        let event = &dispatched.event;
        let time = event.envelope.time.unwrap_or(event.recorded);
        let actor = event.actor.as_ref().and_then(|actor| actor.id.as_ref());
        self.actor.as_ref().is_none_or(|wanted| actor == Some(wanted))
            && self.kind.as_ref().is_none_or(|wanted| dispatched.text("type").as_ref() == Some(wanted))
            && self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time < to)
            && self.recorded_by.as_ref().is_none_or(|wanted| record.is_recorded_by(wanted))
    }
}

/// Part of a list of commands.
#[derive(Debug)]
pub struct Listed {
    /// The commands, in the order of their keys.
    pub records: Vec<Record>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<ListFrom>,
}

impl Record {
    /// Whether the command was put on record by this caller.
    pub fn is_recorded_by(&self, caller: &RecordedBy) -> bool {
        self.dispatched().is_some_and(|entry| entry.event.envelope.recorded_by.as_ref() == Some(caller))
    }
}

impl Journal {
    /// Commands in the order of their keys. A page may be short, even empty, while `next` leads on.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn list(
        &self,
        tenant: &Arc<Tenant>,
        filter: &Filter,
        from: Option<ListFrom>,
        limit: usize,
    ) -> Result<Listed, HistoryError> {
        if let Some(correlation) = &filter.correlation {
            let records = self.correlated(tenant, correlation).await?;
            let status = |record: &Record| record.command.as_ref().map(|command| command.stage.status());
            let wanted = |record: &Record| {
                filter.status.as_ref().is_none_or(|wanted| status(record) == Some(wanted.as_str()))
                    && filter.wants(record)
            };
            return Ok(Listed { records: records.into_iter().filter(wanted).collect(), next: None });
        }
        let history = self.store().history(tenant);
        let category = Category::parse(CATEGORY).expect("the constant is a category");
        let page = history.streams(Some(&category), filter.status.as_ref(), from, limit).await?;
        // The earliest time of a stream is at most that of its dispatch.
        let ids = page.streams.into_iter().filter(|listed| {
            let last = listed.stream.times.map(|(_, last)| last);
            filter.from.is_none_or(|from| last.is_none_or(|last| last >= from))
        });
        let ids: Vec<StreamId> = ids.map(|listed| listed.name.id).collect();
        let records = self.records(tenant, ids).await?;
        let records = records.into_iter().filter(|record| filter.wants(record)).collect();
        Ok(Listed { records, next: page.next })
    }

    /// Several commands, in this order; those that are none are left out.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn records(
        &self,
        tenant: &Arc<Tenant>,
        ids: Vec<StreamId>,
    ) -> Result<Vec<Record>, HistoryError> {
        let history = self.store().history(tenant);
        let read = stream::iter(ids)
            .map(|id| {
                let history = history.clone();
                async move { Record::read(&history, &id).await }
            })
            .buffered(PARALLEL)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(read.into_iter().filter(|record| record.command.is_some()).collect())
    }

    /// The version of a command's stream, at the price of one point read.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn version(&self, tenant: &Arc<Tenant>, command: &StreamId) -> Result<u64, HistoryError> {
        let found = self.store().history(tenant).stream(&stream_of(command)).await?;
        Ok(found.map_or(0, |stream| stream.version))
    }
}
