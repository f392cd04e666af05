//! The rows that a commit implies, beside itself.

use crate::{
    domain::{erasure::Erased, essentials::Essentials, position::PartitionId},
    store::{
        digest, keys,
        rows::{self, IdentityRow},
        table::Row,
    },
};

/// A kind of row, by the first letter of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) enum Kind {
    Attention,
    Event,
    Identity,
    Stream,
    Subject,
    Link,
}

impl Kind {
    /// Those whose sums are compared.
    pub(super) const SUMMED: [Self; 4] = [Self::Identity, Self::Link, Self::Subject, Self::Event];

    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Attention => "a|",
            Self::Event => "e|",
            Self::Identity => "i|",
            Self::Stream => "s|",
            Self::Subject => "u|",
            Self::Link => "x|",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Event => "events",
            Self::Identity => "identities",
            Self::Stream => "streams",
            Self::Subject => "subjects",
            Self::Link => "links",
        }
    }
}

/// A row, known by its key and by what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) says: String,
}

/// What an event makes true, and what it makes no longer true.
pub(super) fn of(partition: PartitionId, essentials: &Essentials, change: &mut impl FnMut(bool, Fact)) {
    let stream = essentials.stream_name();
    let (version, sequence) = (essentials.version, essentials.sequence);
    let index = IdentityRow { source: essentials.source.clone(), stream: stream.clone(), version, sequence };
    let row = index.row(keys::identity(&essentials.identity()));
    change(true, whole(Kind::Identity, partition, &row));
    if let Some(correlation) = &essentials.correlation {
        let row = rows::link(keys::correlation(correlation, sequence), &stream, version, sequence);
        change(true, whole(Kind::Link, partition, &row));
    }
    if let Some(subject) = &essentials.subject {
        let row = rows::link(keys::subject(subject, sequence), &stream, version, sequence);
        change(true, whole(Kind::Subject, partition, &row));
    }
    let key = keys::event(&stream, version);
    change(true, Fact { kind: Kind::Event, key, says: essentials.digest.clone() });
    let Some(erased) = Erased::read(essentials) else { return };
    let key = keys::event(&erased.stream, erased.version);
    change(false, Fact { kind: Kind::Event, key: key.clone(), says: erased.before });
    change(true, Fact { kind: Kind::Event, key, says: erased.after });
    if let Some(subject) = &erased.subject {
        let row = rows::link(
            keys::subject(subject, erased.sequence),
            &erased.stream,
            erased.version,
            erased.sequence,
        );
        change(false, whole(Kind::Subject, partition, &row));
    }
}

/// What a stored row says: all of it or, of an event, the digest that its bytes and salt give.
pub(super) fn stored(kind: Kind, partition: PartitionId, row: &Row) -> Fact {
    if kind != Kind::Event {
        return whole(kind, partition, row);
    }
    let salt = row.bin("Salt").and_then(|salt| salt.as_ref().try_into().ok()).map(digest::Salt);
    let says = match (salt, row.bin("Digest")) {
        (None, _) => "no salt".to_owned(),
        (Some(salt), given) => {
            let computed = digest::event(partition, row, &salt);
            match given.is_some_and(|given| given.as_ref() == computed.0) {
                true => hex::encode(computed.0),
                false => format!("a digest that its bytes do not give ({})", hex::encode(computed.0)),
            }
        }
    };
    Fact { kind, key: row.key.clone(), says }
}

fn whole(kind: Kind, partition: PartitionId, row: &Row) -> Fact {
    Fact { kind, key: row.key.clone(), says: digest::row(partition, row) }
}
