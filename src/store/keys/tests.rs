use proptest::prelude::*;

use super::{partition::jump_hash, *};
use crate::domain::ids::{Category, EventId, Source, StreamId};

fn name(category: &str, id: &str) -> StreamName {
    StreamName::new(Category::parse(category).unwrap(), StreamId::parse(id).unwrap())
}

fn who(source: &str, id: &str) -> Identity {
    Identity { source: Source::parse(source).unwrap(), id: EventId::parse(id).unwrap() }
}

#[test]
fn keys_match_the_golden_file() {
    let hostile = name("workflow-instance", "victim',RowKey='x");
    let long = name("workflow-instance", &"é".repeat(200));
    let tenant_id = TenantId::parse("demo").unwrap();
    let correlation_id = CorrelationId::parse("req/7").unwrap();
    let lines = [
        commit(42),
        HEAD.to_owned(),
        event(&name("workflow-instance", "a-1"), 7),
        event(&hostile, 1),
        event(&long, 1),
        identity(&who("/s", "1")),
        stream(&name("tenant", "audit")),
        stream(&hostile),
        attention(&name("workflow-instance", "a-1"), "faulted"),
        correlation(&correlation_id, 42),
        debt(42),
        tenant(&tenant_id),
        table_name(&tenant_id, "00000000000000000000000000000000"),
        partition_of_stream(&name("tenant", "audit"), 8).to_string(),
        partition_of_identity(&who("/s", "1"), 8).to_string(),
        due(&name("command", "a-1"), Timestamp::from_unix_nanos(1_700_000_000_000_001_000)),
        subject("0011", 42),
        consumer("billing"),
        replay("7"),
        dead_letter(&[7; 32]),
        dead_letter_body(&[7; 32], 1),
    ];
    assert_eq!(lines.join("\n") + "\n", include_str!("../../../tests/golden/keys.txt"));
}

#[test]
fn jump_hash_moves_keys_only_into_new_buckets() {
    for key in 0..1_000_u64 {
        let key = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for buckets in 1..64 {
            let (before, after) = (jump_hash(key, buckets), jump_hash(key, buckets + 1));
            assert!(before < buckets);
            assert!(after == before || after == buckets, "{key} moved from {before} to {after}");
        }
    }
}

#[test]
fn a_range_of_versions_holds_its_ends_and_nothing_of_another_stream() {
    let a = name("c", "1");
    let range = events_between(&a, 2, 3);
    let within = |key: String| range.from <= key && key < range.to;
    assert!(within(event(&a, 2)) && within(event(&a, 3)));
    assert!(!within(event(&a, 1)) && !within(event(&a, 4)));
    assert!(!within(event(&name("c", "1|"), 2)) && !within(event(&name("c", "12"), 2)));
}

#[test]
fn the_head_lies_behind_every_commit_and_inside_their_range() {
    let range = commits_from(5);
    assert!(HEAD > commit(u64::MAX).as_str());
    assert!(range.from.as_str() <= HEAD && HEAD < range.to.as_str());
    assert!(commit(4) < range.from);
}

proptest! {
    #[test]
    fn different_streams_have_different_keys(a in "\\PC{1,300}", b in "\\PC{1,300}") {
        prop_assume!(a != b);
        prop_assert_ne!(stream(&name("c", &a)), stream(&name("c", &b)));
    }

    #[test]
    fn every_key_is_short_and_safe(category in "[a-z]{1,64}", id in "\\PC{1,300}", status in "\\PC{1,100}") {
        let key = attention(&name(&category, &id), &status);
        prop_assert!(key.len() <= 512);
        prop_assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-~|".contains(&b)));
    }
}
