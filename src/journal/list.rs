//! Lists of commands, the newest first.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Journal, Record};
use crate::{
    domain::{
        command::{CATEGORY, DISPATCHED},
        event::RecordedBy,
        ids::{Category, CorrelationId, Status, StreamId},
        position::Position,
        timestamp::Timestamp,
    },
    feed::all_stream::{self, Direction, Place, Places, Query, ReadFailure},
    store::{
        history::{HistoryError, ListFrom, PAGE_BYTES},
        registry::Tenant,
    },
};

/// Commands read at the same time.
const PARALLEL: usize = 8;
/// Commands read before a page is looked at again: is it full, or too large?
const CHUNK: usize = 16;
/// How long one page may look where a filter passes few.
const LOOKING: Duration = Duration::from_secs(8);
/// How far a sender's clock may be ahead: so much earlier than `from` the search ends.
const AHEAD: Duration = Duration::from_secs(86_400);

/// Which commands are wanted. What is not said is not asked.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The status on record.
    pub status: Option<Status>,
    /// The id of who asked.
    pub actor: Option<String>,
    /// The type.
    pub kind: Option<String>,
    /// The correlation id.
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
        let Some((command, dispatched)) = record.command.as_ref().zip(record.dispatched()) else {
            return false;
        };
        let event = &dispatched.event;
        let time = event.envelope.time.unwrap_or(event.recorded);
        let actor = event.actor.as_ref().and_then(|actor| actor.id.as_ref());
        self.status.as_ref().is_none_or(|wanted| command.stage.status() == wanted.as_str())
            && self.actor.as_ref().is_none_or(|wanted| actor == Some(wanted))
            && self.kind.as_ref().is_none_or(|wanted| dispatched.text("type").as_ref() == Some(wanted))
            && self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time < to)
            && self.recorded_by.as_ref().is_none_or(|wanted| record.is_recorded_by(wanted))
    }
}

/// Where a list goes on: each way of finding commands has its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListPlace {
    /// In the index of a status that wants attention.
    Index(ListFrom),
    /// In the log, going backwards.
    Log(Places),
    /// Among what shares a correlation id: before this place.
    Linked(Position),
}

/// Part of a list of commands.
#[derive(Debug)]
pub struct Listed {
    /// The commands, the newest first.
    pub records: Vec<Record>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<ListPlace>,
}

impl Record {
    /// Whether the command was put on record by this caller.
    pub fn is_recorded_by(&self, caller: &RecordedBy) -> bool {
        self.dispatched().is_some_and(|entry| entry.event.envelope.recorded_by.as_ref() == Some(caller))
    }

    /// About the bytes that it takes in an answer.
    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.event.data.as_bytes().len()).sum()
    }
}

/// Commands that may be wanted, each with its place where that is known, and where to go on behind them.
struct Found {
    ids: Vec<(Option<Position>, StreamId)>,
    place: Option<ListPlace>,
    end: bool,
}

impl Found {
    /// Where the list goes on when these were not looked at.
    fn before(self, rest: &[(Option<Position>, StreamId)]) -> Option<ListPlace> {
        let behind = |position: Position| Position { sequence: position.sequence + 1, ..position };
        let rest: Vec<_> = rest.iter().filter_map(|(position, _)| position.map(behind)).collect();
        let Some(first) = rest.first() else { return self.place.filter(|_| !self.end) };
        let Some(ListPlace::Log(mut places)) = self.place else { return Some(ListPlace::Linked(*first)) };
        // The newest of each partition is set last, and counts.
        for Position { partition, sequence } in rest.iter().rev() {
            places.set(*partition, Place { sequence: *sequence, mark: None });
        }
        Some(ListPlace::Log(places))
    }
}

impl Journal {
    /// Commands, the newest first: in the order in which they were recorded. A page may be short, even
    /// empty, while `next` leads on.
    ///
    /// A status that wants attention has an index, which knows ids alone: that list goes by id, and each
    /// of its pages is in order.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn list(
        &self,
        tenant: &Arc<Tenant>,
        filter: &Filter,
        from: Option<ListPlace>,
        limit: usize,
    ) -> Result<Listed, ReadFailure> {
        let until = Instant::now() + LOOKING;
        let (mut records, mut bytes, mut next) = (Vec::new(), 0, from);
        loop {
            let missing = limit - records.len();
            let mut found = match (&filter.correlation, self.indexed(tenant, filter)) {
                (Some(correlation), _) => self.linked(tenant, correlation, next, missing).await?,
                (None, Some(status)) => self.in_index(tenant, status, next, missing.min(CHUNK)).await?,
                (None, None) => self.in_log(tenant, filter, next, missing).await?,
            };
            let mut ids = std::mem::take(&mut found.ids).into_iter();
            while ids.len() > 0 && bytes < PAGE_BYTES {
                let chunk = ids.by_ref().take(CHUNK).map(|(_, id)| id).collect();
                let (read, _) = self.records(tenant, chunk, usize::MAX).await?;
                for record in read.into_iter().filter(|record| filter.wants(record)) {
                    bytes += record.bytes();
                    records.push(record);
                }
            }
            next = found.before(ids.as_slice());
            if next.is_none() || records.len() >= limit || bytes >= PAGE_BYTES || Instant::now() >= until {
                break;
            }
        }
        records.sort_by_key(|record| Reverse(record.dispatched().map(|entry| entry.event.recorded)));
        Ok(Listed { records, next })
    }

    fn indexed<'a>(&self, tenant: &Tenant, filter: &'a Filter) -> Option<&'a Status> {
        filter.status.as_ref().filter(|status| tenant.settings.wants_attention(status.as_str()))
    }

    async fn in_index(
        &self,
        tenant: &Arc<Tenant>,
        status: &Status,
        from: Option<ListPlace>,
        limit: usize,
    ) -> Result<Found, ReadFailure> {
        let from = match from {
            None => None,
            Some(ListPlace::Index(from)) => Some(from),
            Some(_) => return Err(ReadFailure::Changed),
        };
        let category = Category::parse(CATEGORY).expect("the constant is a category");
        let page = self.store().history(tenant).streams(Some(&category), Some(status), from, limit).await?;
        // An index knows no places: what is asked of it at once is looked at.
        let ids = page.streams.into_iter().map(|listed| (None, listed.name.id)).collect();
        Ok(Found { ids, end: page.next.is_none(), place: page.next.map(ListPlace::Index) })
    }

    /// Every command was dispatched, and the log says when: it is read backwards.
    async fn in_log(
        &self,
        tenant: &Arc<Tenant>,
        filter: &Filter,
        from: Option<ListPlace>,
        limit: usize,
    ) -> Result<Found, ReadFailure> {
        let after = match from {
            None => None,
            Some(ListPlace::Log(places)) => Some(places),
            Some(_) => return Err(ReadFailure::Changed),
        };
        let types = vec![DISPATCHED.to_owned()];
        let query = Query {
            direction: Direction::Backward,
            from: filter.from.map(|from| from.minus(AHEAD)),
            filter: all_stream::Filter { types, ..all_stream::Filter::default() },
            ..Query::after(after, limit)
        };
        let page = all_stream::read(&self.store().log(tenant), &self.store().history(tenant), &query).await?;
        // A type that is too long to be essential is looked for in the record.
        let fits = |item: &&all_stream::Item| {
            let kind = item.essentials.data.get("commandType");
            filter.kind.as_ref().zip(kind).is_none_or(|(wanted, kind)| wanted == kind)
        };
        let found = page
            .items
            .iter()
            .filter(fits)
            .map(|item| (Some(item.position), item.essentials.stream_name().id));
        Ok(Found { ids: found.collect(), end: page.end, place: Some(ListPlace::Log(page.places)) })
    }

    async fn linked(
        &self,
        tenant: &Arc<Tenant>,
        correlation: &CorrelationId,
        from: Option<ListPlace>,
        limit: usize,
    ) -> Result<Found, ReadFailure> {
        let before = match from {
            None => None,
            Some(ListPlace::Linked(place)) => Some(place),
            Some(_) => return Err(ReadFailure::Changed),
        };
        let mut commands = self.correlated(tenant, correlation).await?;
        commands.retain(|(place, _)| before.is_none_or(|before| *place < before));
        let rest = commands.split_off(commands.len().saturating_sub(limit));
        let place = rest.first().map(|(place, _)| ListPlace::Linked(*place));
        let ids = rest.into_iter().rev().map(|(place, id)| (Some(place), id)).collect();
        Ok(Found { ids, end: commands.is_empty(), place })
    }

    /// Several commands, in this order, up to about so many bytes; those that are none are left out. The
    /// flag tells that there are more.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub(super) async fn records(
        &self,
        tenant: &Arc<Tenant>,
        ids: Vec<StreamId>,
        most: usize,
    ) -> Result<(Vec<Record>, bool), HistoryError> {
        let history = self.store().history(tenant);
        let read = |id| {
            let history = history.clone();
            async move { Record::read(&history, &id).await }
        };
        let mut found = stream::iter(ids).map(read).buffered(PARALLEL);
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(record) = found.try_next().await? {
            if bytes > most {
                return Ok((records, true));
            }
            bytes += record.bytes();
            records.extend(Some(record).filter(|record| record.command.is_some()));
        }
        Ok((records, false))
    }
}
