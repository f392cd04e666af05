//! Readers that wait: few at a time, and one look at storage for all of them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use annals::{
    domain::{event::RecordedBy, ids::TenantId},
    feed::all_stream::{Busy, Place, Places, Waiters},
    store::{
        Delivery, Store,
        registry::{Author, Settings, Tenant},
    },
};
use rand::{SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use crate::support::{
    history::{event, events, store, until},
    memory::Memory,
};

async fn tenant(store: &Store, id: &str) -> Arc<Tenant> {
    let settings = Settings { partitions: 2, ..Settings::default() };
    let id = TenantId::parse(id).unwrap();
    store.administration(Author::command_line()).put(&id, &settings).await.unwrap().0
}

/// Where the log ends now.
async fn end(store: &Store, tenant: &Arc<Tenant>) -> Places {
    let mut places = Places::default();
    for partition in tenant.partitions() {
        let sequence = store.log(tenant).head(partition).await.unwrap().last;
        places.set(partition, Place { sequence, mark: None });
    }
    places
}

#[tokio::test(start_paused = true)]
async fn four_wait_for_a_tenant_and_thirty_two_for_all() {
    let memory = Memory::new(1);
    let store = store(Arc::clone(&memory) as _);
    let waiters = Waiters::default();
    let mut seats = Vec::new();
    for n in 0..9 {
        let tenant = tenant(&store, &format!("t-{n}")).await;
        for seat in 0..5 {
            match waiters.sit(&store.log(&tenant)) {
                Ok(taken) => seats.push(taken),
                Err(Busy) => assert!(seat == 4 || seats.len() == 32, "seat {seat} of tenant {n}"),
            }
        }
    }
    assert_eq!(seats.len(), 32);
    // A seat that is given up is free again, for others too.
    seats.pop();
    let other = tenant(&store, "t-8").await;
    assert!(waiters.sit(&store.log(&other)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn however_many_wait_storage_is_asked_once_a_partition() {
    let cost = async |count: usize| {
        let memory = Memory::new(1);
        let store = store(Arc::clone(&memory) as _);
        let tenant = tenant(&store, "acme").await;
        let (waiters, places) = (Waiters::default(), end(&store, &tenant).await);
        let before = memory.requests.load(Ordering::Relaxed);
        let late = Instant::now() + Duration::from_secs(20);
        let seats: Vec<_> = (0..count).map(|_| waiters.sit(&store.log(&tenant)).unwrap()).collect();
        let news = futures::future::join_all(seats.iter().map(|seat| seat.news(&places, late))).await;
        assert!(news.iter().all(|news| !news), "nothing came");
        let asked = memory.requests.load(Ordering::Relaxed) - before;
        drop(seats);
        // Nobody waits: nothing is asked.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let idle = memory.requests.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(memory.requests.load(Ordering::Relaxed), idle, "the pollers have ended");
        asked
    };
    let (one, four) = (cost(1).await, cost(4).await);
    assert_eq!(one, four);
    assert!((30..=80).contains(&one), "{one} requests in 20 s of two partitions");
}

#[tokio::test(start_paused = true)]
async fn everybody_who_waits_hears_of_what_comes_in_any_partition() {
    let memory = Memory::new(1);
    let store = store(Arc::clone(&memory) as _);
    let tenant = tenant(&store, "acme").await;
    let (waiters, places) = (Waiters::default(), end(&store, &tenant).await);
    let late = Instant::now() + Duration::from_secs(20);
    let seats: Vec<_> = (0..4).map(|_| waiters.sit(&store.log(&tenant)).unwrap()).collect();
    let waiting = futures::future::join_all(seats.iter().map(|seat| seat.news(&places, late)));
    let writing = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        let event = event(1, &mut SmallRng::seed_from_u64(1));
        store.append(&tenant, events(&event), Delivery::direct(RecordedBy::annals()), until()).await.unwrap();
    };
    let (news, ()) = tokio::join!(waiting, writing);
    assert_eq!(news, vec![true; 4]);
    assert!(Instant::now() < late);
}
