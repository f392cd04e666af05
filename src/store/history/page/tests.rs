use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        ids::{EventId, Source, StreamName},
        position::{PartitionId, Position},
        timestamp::Timestamp,
    },
    store::rows::Envelope,
};

fn event(version: u64, data: Data) -> RecordedEvent {
    let partition = PartitionId::new(0).unwrap();
    RecordedEvent {
        envelope: Envelope {
            id: EventId::parse(format!("e-{version}")).unwrap(),
            source: Source::parse("/s").unwrap(),
            event_type: "t.x".parse().unwrap(),
            subject: None,
            time: None,
            content_type: None,
            data_schema: None,
            correlation: None,
            causation: None,
            traceparent: None,
            recorded_by: None,
            redacted: Vec::new(),
            extensions: BTreeMap::new(),
        },
        actor: None,
        data,
        stream: StreamName::new("c".parse().unwrap(), "s".parse().unwrap()),
        version,
        position: Position { partition, sequence: version },
        recorded: Timestamp::parse("time", "2026-01-01T00:00:00Z").unwrap(),
        fingerprint: None,
        erased: None,
    }
}

fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version).collect()
}

#[test]
fn newest_first_no_more_is_held_than_one_page_and_one_event() {
    let text: std::sync::Arc<str> = "x".repeat(512 << 10).into();
    let mut held = Held::default();
    for version in 1..=1_000 {
        held.push(event(version, Data::Json(std::sync::Arc::clone(&text))), Order::Desc);
        let bytes: usize = held.events.iter().map(|event| event.data.as_bytes().len()).sum();
        assert!(bytes <= PAGE_BYTES, "{bytes} bytes are held");
    }
    assert_eq!(versions(held.events.make_contiguous()), (993..=1_000).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn what_is_let_go_would_have_been_cut(
        sizes in prop::collection::vec((any::<bool>(), 0..3_usize << 20), 1..12),
    ) {
        let events: Vec<_> = (1..).zip(&sizes).map(|(version, (binary, size))| match binary {
            true => event(version, Data::Binary(vec![0; *size].into())),
            false => event(version, Data::Json("x".repeat(*size).into())),
        }).collect();
        for order in [Order::Asc, Order::Desc] {
            let mut held = Held::default();
            events.iter().for_each(|event| held.push(event.clone(), order));
            let (mut held, mut all) = (Vec::from(held.events), events.clone());
            if order == Order::Desc {
                held.reverse();
                all.reverse();
            }
            cut(&mut held);
            cut(&mut all);
            prop_assert_eq!(versions(&held), versions(&all));
        }
    }
}
