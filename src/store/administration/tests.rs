use std::sync::Mutex;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::*;
use crate::{
    domain::timestamp::SystemClock,
    store::{
        append::Debtor,
        embedded::LazyEmbedded,
        history::Order,
        keys,
        registry::{NoSilos, RegistryError},
        table::{Batch, Op, ReadError, Row, StoredRow, Table, TableName},
        testing::Layer,
    },
};

#[derive(Debug)]
struct NoDebts;

impl Debtor for NoDebts {
    fn owed(&self, _: crate::domain::position::PartitionId, _: u64) {}
}

fn store(folder: &std::path::Path) -> Store {
    store_on(Arc::new(LazyEmbedded::new(folder.to_owned())))
}

fn store_on(table: Arc<dyn Table>) -> Store {
    Store::new(table, Box::new(NoSilos), Arc::new(SystemClock), Box::new(|_| Arc::new(NoDebts)))
}

async fn told(store: &Store, tenant: &Arc<Tenant>) -> Vec<String> {
    let audit = crate::domain::ids::StreamName::new("tenant".parse().unwrap(), "audit".parse().unwrap());
    let page = store.history(tenant).events(&audit, None, 100, Order::Asc).await.unwrap();
    page.events.iter().map(|event| event.envelope.event_type.to_string()).collect()
}

/// The process that made a change ends before it tells of it: whoever comes next does, once.
#[tokio::test]
async fn a_change_that_was_not_told_is_told_later_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id: TenantId = "acme".parse().unwrap();
    let author = Author::command_line();
    let (tenant, new) = store.registry.put(&id, &Settings::default(), &author).await.unwrap();
    assert!(new && told(&store, &tenant).await.is_empty());
    let renamed = Settings { display_name: Some("Acme".to_owned()), ..Settings::default() };
    let (untold, _) = store.registry.put(&id, &renamed, &author).await.unwrap();
    assert_eq!(untold.pending.len(), 2);
    assert_eq!(store.announce(&untold).await, Ok(2));
    // Two who come at once tell the same, under the same ids.
    store.announce(&untold).await.unwrap();
    assert_eq!(told(&store, &tenant).await, ["annals.tenant.added", "annals.tenant.changed"]);
    let settled = store.registry.get(&id).await.unwrap().unwrap();
    assert_eq!(store.announce(&settled).await, Ok(0));
}

#[tokio::test]
async fn what_a_tenant_was_given_for_good_cannot_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id: TenantId = "acme".parse().unwrap();
    let administration = store.administration(Author::command_line());
    administration.put(&id, &Settings::default()).await.unwrap();
    let changes = [
        ("partitions", Settings { partitions: 2, ..Settings::default() }),
        ("attention", Settings { attention: vec!["late".to_owned()], ..Settings::default() }),
        (
            "storage",
            Settings {
                storage: crate::store::registry::Place::Connection("x".to_owned()),
                ..Settings::default()
            },
        ),
    ];
    for (name, settings) in changes {
        let refused = administration.put(&id, &settings).await;
        assert!(matches!(refused, Err(RegistryError::Fixed(fixed)) if fixed == name), "{refused:?}");
    }
    assert!(matches!(administration.put(&system(), &Settings::default()).await, Err(RegistryError::System)));
    assert!(matches!(administration.set_closed(&system(), true).await, Err(RegistryError::System)));
    assert!(matches!(administration.delete_data(&id).await, Err(RegistryError::NotClosed)));
}

fn event(id: &str, subject: &str) -> NewEvent {
    let event = json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t.x", "subject": subject });
    let text = event.to_string();
    let elements = crate::domain::message::decode_document(text.as_bytes()).unwrap();
    elements.into_iter().next().unwrap().event.unwrap()
}

/// A closed tenant answers what it has stored, and nothing else: not the same identity under a subject that
/// leads into another partition either.
#[tokio::test]
async fn a_closed_tenant_takes_no_event_again_under_another_subject() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id: TenantId = "acme".parse().unwrap();
    let administration = store.administration(Author::command_line());
    let settings = Settings { partitions: 8, ..Settings::default() };
    let (tenant, _) = administration.put(&id, &settings).await.unwrap();
    let append = async |tenant: &Arc<Tenant>, subject: &str| {
        let delivery = super::super::Delivery::direct(crate::domain::event::RecordedBy::queue());
        store.append(tenant, vec![event("e", subject)], delivery, Instant::now() + PATIENCE).await
    };
    let first = append(&tenant, "a").await.unwrap();
    let closed = administration.set_closed(&id, true).await.unwrap();
    let again = append(&closed, "a").await.unwrap();
    assert!(again[0].duplicate && again[0].stored == first[0].stored);
    for subject in (0..20).map(|n| format!("other-{n}")) {
        match append(&closed, &subject).await {
            Err(StoreError::Closed) => {}
            // In the same partition the identity stands for another content.
            Err(StoreError::Refused(_)) => {}
            other => panic!("{subject}: {other:?}"),
        }
    }
}

/// A table in which something else happens right after the next key was read.
struct Meanwhile {
    table: Arc<dyn Table>,
    happens: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[async_trait]
impl Layer for Meanwhile {
    fn below(&self) -> &dyn Table {
        self.table.as_ref()
    }

    async fn get(
        &self,
        table: &TableName,
        partition: &str,
        key: &str,
    ) -> Result<Option<StoredRow>, ReadError> {
        let row = self.table.get(table, partition, key).await;
        let happens = if key.starts_with("k|") { self.happens.lock().unwrap().take() } else { None };
        if let Some(happens) = happens {
            happens.await;
        }
        row
    }
}

#[tokio::test]
async fn a_key_that_is_disabled_while_it_is_rotated_stays_disabled() {
    let folder = tempfile::tempdir().unwrap();
    let table: Arc<dyn Table> = Arc::new(LazyEmbedded::new(folder.path().to_owned()));
    let other = Arc::new(store_on(Arc::clone(&table)));
    let id: TenantId = "acme".parse().unwrap();
    let administration = other.administration(Author::command_line());
    administration.put(&id, &Settings::default()).await.unwrap();
    let (first, key) = administration.create_key(&id, "x", vec![Role::Reader], None).await.unwrap();
    let (meanwhile, tenant, name) = (Arc::clone(&other), id.clone(), key.id.clone());
    let happens = Box::pin(async move {
        meanwhile.administration(Author::command_line()).set_key(&tenant, &name, false).await.unwrap();
    });
    let store = store_on(Arc::new(Meanwhile { table, happens: Mutex::new(Some(happens)) }));
    let grace = Duration::from_secs(60);
    let (second, rotated) =
        store.administration(Author::command_line()).rotate_key(&id, &key.id, grace).await.unwrap();
    let now = other.registry.api_keys(&id).await.unwrap().remove(0);
    assert_eq!((now.enabled, &now), (false, &rotated));
    assert_eq!((now.hash, now.previous.unwrap().0), (second.hash(), first.hash()));
}

/// Makes a row one that says nothing.
async fn damage(table: &Arc<dyn Table>, name: &TableName, partition: &str, key: String) {
    let batch = Batch::new(partition, vec![Op::Upsert(Row::new(key))]).unwrap();
    table.commit(name, &batch).await.unwrap();
}

/// Rounds go over all tenants, all debts, and all that is due: one row must not stop them.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_passed_over_in_rounds_and_told_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let table: Arc<dyn Table> = Arc::new(LazyEmbedded::new(folder.path().to_owned()));
    let store = store_on(Arc::clone(&table));
    let administration = store.administration(Author::command_line());
    let [acme, bad]: [TenantId; 2] = ["acme", "bad"].map(|id| id.parse().unwrap());
    let (tenant, _) = administration.put(&acme, &Settings::default()).await.unwrap();
    let registry = TableName::new("annalsregistry").unwrap();
    damage(&table, &registry, "tenants", keys::tenant(&bad)).await;
    let mut listed: Vec<_> =
        store.registry.by_lot().await.unwrap().iter().map(|tenant| tenant.id.to_string()).collect();
    listed.sort();
    assert_eq!(listed, ["acme", SYSTEM]);
    assert!(matches!(store.registry.get(&bad).await, Err(RegistryError::Bad(_))));
    damage(&table, &registry, "tenants", keys::api_key("0")).await;
    let (_, key) = administration.create_key(&acme, "x", vec![Role::Reader], None).await.unwrap();
    assert_eq!(store.registry.api_keys(&acme).await.unwrap(), [key]);

    let (first, now) = (tenant.partitions().next().unwrap(), store.clock.now().to_micros());
    let (debts, dues) = (store.debts(&tenant), store.dues(&tenant));
    debts.owe(first, 1, now).await.unwrap();
    debts.owe(first, 3, now).await.unwrap();
    damage(&table, &tenant.table, &first.to_string(), keys::debt(2)).await;
    let owed: Vec<_> = debts.oldest(first).await.unwrap().into_iter().map(|(last, _)| last).collect();
    assert_eq!(owed, [1, 3]);
    damage(&table, &tenant.table, &first.to_string(), keys::due_until(now).from).await;
    assert!(dues.until(first, now, None).await.unwrap().streams.is_empty());
}
