//! Two tenants, and a thousand random requests by each kind of caller.

use axum::http::Method;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::{StatusCode, World, boss, canary::Log};
use crate::testing::issuer::Issuer;

/// Requests by each kind of caller.
const REQUESTS: usize = 1_000;
/// Stands in every id and value of the one tenant, and in none of the other.
const MINE: &str = "mauve";
const THEIRS: &str = "ochre";

/// Events, dead letters and keys, all with the tenant's colour in them.
async fn furnish(world: &World, tenant: &str, colour: &str) {
    world.tenant(tenant, json!({ "displayName": colour, "changeFeed": { "enabled": true } })).await;
    for n in 0..30 {
        let event = json!({
            "specversion": "1.0", "id": format!("{colour}-{n}"), "source": format!("/{colour}"), "type": format!("t.{colour}"),
            "subject": format!("{colour}-stream-{}", n % 5), "correlationid": format!("{colour}-c"), "tenantid": tenant,
            "data": { "value": colour },
        });
        let answer = world.invoke("ingest", &event.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let dead = json!({ "id": colour, "tenantid": tenant, "specversion": "9" });
    assert_eq!(world.invoke("ingest", &dead.to_string()).await.status, StatusCode::OK);
    let key = json!({ "label": colour, "roles": ["reader"] });
    assert_eq!(
        world.post(&format!("/api/tenants/{tenant}/keys"), &boss(), &key).await.status,
        StatusCode::CREATED
    );
}

/// Cursors, ids and names that a caller could try, of both tenants. Of the other tenant's only what
/// does not itself show its colour: what a caller writes may come back to it.
async fn loot(world: &World, tenant: &str) -> Vec<String> {
    let mut loot = Vec::new();
    for path in ["streams?limit=2", "streams?limit=1&category=event"] {
        let page = world.get(&format!("/api/tenants/{tenant}/{path}"), &boss()).await.json();
        loot.extend(page["cursor"].as_str().map(str::to_owned));
    }
    let letters = world.get(&format!("/api/tenants/{tenant}/dead-letters"), &boss()).await.json();
    loot.extend(
        letters["deadLetters"].as_array().unwrap().iter().map(|l| l["id"].as_str().unwrap().to_owned()),
    );
    let keys = world.get(&format!("/api/tenants/{tenant}/keys"), &boss()).await.json();
    loot.extend(keys["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()));
    loot
}

fn request(random: &mut SmallRng, tenant: &str, loot: &[String]) -> (Method, String, Option<String>) {
    let thing = |random: &mut SmallRng| -> String {
        match random.random_range(0..4) {
            0 => format!("{MINE}-{}", random.random_range(0..40)),
            1 => format!("{MINE}-stream-{}", random.random_range(0..7)),
            2 => ["..", "~", "%2e%2e", "'", "a%7Cb", "e%7Cevent"].choose(random).unwrap().to_string(),
            _ => loot.choose(random).unwrap().clone(),
        }
    };
    let (one, two) = (thing(random), thing(random));
    let limit = random.random_range(0..50);
    let paths = [
        format!("tenants/{tenant}"),
        format!("tenants/{tenant}/events/{one}"),
        format!("tenants/{tenant}/events/{one}?source=/{MINE}"),
        format!("tenants/{tenant}/streams?limit={limit}&cursor={two}"),
        format!("tenants/{tenant}/streams?limit={limit}&category=event"),
        format!("tenants/{tenant}/streams/event/{one}"),
        format!("tenants/{tenant}/streams/tenant/audit/events"),
        format!("tenants/{tenant}/streams/event/{one}/events?limit={limit}"),
        format!("tenants/{tenant}/streams/event/{one}/events?cursor={two}"),
        format!("tenants/{tenant}/dead-letters?cursor={two}"),
        format!("tenants/{tenant}/dead-letters/{one}"),
        format!("tenants/{tenant}/keys"),
        format!("tenants/{tenant}/roles"),
        "tenants".to_owned(),
        "dead-letters".to_owned(),
        format!("dead-letters/{one}"),
    ];
    if random.random_bool(0.2) {
        let event = json!({
            "specversion": "1.0", "id": one, "source": format!("/{MINE}"), "type": "t", "subject": two,
            "data": { "n": limit },
        });
        return (Method::POST, format!("/api/tenants/{tenant}/events"), Some(event.to_string()));
    }
    (Method::GET, format!("/api/{}", paths.choose(random).unwrap()), None)
}

#[tokio::test]
async fn nothing_of_one_tenant_is_ever_seen_by_another() {
    let seed = rand::random::<u64>();
    let mut random = SmallRng::seed_from_u64(seed);
    let fast = ("ANNALS_READS_PER_SECOND", "1000000");
    let world = World::new(&[fast, ("ANNALS_WRITES_PER_SECOND", "1000000")]).await;
    furnish(&world, "north", MINE).await;
    furnish(&world, "south", THEIRS).await;
    let loot = [loot(&world, "north").await, loot(&world, "south").await].concat();
    let token = |roles: &[&str]| Some(Issuer::token("caller", roles));
    let callers: [(&str, Option<String>); 8] = [
        ("nobody", None),
        ("forger", Some("eyJhbGciOiJub25lIn0.eyJvaWQiOiJib3NzIn0.".to_owned())),
        ("reader", token(&["reader:north"])),
        ("writer", token(&["writer:north"])),
        ("auditor", token(&["auditor:north", "delegate:north"])),
        ("admin", token(&["admin:north"])),
        (
            "everything",
            token(&["reader:north", "writer:north", "auditor:north", "admin:north", "delegate:north"]),
        ),
        ("roleless", token(&[])),
    ];
    let (log, _listening) = Log::start();
    let (mut answered, mut shown) = (0, 0);
    for (who, credential) in &callers {
        for _ in 0..REQUESTS {
            let tenant =
                *["north", "north", "south", "annals-system", "nowhere"].choose(&mut random).unwrap();
            let (method, path, body) = request(&mut random, tenant, &loot);
            let Ok(_) = path.parse::<axum::http::Uri>() else { continue };
            let answer = world.call(method, &path, credential.as_deref(), body.as_deref()).await;
            let text = answer.text();
            assert!(!text.contains(THEIRS) && !text.contains("south"), "seed {seed}: {who} {path}: {text}");
            assert!(answer.status.as_u16() < 500, "seed {seed}: {who} {path}: {text}");
            answered += usize::from(answer.status.is_success());
            shown += usize::from(text.contains(MINE));
        }
    }
    assert!(answered > 300 && shown > 100, "the requests asked for nothing: {answered} {shown}");
    let theirs: Vec<_> = log.text().lines().filter(|line| line.contains(THEIRS)).map(str::to_owned).collect();
    assert!(theirs.is_empty(), "seed {seed}: {theirs:?}");
    let event = json!({ "specversion": "1.0", "id": "last", "source": "/s", "type": "t", "tenantid": "north", "data": 1 });
    let published = world.invoke("ingest", &event.to_string()).await;
    assert!(published.body.contains("north") && !published.body.contains("south"), "{}", published.body);
    let untouched: Value = world.get("/api/tenants/south/streams?category=event", &boss()).await.json();
    assert_eq!(untouched["streams"].as_array().unwrap().len(), 5, "nothing was written to the other tenant");
}
