//! Two real handler processes on one storage account, and real concurrency.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use annals::testing::azurite::Azurite;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::user;
use crate::support::handler::Handler;

/// Clients of the race.
const CLIENTS: usize = 8;

/// Two processes that know nothing of each other.
struct Two {
    handlers: [Handler; 2],
    base: String,
    _azurite: Arc<Azurite>,
}

impl Two {
    async fn start() -> Self {
        let azurite = Azurite::shared().unwrap();
        let connection = azurite.connection_string();
        let settings = [("AnnalsStorage", connection.as_str())];
        let handlers = [Handler::start(&settings).await, Handler::start(&settings).await];
        let base = format!("/api/tenants/t{}", rand::random::<u64>());
        let (status, answer) = handlers[0].api("PUT", &base, Some(&json!({ "partitions": 2 }))).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        Self { handlers, base, _azurite: azurite }
    }

    /// Sends to one of them, again while it is told that it may.
    async fn send(
        &self,
        which: usize,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let path = format!("{}/{path}", self.base);
        for _ in 0..30 {
            let answer = self.handlers[which % 2].api(method, &path, body).await;
            if !matches!(answer.0.as_u16(), 429 | 503) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{path} is never answered");
    }

    async fn post(&self, which: usize, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(which, "POST", path, Some(&body)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_approvers_in_two_processes_and_none_is_lost() {
    let two = Two::start().await;
    for round in 0..15 {
        let id = format!("c-{round}");
        let asked = json!({ "id": id, "type": "t", "actor": user("ann"), "approval": { "required": 3 } });
        assert_eq!(two.post(round, "commands", asked).await.0, StatusCode::CREATED);
        let approvals = ["bob", "cid", "dan"].into_iter().enumerate().map(|(n, who)| {
            let path = format!("commands/{id}/approvals");
            let two = &two;
            async move { two.post(n, &path, json!({ "decision": "approve", "actor": user(who) })).await }
        });
        let answers = futures::future::join_all(approvals).await;
        let approved = answers.iter().filter(|(_, answer)| answer["status"] == "approved").count();
        assert_eq!(approved, 1, "exactly one is the third: {answers:?}");
        for which in 0..2 {
            let (_, command) = two.send(which, "GET", &format!("commands/{id}"), None).await;
            assert_eq!(
                (&command["status"], &command["approval"]["approvals"]),
                (&json!("approved"), &json!(3))
            );
        }
        let claims = (0..4).map(|n| {
            let (two, path) = (&two, format!("commands/{id}/claim"));
            async move { two.post(n, &path, json!({})).await }
        });
        let won = futures::future::join_all(claims).await;
        assert_eq!(won.iter().filter(|(status, _)| *status == StatusCode::CREATED).count(), 1, "{won:?}");
    }
}

/// What the clients did to the world outside: how often each command's work was done.
#[derive(Default)]
struct Outside {
    done: Mutex<BTreeMap<String, usize>>,
    open: AtomicUsize,
}

/// One client: takes commands on, approves, claims, crashes, repeats itself, until nothing is open.
async fn client(two: Arc<Two>, number: usize, count: usize, outside: Arc<Outside>) {
    let mut random = SmallRng::seed_from_u64(number as u64);
    // Every command has four of the eight to care for it.
    let mut ids: Vec<usize> = (0..count).filter(|n| (n + number).is_multiple_of(2)).collect();
    ids.shuffle(&mut random);
    let (me, mut rounds) = (user(&format!("client-{number}")), 0);
    while !ids.is_empty() {
        rounds += 1;
        assert!(rounds < 400, "{number} is stuck with {ids:?}");
        let mut left = Vec::new();
        for n in ids {
            let (id, which) = (format!("c-{n:03}"), random.random_range(0..2));
            let (_, command) = two.send(which, "GET", &format!("commands/{id}"), None).await;
            match command["status"].as_str().unwrap_or_else(|| panic!("{id}: {command}")) {
                "pending-approval" => {
                    let op = format!("{number}-yes");
                    let yes = json!({ "id": op, "decision": "approve", "actor": me });
                    for _ in 0..random.random_range(1..=2) {
                        two.post(which, &format!("commands/{id}/approvals"), yes.clone()).await;
                    }
                }
                "approved" => execute(&two, &mut random, which, &id, &me, &outside).await,
                "claimed" => {}
                "succeeded" => continue,
                other => panic!("{id} is {other}"),
            }
            left.push(n);
        }
        ids = left;
        // The timer goes on for as long as anybody is there: a crashed claim waits for it.
        if rounds % CLIENTS == number {
            two.handlers[rounds % 2].invoke("sweep", "{}", 1).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    outside.open.fetch_sub(1, Ordering::Relaxed);
}

/// Claims; the winner may crash before it does the work, and may tell twice that it did it.
async fn execute(two: &Two, random: &mut SmallRng, which: usize, id: &str, me: &Value, outside: &Outside) {
    let crashes = random.random_bool(0.1);
    // Under an id of its own, as a careful client: sent again, it is the same claim.
    let own = format!("claim-{}", random.random::<u64>());
    let claim = json!({ "id": own, "actor": me, "lease": if crashes { 0.2 } else { 30.0 } });
    let (status, answer) = two.post(which, &format!("commands/{id}/claim"), claim).await;
    if !status.is_success() || crashes {
        assert!(status.is_success() || status == StatusCode::CONFLICT, "{status} {answer}");
        return;
    }
    *outside.done.lock().unwrap().entry(id.to_owned()).or_default() += 1;
    let told = json!({ "status": "succeeded", "fence": answer["fence"], "actor": me });
    for n in 0..random.random_range(1..=2) {
        let (status, answer) = two.post(which + n, &format!("commands/{id}/outcome"), told.clone()).await;
        assert!(status.is_success(), "{status} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_commands_eight_clients_and_none_runs_twice_or_gets_stuck() {
    const COUNT: usize = 500;
    let two = Arc::new(Two::start().await);
    let started = std::time::Instant::now();
    let asked = futures::stream::iter((0..COUNT).map(|n| {
        let two = Arc::clone(&two);
        async move {
            let body = json!({
                "id": format!("c-{n:03}"), "type": "t", "actor": user("ann"), "approval": { "required": 1 + n % 3 },
            });
            assert!(two.post(n, "commands", body).await.0.is_success());
        }
    }));
    futures::StreamExt::collect::<Vec<()>>(futures::StreamExt::buffer_unordered(asked, 16)).await;
    let outside = Arc::new(Outside { open: AtomicUsize::new(CLIENTS), ..Outside::default() });
    let clients =
        (0..CLIENTS).map(|n| tokio::spawn(client(Arc::clone(&two), n, COUNT, Arc::clone(&outside))));
    for client in futures::future::join_all(clients).await {
        client.unwrap();
    }
    let done = outside.done.lock().unwrap().clone();
    let twice: Vec<_> = done.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "double executions: {twice:?}");
    assert_eq!((done.len(), outside.open.load(Ordering::Relaxed)), (COUNT, 0));
    let (mut listed, mut cursor) = (0, String::new());
    loop {
        let (_, page) = two.send(0, "GET", &format!("commands?limit=100{cursor}"), None).await;
        let commands = page["commands"].as_array().unwrap();
        listed += commands.len();
        let stuck: Vec<_> = commands.iter().filter(|one| one["status"] != "succeeded").collect();
        assert!(stuck.is_empty(), "stuck: {stuck:?}");
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, COUNT, "each is listed once, over two partitions");
    let seconds = started.elapsed().as_secs_f64();
    report(&format!("{COUNT} commands, {CLIENTS} clients, 2 processes: {seconds:.1} s"));
}

#[expect(clippy::print_stderr, reason = "a figure for the report, shown with --nocapture")]
fn report(line: &str) {
    eprintln!("{line}");
}
