//! Signing: every partition whose log went on since its last checkpoint.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    container::{Container, ContainerError},
    note::Note,
};
use crate::{
    config::NoKey,
    domain::{
        event::{Data, RecordedBy},
        ids::{Category, StreamId, StreamName},
        own::{self, CHECKPOINT, CHECKPOINT_SIGNED},
        position::PartitionId,
        signing::SigningKey,
        timestamp::Timestamp,
    },
    store::{
        Store, StoreError,
        history::{HistoryError, Order},
        registry::{RegistryError, Tenant},
    },
};

/// Longest time that one round takes.
const ROUND: Duration = Duration::from_secs(60);
/// Longest wait for one event to be stored.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a checkpoint was not made. The next round tries again.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The tenants could not be read.
    #[error("the tenants could not be read")]
    Registry(#[from] RegistryError),
    /// The log could not be read.
    #[error("the log could not be read")]
    History(#[from] HistoryError),
    /// The event was not stored.
    #[error("the checkpoint was not stored")]
    Store(#[from] StoreError),
    /// The container did not take it.
    #[error("the checkpoint was not put into its container")]
    Container(#[from] ContainerError),
}

/// Makes checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    key: Result<SigningKey, NoKey>,
    container: Option<Container>,
}

impl Checkpoints {
    /// With this key, or without one: then nothing is signed.
    pub fn new(key: Result<SigningKey, NoKey>, container: Option<Container>) -> Self {
        Self { key, container }
    }

    /// Since when a partition holds something that no checkpoint covers; `None` when all of it is
    /// covered, or no checkpoints are made.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn uncovered_since(
        &self,
        store: &Store,
        tenant: &Arc<Tenant>,
        partition: PartitionId,
    ) -> Result<Option<Timestamp>, HistoryError> {
        if !self.made() {
            return Ok(None);
        }
        // A checkpoint says what lies before it; its own event is the next one.
        let newest = newest(store, tenant, partition, 1).await?;
        let first = newest.first().map_or(1, |note| note.sequence + 2);
        let commit = store.log(tenant).reaching(partition, first).await?;
        Ok(commit.map(|commit| commit.recorded))
    }

    /// Whether checkpoints are made.
    pub fn made(&self) -> bool {
        self.key.is_ok()
    }

    /// Signs what went on, of all tenants, for at most a minute. Gives the number of checkpoints.
    ///
    /// # Errors
    /// The last [`CheckpointError`], after every tenant has had its turn.
    pub async fn round(&self, store: &Store) -> Result<usize, CheckpointError> {
        let key = match &self.key {
            Ok(key) => key,
            Err(reason) => {
                tracing::warn!(
                    evt = "checkpoint.no-key",
                    "{reason}: no checkpoints are made, and nothing proves the log to somebody who \
                     distrusts whoever can write to its storage"
                );
                return Ok(0);
            }
        };
        let until = Instant::now() + ROUND;
        let (mut made, mut failure) = (0, None);
        for tenant in store.registry().by_lot().await? {
            for partition in tenant.partitions() {
                if Instant::now() >= until {
                    return failure.map_or(Ok(made), Err);
                }
                match self.sign(store, &tenant, partition, key).await {
                    Ok(signed) => made += usize::from(signed),
                    Err(error) => failure = Some(error),
                }
            }
        }
        failure.map_or(Ok(made), Err)
    }

    /// Signs one partition, unless nothing but the last checkpoint is new.
    async fn sign(
        &self,
        store: &Store,
        tenant: &Arc<Tenant>,
        partition: PartitionId,
        key: &SigningKey,
    ) -> Result<bool, CheckpointError> {
        let log = store.log(tenant);
        let head = log.head(partition).await?;
        if head.last == 0 {
            return Ok(false);
        }
        let last = log.reaching(partition, head.last).await?;
        let events = last.map(|commit| commit.events()).transpose().map_err(HistoryError::from)?;
        let only = events
            .is_some_and(|events| events.iter().all(|event| event.event_type.as_str() == CHECKPOINT_SIGNED));
        if only {
            self.keep_newest(store, tenant, partition).await?;
            return Ok(false);
        }
        let note = Note::sign(tenant, partition, &head, key);
        let text = note.to_string();
        let data = serde_json::json!({ "checkpoint": text, "sequence": note.sequence });
        let event = own::event(
            &uuid::Uuid::new_v4().to_string(),
            CHECKPOINT_SIGNED,
            stream(partition),
            None,
            data.to_string(),
            [("checkpoint", text.clone())].into(),
        );
        let event = event.expect("a UUID and our own JSON make an event");
        store.record(tenant, vec![event], RecordedBy::annals(), Instant::now() + PATIENCE).await?;
        tracing::info!(evt = "checkpoint.signed", tenant = %tenant.id, %partition, sequence = note.sequence);
        self.put(&note).await?;
        Ok(true)
    }

    /// Puts the newest checkpoint into its container, where an earlier round may have failed to.
    async fn keep_newest(
        &self,
        store: &Store,
        tenant: &Arc<Tenant>,
        partition: PartitionId,
    ) -> Result<(), CheckpointError> {
        if self.container.is_none() {
            return Ok(());
        }
        let newest = newest(store, tenant, partition, 1).await?;
        match newest.first() {
            Some(note) => self.put(note).await,
            None => Ok(()),
        }
    }

    async fn put(&self, note: &Note) -> Result<(), CheckpointError> {
        match &self.container {
            Some(container) => Ok(container.put(note).await?),
            None => Ok(()),
        }
    }
}

/// The newest checkpoints of a partition, newest first.
///
/// # Errors
/// [`HistoryError`].
pub async fn newest(
    store: &Store,
    tenant: &Arc<Tenant>,
    partition: PartitionId,
    limit: usize,
) -> Result<Vec<Note>, HistoryError> {
    let page = store.history(tenant).events(&stream(partition), None, limit, Order::Desc).await?;
    let note = |data: &Data| {
        let json: serde_json::Value = serde_json::from_slice(data.as_bytes()).ok()?;
        Note::parse(json["checkpoint"].as_str()?).ok()
    };
    Ok(page.events.iter().filter_map(|event| note(&event.data)).collect())
}

fn stream(partition: PartitionId) -> StreamName {
    let valid = "a constant that is a valid id";
    StreamName::new(
        Category::parse(CHECKPOINT).expect(valid),
        StreamId::parse(partition.to_string()).expect(valid),
    )
}
