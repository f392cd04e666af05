//! What a committer believes about its partition, and how it learns better.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroUsize,
    sync::Arc,
};

use futures::{StreamExt, stream};
use lru::LruCache;

use super::{
    Stored,
    news::{News, news, settles},
    plan::StreamNow,
    read::{Reader, StateError, Tip},
    rule::Rule,
};
use crate::{
    domain::{
        erasure::Erased,
        essentials::Essentials,
        ids::{Identity, StreamName},
        position::PartitionId,
    },
    store::{
        keys,
        rows::Commit,
        table::{Table, TableName},
    },
};

/// Streams kept in memory for each partition.
const STREAMS: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();
/// Stored identities kept in memory for each partition: answers repeated deliveries at once.
const IDENTITIES: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();
/// Foreign commits read at once; a process that is further behind starts from the head alone.
const CATCH_UP: usize = 250;
/// Looks at a head and commits that do not fit together before giving up.
const REFRESH_TRIES: usize = 20;
/// Point reads in flight for one batch.
const PARALLEL_READS: usize = 16;

/// The beliefs. All of them are true as long as the head's ETag is.
#[derive(Debug)]
pub(super) struct State {
    reader: Reader,
    tip: Option<Tip>,
    streams: LruCache<StreamName, StreamNow>,
    identities: LruCache<Identity, Stored>,
}

impl State {
    pub(super) fn new(table: Arc<dyn Table>, name: TableName, partition: PartitionId) -> Self {
        Self {
            reader: Reader::new(table, name, partition),
            tip: None,
            streams: LruCache::new(STREAMS),
            identities: LruCache::new(IDENTITIES),
        }
    }

    pub(super) fn tip(&self) -> Option<&Tip> {
        self.tip.as_ref()
    }

    /// Forgets everything but stored identities, which never change.
    pub(super) fn forget(&mut self) {
        self.tip = None;
        self.streams.clear();
    }

    /// Whether anything is believed of the stream.
    pub(super) fn knows(&self, stream: &StreamName) -> bool {
        self.streams.contains(stream)
    }

    pub(super) fn evict(&mut self, stream: &StreamName) {
        self.streams.pop(stream);
    }

    pub(super) fn recall(&mut self, identity: &Identity) -> Option<Stored> {
        self.identities.get(identity).cloned()
    }

    pub(super) fn remember(&mut self, identity: Identity, stored: Stored) {
        self.identities.put(identity, stored);
    }

    /// Forgets what was known of a stored event: it was erased.
    pub(super) fn forget_event(&mut self, identity: &Identity) {
        self.identities.pop(identity);
    }

    /// Takes over what a commit of ours made true.
    pub(super) fn committed(&mut self, tip: Tip, streams: Vec<(StreamName, StreamNow)>) {
        self.tip = Some(tip);
        for (name, now) in streams {
            self.streams.put(name, now);
        }
    }

    /// Looks at the head, and at every commit behind the one we knew; evicts the streams that
    /// foreign commits touched. Gives those commits back, oldest first.
    ///
    /// # Errors
    /// [`StateError`]; the beliefs are then as they were, or forgotten.
    pub(super) async fn refresh(&mut self) -> Result<Vec<Commit>, StateError> {
        let Some(known) = self.tip.as_ref().map(|tip| tip.head) else {
            self.tip = Some(self.reader.head().await?);
            return Ok(Vec::new());
        };
        for _ in 0..REFRESH_TRIES {
            let range = keys::commits_from(known.last + 1);
            let page = self.reader.scan(&range, CATCH_UP).await?;
            let Some(News { tip, commits }) = news(&page)? else {
                tracing::info!(partition = %self.reader.partition, "far behind other writers: starting from the head");
                self.forget();
                self.tip = Some(self.reader.head().await?);
                return Ok(Vec::new());
            };
            if tip.head.last < known.last {
                tracing::warn!(partition = %self.reader.partition, "the head lies behind what was committed: was storage restored?");
                self.forget();
                self.identities.clear();
                self.tip = Some(tip);
                return Ok(Vec::new());
            }
            if !Rule::SettledRefresh.holds() || settles(&known, &commits, &tip.head) {
                self.adopt(tip, &commits)?;
                return Ok(commits);
            }
        }
        Err(StateError::Unsettled)
    }

    fn adopt(&mut self, tip: Tip, commits: &[Commit]) -> Result<(), StateError> {
        for essentials in commits.iter().map(Commit::events).collect::<Result<Vec<_>, _>>()?.iter().flatten()
        {
            self.foreign(essentials);
        }
        self.tip = Some(tip);
        Ok(())
    }

    /// A foreign commit evicts the streams it touched: what it did to their status cannot be
    /// told from its essentials alone.
    fn foreign(&mut self, essentials: &Essentials) {
        let name = essentials.stream_name();
        if let Some(erased) = Erased::read(essentials) {
            self.identities.pop(&erased.identity);
        }
        if Rule::EvictForeign.holds() {
            self.evict(&name);
        } else if let Some(now) = self.streams.get_mut(&name) {
            now.stream.version = essentials.version;
        }
    }

    /// The streams of that name, read where they are not believed known. Version 0 where there is none.
    pub(super) async fn load_streams(
        &mut self,
        names: impl IntoIterator<Item = StreamName>,
    ) -> Result<HashMap<StreamName, StreamNow>, StateError> {
        let names = names.into_iter();
        let mut found = HashMap::with_capacity(names.size_hint().0);
        let mut cold = Vec::new();
        for name in names {
            match self.streams.get(&name) {
                Some(now) => {
                    found.insert(name, now.clone());
                }
                None => cold.push(name),
            }
        }
        let read = stream::iter(cold)
            .map(|name| self.reader.stream(name))
            .buffer_unordered(PARALLEL_READS)
            .collect::<Vec<_>>()
            .await;
        // What was read stays, also when something else was not: the next try has less to read.
        let mut failure = None;
        for outcome in read {
            match outcome {
                Ok((name, now)) => {
                    self.streams.put(name.clone(), now.clone());
                    found.insert(name, now);
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(found), Err)
    }

    /// Looks identities up in storage; remembers those that are stored, and forgets the others.
    pub(super) async fn look_up(&mut self, identities: BTreeSet<Identity>) -> LookedUp {
        let reader = &self.reader;
        let read = stream::iter(identities)
            .map(|identity| async move { (reader.identity(&identity).await, identity) })
            .buffer_unordered(PARALLEL_READS)
            .collect::<Vec<_>>()
            .await;
        let mut looked_up = LookedUp::default();
        for (outcome, identity) in read {
            match outcome {
                Ok(None) => drop(self.identities.pop(&identity)),
                Ok(Some(stored)) => {
                    self.identities.put(identity.clone(), stored.clone());
                    looked_up.found.push((identity, stored));
                }
                Err(error) => {
                    looked_up.unread.insert(identity);
                    looked_up.failure = Some(error);
                }
            }
        }
        looked_up
    }
}

/// What came of looking identities up.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    pub(super) found: Vec<(Identity, Stored)>,
    /// Those that could not be read.
    pub(super) unread: BTreeSet<Identity>,
    pub(super) failure: Option<StateError>,
}

impl LookedUp {
    /// Those that are stored, if all could be read.
    pub(super) fn all(self) -> Result<Vec<(Identity, Stored)>, StateError> {
        self.failure.map_or(Ok(self.found), Err)
    }
}
