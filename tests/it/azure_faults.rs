//! The Azure driver where the way to the service, or the service, misbehaves.

use std::{sync::Arc, time::Duration};

use annals::{
    config::Credential,
    queue::{QueueName, Queues},
    store::{
        azure::{Account, AzureTables},
        table::{Batch, CommitError, Op, Range, ReadError, Row, Table, TableName, Value},
    },
    testing::{
        azurite::Azurite,
        proxy::{Fault, FaultProxy, Kind, Plan},
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::support::handler::Handler;

struct World {
    driver: AzureTables,
    account: Account,
    proxy: FaultProxy,
    table: TableName,
    azurite: Arc<Azurite>,
}

async fn world() -> World {
    let azurite = Azurite::shared().expect("Azurite starts");
    let proxy = FaultProxy::start(&azurite).await.expect("the proxy starts");
    let account = Account::open(&proxy.storage()).expect("the account opens");
    let driver = account.tables();
    let table = TableName::new(&format!("t{}", Uuid::new_v4().simple())).expect("a table name");
    driver.create_table(&table).await.expect("a table is made");
    World { driver, account, proxy, table, azurite }
}

impl World {
    fn always(&self, fault: Fault) {
        self.proxy.set(1, Plan { faults: vec![(fault, 1.0)], retry_after: Some(4), ..Plan::default() });
    }

    async fn insert(&self, key: &str) -> Result<(), CommitError> {
        let batch = Batch::new("p", vec![Op::Insert(Row::new(key))]).expect("a batch");
        self.driver.commit(&self.table, &batch).await.map(drop)
    }

    /// Whether the row is there, asked of the service itself.
    async fn is_there(&self, key: &str) -> bool {
        self.proxy.heal();
        self.driver.get(&self.table, "p", key).await.expect("a row is read").is_some()
    }
}

fn unknown(outcome: &Result<(), CommitError>) -> Option<Duration> {
    match outcome {
        Err(CommitError::Unknown { reason, retry_after }) => {
            assert!(!reason.contains("http") && !reason.contains("127."), "{reason}");
            *retry_after
        }
        other => panic!("the outcome is unknown, got {other:?}"),
    }
}

#[tokio::test]
async fn a_lost_connection_is_an_unknown_outcome_whether_or_not_it_was_committed() {
    let world = world().await;
    for (fault, committed) in [(Fault::LoseRequest, false), (Fault::LoseReply, true)] {
        let key = format!("{committed}");
        world.always(fault);
        assert_eq!(unknown(&world.insert(&key).await), None);
        assert_eq!(world.is_there(&key).await, committed);
    }
}

#[tokio::test]
async fn a_busy_service_is_an_unknown_outcome_with_its_retry_after() {
    let world = world().await;
    let faults = [Fault::Answer(503), Fault::AnswerAfter(503), Fault::AnswerAfter(500)];
    for (number, fault) in faults.into_iter().enumerate() {
        let key = format!("k{number}");
        world.always(fault);
        assert_eq!(unknown(&world.insert(&key).await), Some(Duration::from_secs(4)));
        assert_eq!(world.is_there(&key).await, matches!(fault, Fault::AnswerAfter(_)));
    }
}

#[tokio::test]
async fn a_refusal_inside_a_202_is_a_refusal_and_a_throttled_request_was_not_taken() {
    let world = world().await;
    world.always(Fault::Answer(412));
    assert_eq!(world.insert("a").await, Err(CommitError::Changed { index: Some(0) }));
    world.always(Fault::Answer(409));
    assert_eq!(world.insert("a").await, Err(CommitError::Exists { index: Some(0) }));
    world.always(Fault::Answer(429));
    let retry_after = Some(Duration::from_secs(4));
    assert_eq!(
        world.insert("a").await,
        Err(CommitError::Denied { code: "TooManyRequests".into(), retry_after })
    );
    assert!(!world.is_there("a").await);
}

#[tokio::test]
async fn the_driver_sends_one_request_for_one_call() {
    let world = world().await;
    let everything = Range { from: String::new(), to: "~".into() };
    world.always(Fault::Answer(503));
    world.insert("a").await.unwrap_err();
    world.driver.get(&world.table, "p", "a").await.unwrap_err();
    let read = world.driver.scan(&world.table, "p", &everything, 10).await.unwrap_err();
    assert!(matches!(read, ReadError::Unavailable { retry_after: Some(_), .. }), "{read:?}");
    let queue = QueueName::new("annals-publish").unwrap();
    let put = world.account.queues().put(&queue, b"{}").await.unwrap_err();
    assert_eq!(put.retry_after, Some(Duration::from_secs(4)));
    for kind in [Kind::Table, Kind::Batch, Kind::Get, Kind::Query, Kind::Queue] {
        assert_eq!(world.proxy.count(kind), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_silent_service_is_given_up_after_ten_seconds() {
    let world = world().await;
    world.always(Fault::HangAfter);
    let began = std::time::Instant::now();
    assert_eq!(unknown(&world.insert("a").await), None);
    assert!((9..13).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(world.is_there("a").await);
}

#[tokio::test]
async fn a_page_larger_than_memory_allows_says_so_and_a_smaller_one_is_read() {
    let world = world().await;
    // 64 KiB make 85 KiB of base64: 420 rows are more than 32 MiB.
    for some in 0..10 {
        let rows = (0..42).map(|row| {
            let bytes = Value::Bin(vec![7; 64 * 1024].into());
            Op::Insert(Row::new(format!("{some}{row:02}")).with("Data", bytes))
        });
        let batch = Batch::new("p", rows.collect()).unwrap();
        world.driver.commit(&world.table, &batch).await.unwrap();
    }
    let everything = Range { from: String::new(), to: "~".into() };
    let too_large = world.driver.scan(&world.table, "p", &everything, 1_000).await;
    assert_eq!(too_large, Err(ReadError::TooLarge));
    let page = world.driver.scan(&world.table, "p", &everything, 100).await.unwrap();
    assert_eq!(page.rows.len(), 100);
}

#[tokio::test]
async fn a_line_separator_inside_a_row_is_kept() {
    let world = world().await;
    let row = Row::new("k").with("Text", Value::Str("a\u{2028}b\u{2029}c".into()));
    let batch = Batch::new("p", vec![Op::Insert(row.clone())]).unwrap();
    world.driver.commit(&world.table, &batch).await.unwrap();
    assert_eq!(world.driver.get(&world.table, "p", "k").await.unwrap().unwrap().row, row);
}

#[tokio::test]
async fn a_key_that_storage_refuses_is_not_sent() {
    let world = world().await;
    let before = world.proxy.total();
    for key in ["a/b", "a#b", "a\u{1}b"] {
        assert_eq!(
            world.insert(key).await,
            Err(CommitError::Refused { code: "IllegalKey".into() }),
            "{key:?}"
        );
        world.driver.get(&world.table, "p", key).await.unwrap_err();
    }
    assert_eq!(world.proxy.total(), before);
}

#[tokio::test]
async fn a_wrong_key_is_denied() {
    let world = world().await;
    let mut storage = world.proxy.storage();
    let Credential::SharedKey(key) = &storage.credential else { panic!("Azurite takes its key") };
    assert_eq!(format!("{key:?}"), "Secret(..)");
    let connection = world.proxy.connection_string().replace("AccountKey=Eby8", "AccountKey=AAAA");
    storage.credential = annals::testing::azurite::storage(&connection).credential;
    let stranger = Account::open(&storage).unwrap().tables();
    let batch = Batch::new("p", vec![Op::Insert(Row::new("a"))]).unwrap();
    let denied = stranger.commit(&world.table, &batch).await.unwrap_err();
    assert!(matches!(denied, CommitError::Denied { .. }), "{denied:?}");
    let unreadable = stranger.get(&world.table, "p", "a").await.unwrap_err();
    assert!(matches!(unreadable, ReadError::Unavailable { .. }), "a row is not missing for a stranger");
}

#[tokio::test]
async fn the_clock_of_the_service_is_ours() {
    let world = world().await;
    assert!(!world.is_there("a").await);
    assert!(world.driver.clock_skew() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_message_is_put_as_base64_and_never_expires() {
    let world = world().await;
    let queue = QueueName::new(&format!("q{}", Uuid::new_v4().simple())).unwrap();
    let missing = world.account.queues().put(&queue, b"x").await.unwrap_err();
    assert!(missing.reason.contains("QueueNotFound"), "{missing}");
    let client = raw_queue(&world.azurite, &queue);
    client.create().await.unwrap();
    world.account.queues().put(&queue, b"{\"a\":\"\xff<&>\"}").await.unwrap();
    let peeked = client.peek_messages().await.unwrap().messages.pop().unwrap();
    assert_eq!(peeked.message_text, "eyJhIjoi/zwmPiJ9");
    assert!(peeked.expiration_time.year() > 9_000, "{}", peeked.expiration_time);
}

/// A tenant is registered whole although every second answer is lost after the work was done.
#[tokio::test]
async fn a_tenant_is_registered_although_answers_are_lost() {
    let world = world().await;
    let connection = world.proxy.connection_string();
    let handler = Handler::start(&[("AnnalsStorage", &connection)]).await;
    for seed in 0..4 {
        world.proxy.set(seed, Plan { faults: vec![(Fault::LoseReply, 0.5)], ..Plan::default() });
        let path = format!("/api/tenants/lost-{}", Uuid::new_v4().simple());
        let (status, told) = handler.api("PUT", &path, Some(&json!({ "partitions": 8 }))).await;
        assert!(status.is_success(), "seed {seed}: {status} {told}");
        world.proxy.heal();
        let (status, told) = handler.api("GET", &path, None).await;
        assert_eq!((status.as_u16(), &told["partitions"]), (200, &json!(8)), "seed {seed}");
    }
}

pub(crate) fn raw_queue(azurite: &Azurite, queue: &QueueName) -> azure_storage_queues::QueueClient {
    let location = azure_storage::CloudLocation::Custom {
        account: "devstoreaccount1".into(),
        uri: azurite.queues().into(),
    };
    azure_storage_queues::QueueServiceClientBuilder::with_location(
        location,
        azure_storage::StorageCredentials::emulator(),
    )
    .build()
    .queue_client(queue.as_str())
}
