//! Lists of streams.

use std::collections::BTreeMap;

use super::{History, HistoryError, MAX_PAGE};
use crate::{
    domain::{
        ids::{Category, Status, StreamName},
        position::PartitionId,
    },
    store::{
        keys,
        rows::{self, Stream},
        table::Range,
    },
};

/// Storage queries that one page may take where most rows are filtered out.
const QUERIES: usize = 8;
/// Pages that one count may take.
pub const COUNTED: usize = 64;

/// A stream in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStream {
    /// Its name.
    pub name: StreamName,
    /// What is kept of it.
    pub stream: Stream,
}

/// Where a list of streams goes on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ListFrom {
    /// The partition.
    pub partition: PartitionId,
    /// The row key in it.
    pub key: String,
}

/// Part of a list of streams.
#[derive(Debug)]
pub struct StreamPage {
    /// The streams.
    pub streams: Vec<ListedStream>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<ListFrom>,
}

impl History {
    /// Streams, by category and status, in the order of their keys within each partition.
    ///
    /// A status that wants attention is found through its own index when the category is given; any
    /// other filter looks at every stream. Such a page may be short, even empty, while `next`
    /// leads on.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn streams(
        &self,
        category: Option<&Category>,
        status: Option<&Status>,
        from: Option<ListFrom>,
        limit: usize,
    ) -> Result<StreamPage, HistoryError> {
        let indexed =
            status.filter(|status| self.tenant.settings.wants_attention(status.as_str())).zip(category);
        let whole = match indexed {
            Some((status, category)) => keys::attentions(category.as_str(), status.as_str()),
            None => keys::streams(category.map(Category::as_str)),
        };
        let (mut streams, mut at) = (Vec::new(), from);
        for _ in 0..QUERIES {
            let place = at.take().or_else(|| self.first_of(&whole));
            let Some(place) =
                place.filter(|place| place.partition.number() < self.tenant.settings.partitions)
            else {
                return Ok(StreamPage { streams, next: None });
            };
            let range = Range { from: place.key, to: whole.to.clone() };
            let page = self.scan(place.partition, &range, limit - streams.len()).await?;
            for stored in &page.rows {
                let listed = match indexed {
                    Some(_) => self.linked(place.partition, &rows::linked_stream(&stored.row)?).await?,
                    None => {
                        Some(Stream::read(&stored.row)?).map(|(name, stream)| ListedStream { name, stream })
                    }
                };
                let wanted = |listed: &ListedStream| match (status, &listed.stream.status) {
                    (Some(status), Some(set)) => set.status == *status,
                    (Some(_), None) => false,
                    (None, _) => true,
                };
                streams.extend(listed.filter(wanted));
            }
            at = match page.next {
                Some(key) => Some(ListFrom { partition: place.partition, key }),
                None => PartitionId::new(place.partition.number() + 1)
                    .map(|partition| ListFrom { partition, key: whole.from.clone() })
                    .filter(|next| next.partition.number() < self.tenant.settings.partitions),
            };
            if at.is_none() || streams.len() >= limit {
                break;
            }
        }
        Ok(StreamPage { streams, next: at })
    }

    /// How many streams want attention, by what for, and whether all were counted: at most
    /// [`COUNTED`] pages are read.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn attention(&self) -> Result<(BTreeMap<&'static str, u64>, bool), HistoryError> {
        let (mut counts, mut pages) = (BTreeMap::new(), 0);
        for partition in self.tenant.partitions() {
            let mut range = keys::all_attentions();
            loop {
                if pages == COUNTED {
                    return Ok((counts, false));
                }
                pages += 1;
                let page = self.scan(partition, &range, MAX_PAGE).await?;
                for status in page.rows.iter().filter_map(|stored| keys::attention_status(&stored.row.key)) {
                    *counts.entry(status).or_default() += 1;
                }
                match page.next {
                    Some(next) => range.from = next,
                    None => break,
                }
            }
        }
        Ok((counts, true))
    }

    fn first_of(&self, whole: &Range) -> Option<ListFrom> {
        self.tenant.partitions().next().map(|partition| ListFrom { partition, key: whole.from.clone() })
    }

    async fn linked(
        &self,
        partition: PartitionId,
        name: &StreamName,
    ) -> Result<Option<ListedStream>, HistoryError> {
        let stream = self.stream_in(partition, name).await?;
        Ok(stream.map(|stream| ListedStream { name: name.clone(), stream }))
    }
}
