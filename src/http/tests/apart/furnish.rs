//! A tenant with something of everything in it, and its colour in all of that.

use axum::http::Method;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::super::{StatusCode, World, boss};
use crate::testing::issuer::Issuer;

/// What a caller could have got hold of. Of the other tenant only what does not itself show its colour:
/// what a caller writes may come back to it.
#[derive(Default)]
pub(super) struct Loot {
    /// Of every kind of list.
    pub(super) cursors: Vec<String>,
    /// Of the all-stream: what a consumer keeps.
    pub(super) places: Vec<String>,
    pub(super) letters: Vec<String>,
    /// Letters that can be stored by now.
    pub(super) curable: Vec<String>,
    pub(super) keys: Vec<String>,
    pub(super) replays: Vec<String>,
    /// The fence of the claim on `{colour}-held`.
    pub(super) fence: u64,
}

impl Loot {
    pub(super) fn everything(&self) -> Vec<String> {
        [&self.cursors, &self.letters, &self.keys, &self.replays].into_iter().flatten().cloned().collect()
    }
}

/// Requests to one tenant.
struct Door<'a> {
    world: &'a World,
    tenant: &'a str,
}

impl Door<'_> {
    async fn get(&self, path: &str) -> Value {
        let answer = self.world.get(&format!("/api/tenants/{}/{path}", self.tenant), &boss()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.json()
    }

    /// As the one person behind all callers of the test, with every role.
    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let roles = ["writer", "auditor", "admin"].map(|role| format!("{role}:{}", self.tenant));
        let token = Issuer::token("caller", &roles.each_ref().map(String::as_str));
        let path = format!("/api/tenants/{}/{path}", self.tenant);
        let answer = self.world.call(method, &path, Some(&token), Some(&body.to_string())).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
        answer.json()
    }

    async fn ingest(&self, message: Value) {
        let answer = self.world.invoke("ingest", &message.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
}

pub(super) async fn furnish(world: &World, tenant: &str, colour: &str) -> Loot {
    let door = Door { world, tenant };
    world.tenant(tenant, json!({ "displayName": colour, "changeFeed": { "enabled": true } })).await;
    let event = |id: String, stream: usize| {
        json!({
            "specversion": "1.0", "id": id, "source": format!("/{colour}"), "type": format!("t.{colour}"),
            "subject": format!("{colour}-stream-{stream}"), "correlationid": format!("{colour}-c"), "tenantid": tenant,
            "datasubject": format!("{colour}-person-{stream}"), "data": { "value": colour },
        })
    };
    for n in 0..30 {
        door.ingest(event(format!("{colour}-{n}"), n % 5)).await;
    }
    let mut loot = Loot::default();
    // Of a person whom no request erases: nothing would be left to be stored.
    curables(&door, &mut loot, event(format!("{colour}-late"), 5)).await;
    door.ingest(json!({ "id": colour, "tenantid": tenant, "specversion": "9" })).await;
    for _ in 0..3 {
        door.ask(Method::POST, "keys", json!({ "label": colour, "roles": ["reader"] })).await;
    }
    let person = URL_SAFE_NO_PAD.encode(format!("entra:directory:{colour}-person"));
    door.ask(Method::PUT, &format!("roles/~{person}"), json!({ "roles": ["reader"] })).await;
    commands(&door, &mut loot, colour).await;
    collect(&door, &mut loot, colour).await;
    let place = json!({ "cursor": loot.places[0] });
    door.ask(Method::PUT, &format!("consumers/{colour}-0"), place.clone()).await;
    for _ in 0..2 {
        let replay = door.ask(Method::POST, "change-feed/replay", json!({})).await;
        loot.replays.push(replay["id"].as_str().unwrap().to_owned());
    }
    let event = json!({ "event": { "id": format!("{colour}-29"), "source": format!("/{colour}") }, "reason": colour });
    door.ask(Method::POST, "erasures", event).await;
    loot
}

/// Messages for a closed tenant: once it is open again they can be stored.
async fn curables(door: &Door<'_>, loot: &mut Loot, mut event: Value) {
    let path = format!("/api/tenants/{}", door.tenant);
    door.world.call(Method::DELETE, &path, Some(&boss()), None).await;
    for n in 0..4 {
        event["id"] = format!("{}-{n}", event["id"].as_str().unwrap()).into();
        door.ingest(event.clone()).await;
    }
    door.world.call(Method::POST, &format!("{path}/reopen"), Some(&boss()), None).await;
    let letters = door.get("dead-letters").await;
    loot.curable.extend(ids(&letters["deadLetters"]));
    assert_eq!(loot.curable.len(), 4, "{letters}");
}

/// Commands in every state: see `fitting` in `requests.rs` for what each is there for.
async fn commands(door: &Door<'_>, loot: &mut Loot, colour: &str) {
    let approval = json!({ "required": 1, "allowRequester": true });
    for name in ["plain", "mine", "ask", "ok", "held", "secret"] {
        let mut command = json!({
            "id": format!("{colour}-{name}"), "type": format!("c.{colour}"), "correlationId": format!("{colour}-c"),
            "data": { "value": colour },
        });
        if matches!(name, "mine" | "ask" | "ok" | "held") {
            command["approval"] = approval.clone();
        }
        door.ask(Method::POST, "commands", command).await;
    }
    for name in ["ok", "held"] {
        let yes = json!({ "decision": "approve", "comment": colour });
        door.ask(Method::POST, &format!("commands/{colour}-{name}/approvals"), yes).await;
    }
    let claim = json!({ "lease": 3_000 });
    let claim = door.ask(Method::POST, &format!("commands/{colour}-held/claim"), claim).await;
    loot.fence = claim["fence"].as_u64().unwrap();
    let outcome = json!({
        "status": "succeeded", "result": { "key": format!("{colour}-key"), "value": colour }, "secretOnce": ["/key"],
    });
    door.ask(Method::POST, &format!("commands/{colour}-secret/outcome"), outcome).await;
}

/// Takes what lists give out.
async fn collect(door: &Door<'_>, loot: &mut Loot, colour: &str) {
    let linked = format!("correlations/{colour}-c/events?limit=2");
    let history = format!("streams/event/{colour}-stream-0/events?limit=2");
    for path in ["streams?limit=2", "streams?limit=1&category=event", "commands?limit=1", &linked, &history] {
        loot.cursors.extend(door.get(path).await["cursor"].as_str().map(str::to_owned));
    }
    for path in ["events?limit=3", "events?limit=7"] {
        loot.places.extend(door.get(path).await["cursor"].as_str().map(str::to_owned));
    }
    assert_eq!((loot.cursors.len(), loot.places.len()), (5, 2));
    loot.cursors.extend(loot.places.clone());
    loot.letters.extend(ids(&door.get("dead-letters").await["deadLetters"]));
    loot.keys.extend(ids(&door.get("keys").await["keys"]));
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}
