//! Two tenants, and a thousand random requests by each kind of caller, to every route of the table.

mod furnish;
mod queues;
mod requests;

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::{Value, json};

use self::{furnish::furnish, queues::Queues, requests::Requests};
use super::{Answer, StatusCode, World, boss, canary::Log};
use crate::{
    domain::signing::SigningKey,
    http::routes::{Need, Route, table},
    testing::issuer::Issuer,
};

/// Requests by each kind of caller.
const REQUESTS: usize = 1_000;
/// Stands in every id and value of the one tenant, and in none of the other.
const MINE: &str = "mauve";
const THEIRS: &str = "ochre";

/// Every kind of caller: with roles in the one tenant, and none in the other.
fn callers() -> Vec<(&'static str, Option<String>)> {
    let token = |roles: &[&str]| Some(Issuer::token("caller", roles));
    vec![
        // First whoever may do everything, so that each route is answered once before anything is spent.
        (
            "everything",
            token(&["reader:north", "writer:north", "auditor:north", "admin:north", "delegate:north"]),
        ),
        ("nobody", None),
        ("forger", Some("eyJhbGciOiJub25lIn0.eyJvaWQiOiJib3NzIn0.".to_owned())),
        ("reader", token(&["reader:north"])),
        ("writer", token(&["writer:north"])),
        ("auditor", token(&["auditor:north", "delegate:north"])),
        ("admin", token(&["admin:north"])),
        ("roleless", token(&[])),
    ]
}

/// Everything that an answer could show, with what is wrapped in cursors.
fn seen(answer: &Answer) -> String {
    let mut text = answer.text();
    let runs = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let wrapped: Vec<_> = text
        .split(runs)
        .filter(|run| run.len() > 20)
        .filter_map(|run| URL_SAFE_NO_PAD.decode(run).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect();
    text.push_str(&wrapped.concat());
    text
}

fn is_of_another(text: &str) -> bool {
    text.contains(THEIRS) || text.contains("south")
}

/// What the other tenant holds, as an operator sees it.
async fn holdings(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    for path in [
        "",
        "/events?include=data&limit=1000",
        "/keys",
        "/roles",
        "/commands",
        "/dead-letters",
        "/checkpoints",
    ] {
        let answer = world.get(&format!("/api/tenants/south{path}"), &boss()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        all.push(answer.body);
    }
    // The lag of a consumer grows with the time that passes.
    let consumers = world.get("/api/tenants/south/consumers", &boss()).await.json();
    let consumers = consumers["consumers"].as_array().unwrap();
    all.extend(
        consumers.iter().map(|one| json!([one["name"], one["cursor"], one["lastSeenTime"]]).to_string()),
    );
    all
}

/// Every event that comes out of the change feed says of which tenant it is, and holds nothing of another.
async fn check_feed(world: &World, queues: &Queues, seed: u64) {
    let (mut published, mut turns) = (BTreeSet::new(), 0);
    loop {
        let messages = queues.take();
        turns += 1;
        if messages.is_empty() || turns > 20 {
            break;
        }
        for (queue, message) in messages {
            let both = message.contains("north") && message.contains("south");
            assert!(!both, "seed {seed}: {message}");
            if queue != "annals-publish" {
                continue;
            }
            let answer = world.invoke("publish", &message).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
            for event in answer.json()["Outputs"]["events"].as_array().into_iter().flatten() {
                let text = event.as_str().unwrap();
                let event: Value = serde_json::from_str(text).unwrap();
                let tenant = event["tenantid"].as_str().unwrap();
                let (own, other) = if tenant == "north" { ("north", THEIRS) } else { ("south", MINE) };
                let foreign = if own == "north" { "south" } else { "north" };
                assert!(
                    tenant == own && !text.contains(other) && !text.contains(foreign),
                    "seed {seed}: {text}"
                );
                published.insert(tenant.to_owned());
            }
        }
    }
    assert_eq!(published.len(), 2, "both have a feed: {published:?}");
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

#[tokio::test]
async fn nothing_of_one_tenant_is_ever_seen_by_another() {
    let seed = rand::random::<u64>();
    let queues = Queues::start().await;
    let signer = SigningKey::generate("annals.example/test").unwrap().secret();
    let world = World::new(&[
        ("ANNALS_READS_PER_SECOND", "1000000"),
        ("ANNALS_WRITES_PER_SECOND", "1000000"),
        ("ANNALS_DEV_QUEUES", &queues.url),
        ("ANNALS_CHECKPOINT_KEY", &signer),
    ])
    .await;
    let mine = furnish(&world, "north", MINE).await;
    let theirs = furnish(&world, "south", THEIRS).await;
    assert_eq!(world.invoke("checkpoint", "").await.status, StatusCode::OK);
    let before = holdings(&world).await;
    let all = [mine.everything(), theirs.everything()].concat();
    let mut requests = Requests { random: SmallRng::seed_from_u64(seed), mine: &mine, all };
    let routes = table();
    let (log, _listening) = Log::start();
    let (mut answered, mut shown) = (BTreeSet::new(), 0);
    for (who, credential) in &callers() {
        let tenants = ["north", "north", "south", "annals-system", "nowhere"];
        let fitting: Vec<_> = routes.iter().map(|route| (route, requests.fitting(route, "north"))).collect();
        let wild = (0..REQUESTS).map(|_| {
            let route = routes.choose(&mut requests.random).unwrap();
            let tenant = *tenants.choose(&mut requests.random).unwrap();
            (route, requests.wild(route, tenant))
        });
        for (route, asked) in fitting.into_iter().chain(wild.collect::<Vec<_>>()) {
            let Ok(_) = asked.path.parse::<axum::http::Uri>() else { continue };
            let answer = world
                .call(asked.method.clone(), &asked.path, credential.as_deref(), asked.body.as_deref())
                .await;
            let text = seen(&answer);
            assert!(!is_of_another(&text), "seed {seed}: {who} {asked:?}: {text}");
            assert!(answer.status.as_u16() < 500, "seed {seed}: {who} {asked:?}: {text}");
            if answer.status.is_success() {
                answered.insert(name(route));
            }
            shown += usize::from(text.contains(MINE));
        }
    }
    // A route that nobody got an answer from was not tried: say in `requests.rs` what fits it.
    let open = routes.iter().filter(|route| route.need != Need::Operator).map(name);
    let unanswered: Vec<_> = open.filter(|route| !answered.contains(route)).collect();
    assert!(unanswered.is_empty(), "seed {seed}: {unanswered:?}");
    assert!(shown > 200, "the requests asked for nothing: {shown}");
    let theirs: Vec<_> = log.text().lines().filter(|line| line.contains(THEIRS)).map(str::to_owned).collect();
    assert!(theirs.is_empty(), "seed {seed}: {theirs:?}");
    assert_eq!(holdings(&world).await, before, "seed {seed}: nothing was written to the other tenant");
    check_feed(&world, &queues, seed).await;
}
