//! Every route, with every kind of caller.

use axum::http::Method;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{StatusCode, World, boss};
use crate::{
    access::Role,
    http::routes::{Need, Route, table},
    testing::issuer::{Issuer, SigningKey, unsigned},
};

/// A path of the route with its parameters filled in.
fn filled(path: &str, tenant: &str) -> String {
    let hash = "0".repeat(64);
    let id = if path.contains("dead-letters") { hash.as_str() } else { "some-id" };
    let principal = format!("~{}", URL_SAFE_NO_PAD.encode("entra:directory:somebody"));
    let path = path.replace("{tenant}", tenant).replace("{category}", "event").replace("{id}", id);
    format!("/api{}", path.replace("{key}", "0123456789abcdef").replace("{principal}", &principal))
}

/// A body that the route takes, or at least looks at.
fn body(route: &Route) -> Option<String> {
    let body = match (route.method.as_str(), route.path) {
        ("GET" | "DELETE", _) => return None,
        (_, path) if path.ends_with("/keys") => json!({ "label": "l", "roles": ["reader"] }),
        (_, path) if path.contains("/roles/") => json!({ "roles": ["reader"] }),
        (_, path) if path.ends_with("/events") => {
            json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "x" })
        }
        _ => json!({}),
    };
    Some(body.to_string())
}

async fn status(world: &World, route: &Route, tenant: &str, token: Option<&str>) -> (StatusCode, String) {
    let path = filled(route.path, tenant);
    let answer = world.call(route.method.clone(), &path, token, body(route).as_deref()).await;
    (answer.status, answer.body)
}

fn in_acme(role: Role) -> String {
    Issuer::token(&format!("{role}-o"), &[&format!("{role}:acme")])
}

/// Tokens that vouch for nobody, whatever they say.
fn worthless() -> Vec<(&'static str, Option<String>)> {
    let all = ["operator", "admin:acme", "reader:acme", "writer:acme", "auditor:acme"];
    let good = Issuer::payload("boss", &all);
    let with = |name: &str, value: Value| {
        let mut payload = good.clone();
        payload[name] = value;
        payload
    };
    let now = good["iat"].as_u64().unwrap();
    let signed = |payload: &Value| Some(SigningKey::issuer().sign(&Issuer::header(), payload));
    let none = json!({ "alg": "none", "kid": Issuer::KID });
    vec![
        ("nobody", None),
        ("expired", signed(&with("exp", (now - 600).into()))),
        ("not yet valid", signed(&with("nbf", (now + 600).into()))),
        ("another issuer", signed(&with("iss", "https://evil.example/".into()))),
        ("another audience", signed(&with("aud", "api://other".into()))),
        ("forged", Some(SigningKey::other().sign(&Issuer::header(), &good))),
        ("alg none", Some(format!("{}.", unsigned(&none, &good)))),
        ("a key that nobody made", Some(format!("annals_0123456789abcdef_{}", "A".repeat(43)))),
    ]
}

#[tokio::test]
async fn every_route_lets_in_whom_the_table_names_and_nobody_else() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    world.tenant("other", json!({})).await;
    for route in table() {
        let named = format!("{} {}", route.method, route.path);
        for (who, token) in worthless() {
            let (status, body) = status(&world, &route, "acme", token.as_deref()).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{named} by {who}: {body}");
        }
        for role in Role::ALL {
            let (status, body) = status(&world, &route, "acme", Some(&in_acme(role))).await;
            let includes = |needed| role == needed || (role, needed) == (Role::Auditor, Role::Reader);
            let may = match route.need {
                Need::Tenant(needed) => includes(needed),
                Need::Either(one, other) => includes(one) || includes(other),
                Need::Settings => role == Role::Admin,
                Need::Operator => false,
            };
            assert_eq!(status == StatusCode::FORBIDDEN, !may, "{named} by {role}: {status} {body}");
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{named} by {role}");
        }
        let elsewhere = Role::ALL.map(|role| format!("{role}:other"));
        let stranger = Issuer::token("stranger", &elsewhere.each_ref().map(String::as_str));
        let (refused, told) = status(&world, &route, "acme", Some(&stranger)).await;
        assert_eq!(refused, StatusCode::FORBIDDEN, "{named} by a stranger: {told}");
        let (_, told_of_nothing) = status(&world, &route, "nowhere", Some(&stranger)).await;
        assert_eq!(told, told_of_nothing, "{named}: whether a tenant exists must not show");
        let (status, body) = status(&world, &route, "acme", Some(&boss())).await;
        let turned_away = matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
        assert!(!turned_away, "{named} by an operator: {body}");
    }
}

#[tokio::test]
async fn only_an_operator_hears_that_a_tenant_does_not_exist() {
    let world = World::new(&[]).await;
    let everything = Role::ALL.map(|role| format!("{role}:nowhere"));
    let claimed = Issuer::token("claimed", &everything.each_ref().map(String::as_str));
    for route in table().into_iter().filter(|route| route.path.contains("{tenant}")) {
        let (refused, _) = status(&world, &route, "nowhere", Some(&claimed)).await;
        assert_eq!(refused, StatusCode::FORBIDDEN, "{}", route.path);
        if route.method != Method::PUT || route.path != "/tenants/{tenant}" {
            let (heard, _) = status(&world, &route, "nowhere", Some(&boss())).await;
            assert_eq!(heard, StatusCode::NOT_FOUND, "{}", route.path);
        }
    }
    let malformed = world.get("/api/tenants/a%20b/streams", "nobody").await;
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST, "the path comes before who is calling");
}

#[tokio::test]
async fn a_key_counts_in_its_tenant_until_it_is_disabled() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    world.tenant("other", json!({})).await;
    let made = world
        .post("/api/tenants/acme/keys", &boss(), &json!({ "label": "engine", "roles": ["writer", "reader"] }))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let (id, key) =
        (made.json()["id"].as_str().unwrap().to_owned(), made.json()["key"].as_str().unwrap().to_owned());
    assert_eq!(world.get("/api/tenants/acme/streams", &key).await.status, StatusCode::OK);
    assert_eq!(world.get("/api/tenants/other/streams", &key).await.status, StatusCode::FORBIDDEN);
    let stored = world.post("/api/tenants/acme/events", &key, &super::event("1", &json!({}))).await;
    assert_eq!(stored.status, StatusCode::CREATED, "{}", stored.body);
    let event = world.get("/api/tenants/acme/events/1", &key).await.json();
    assert_eq!(
        (&event["recordedBy"], &event["actor"]["id"]),
        (&json!(format!("key:{id}")), &json!(format!("key:{id}")))
    );
    let listed = world.get("/api/tenants/acme/keys", &boss()).await;
    assert!(!listed.body.contains(&key[24..]), "{}", listed.body);

    let rotated =
        world.call(Method::POST, &format!("/api/tenants/acme/keys/{id}/rotate"), Some(&boss()), None).await;
    let newer = rotated.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(world.get("/api/tenants/acme/streams", &key).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.get("/api/tenants/acme/streams", &newer).await.status, StatusCode::OK);
    let path = format!("/api/tenants/acme/keys/{id}/disable");
    assert_eq!(world.call(Method::POST, &path, Some(&boss()), None).await.status, StatusCode::OK);
    assert_eq!(world.get("/api/tenants/acme/streams", &newer).await.status, StatusCode::UNAUTHORIZED);

    let audit = world.get("/api/tenants/acme/streams/tenant/audit/events", &boss()).await.json();
    let types: Vec<_> =
        audit["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    let want =
        ["added", "key-created", "key-rotated", "key-disabled"].map(|what| format!("annals.tenant.{what}"));
    assert_eq!(types, want);
    assert_eq!(audit["events"][1]["recordedBy"], "entra:directory:boss");
}

#[tokio::test]
async fn roles_are_assigned_and_an_administrator_of_the_system_is_an_operator() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    let ann = Issuer::token("ann", &[]);
    let assign = async |tenant: &str, roles: Value| {
        let principal = URL_SAFE_NO_PAD.encode("entra:directory:ann");
        let path = format!("/api/tenants/{tenant}/roles/~{principal}");
        world.put(&path, &boss(), &json!({ "roles": roles })).await
    };
    let streams = "/api/tenants/acme/streams";
    assert_eq!(world.get(streams, &ann).await.status, StatusCode::FORBIDDEN);
    // What was read a moment ago counts for ten seconds, but not in the process that changes it.
    assert_eq!(assign("acme", json!(["reader"])).await.status, StatusCode::OK);
    assert_eq!(world.get(streams, &ann).await.status, StatusCode::OK);
    assert_eq!(assign("acme", json!([])).await.status, StatusCode::OK);
    assert_eq!(world.get(streams, &ann).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.get("/api/tenants", &ann).await.status, StatusCode::FORBIDDEN);
    assert_eq!(assign("annals-system", json!(["admin"])).await.status, StatusCode::OK);
    assert_eq!(world.get("/api/tenants", &ann).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_administrator_changes_settings_but_neither_storage_nor_what_is_fixed() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({ "partitions": 2 })).await;
    let admin = in_acme(Role::Admin);
    let put = async |settings: Value| world.put("/api/tenants/acme", &admin, &settings).await;
    assert_eq!(put(json!({ "displayName": "Acme" })).await.status, StatusCode::OK);
    assert_eq!(put(json!({ "displayName": "Acme" })).await.status, StatusCode::OK, "twice is harmless");
    assert_eq!(put(json!({ "partitions": 3 })).await.status, StatusCode::CONFLICT);
    let moved = json!({ "storage": { "tableServiceUri": "https://acme.table.core.windows.net" } });
    assert_eq!(put(moved.clone()).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.put("/api/tenants/acme", &boss(), &moved).await.status, StatusCode::CONFLICT);
    for bad in ["http://acme.table.core.windows.net", "https://evil.example", "https://169.254.169.254"] {
        let place = json!({ "storage": { "tableServiceUri": bad } });
        let answer = world.put("/api/tenants/new", &boss(), &place).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}: {}", answer.body);
    }
    let audit = world.get("/api/tenants/annals-system/streams?category=tenant", &boss()).await;
    assert_eq!(audit.status, StatusCode::OK, "{}", audit.body);
}

#[tokio::test]
async fn a_closed_tenant_is_read_and_not_written_and_its_end_is_on_record() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    let writer = Issuer::token("w", &["writer:acme", "reader:acme"]);
    let append =
        async |id: &str| world.post("/api/tenants/acme/events", &writer, &super::event(id, &json!({}))).await;
    assert_eq!(append("1").await.status, StatusCode::CREATED);
    let delete = async |path: &str| world.call(Method::DELETE, path, Some(&boss()), None).await.status;
    assert_eq!(delete("/api/tenants/acme/data").await, StatusCode::CONFLICT);
    assert_eq!(delete("/api/tenants/acme").await, StatusCode::OK);
    assert_eq!(append("1").await.status, StatusCode::OK, "a known identity gets its first answer");
    assert_eq!(append("2").await.json()["code"], "tenant-closed");
    assert_eq!(world.get("/api/tenants/acme/events/1", &writer).await.status, StatusCode::OK);
    let queued = json!({ "specversion": "1.0", "id": "3", "source": "/s", "type": "t", "tenantid": "acme" });
    assert_eq!(world.invoke("ingest", &queued.to_string()).await.status, StatusCode::OK);
    let letters = world.get("/api/tenants/acme/dead-letters", &boss()).await.json();
    assert_eq!(letters["deadLetters"][0]["code"], "tenant-closed");
    assert_eq!(delete("/api/tenants/acme/data").await, StatusCode::NO_CONTENT);
    assert_eq!(world.get("/api/tenants/acme", &boss()).await.status, StatusCode::NOT_FOUND);
    let told = world.get("/api/tenants/annals-system/streams/tenant/audit/events", &boss()).await.json();
    let types: Vec<_> =
        told["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    for what in ["closed", "deletion-started", "deleted"] {
        assert!(types.contains(&format!("annals.tenant.{what}").as_str()), "{types:?}");
    }
}

#[tokio::test]
async fn the_events_of_annals_itself_cannot_be_forged() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    let mut forged = super::event("1", &json!({}));
    forged["source"] = "/annals/registry".into();
    let answer = world.post("/api/tenants/acme/events", &boss(), &forged).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::FORBIDDEN, &json!("reserved")));
    let system =
        world.post("/api/tenants/annals-system/events", &boss(), &super::event("1", &json!({}))).await;
    assert_eq!(system.status, StatusCode::FORBIDDEN, "{}", system.body);
    let mut queued = super::event("1", &json!({}));
    queued["tenantid"] = "annals-system".into();
    assert_eq!(world.invoke("ingest", &queued.to_string()).await.status, StatusCode::OK);
    let letters = world.get("/api/dead-letters", &boss()).await.json();
    assert_eq!(letters["deadLetters"][0]["code"], "unknown-tenant");
}

#[tokio::test]
async fn only_a_delegate_speaks_for_others() {
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    let mut event = super::event("1", &json!({}));
    event["authtype"] = "user".into();
    event["authid"] = "ann".into();
    let writer = Issuer::token("w", &["writer:acme"]);
    let answer = world.post("/api/tenants/acme/events", &writer, &event).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::FORBIDDEN, &json!("not-a-delegate")));
    let delegate = Issuer::token("d", &["writer:acme", "delegate:acme"]);
    assert_eq!(world.post("/api/tenants/acme/events", &delegate, &event).await.status, StatusCode::CREATED);
    let stored = world.get("/api/tenants/acme/events/1", &boss()).await.json();
    assert_eq!((&stored["recordedBy"], &stored["actor"]["id"]), (&json!("entra:directory:d"), &json!("ann")));
}

#[tokio::test]
async fn what_a_client_says_of_the_host_or_the_platform_is_not_believed() {
    use axum::{body::Body, http::Request};
    let world = World::new(&[]).await;
    world.tenant("acme", json!({})).await;
    let principal = json!({ "claims": [
        { "typ": "oid", "val": "boss" }, { "typ": "tid", "val": "directory" }, { "typ": "roles", "val": "operator" },
    ] });
    let principal = base64::engine::general_purpose::STANDARD.encode(principal.to_string());
    let headers = [
        ("x-ms-client-principal", principal.as_str()),
        ("x-ms-client-principal-id", "boss"),
        ("x-functions-key", "k"),
        ("x-azure-functions-invocationid", "1"),
        ("x-annals-key", "annals_x_y"),
        ("authorization", "Basic Ym9zczpib3Nz"),
    ];
    for (name, value) in headers {
        let request = Request::builder().uri("/api/tenants/acme").header(name, value);
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
    }
    let twice =
        Request::builder().uri("/api/tenants/acme").header("authorization", format!("Bearer {}", boss()));
    let twice = twice.header("authorization", format!("Bearer {}", boss())).body(Body::empty()).unwrap();
    assert_eq!(world.send(twice).await.status, StatusCode::UNAUTHORIZED);

    let platform = World::new(&[("ANNALS_AUTH", "platform"), ("WEBSITE_AUTH_ENABLED", "True")]).await;
    let ask = async |times: usize| {
        let mut request = Request::builder().uri("/api/tenants");
        for _ in 0..times {
            request = request.header("x-ms-client-principal", &principal);
        }
        platform.send(request.body(Body::empty()).unwrap()).await.status
    };
    assert_eq!(ask(1).await, StatusCode::OK);
    assert_eq!(ask(2).await, StatusCode::UNAUTHORIZED, "more than one principal is none");
    assert_eq!(ask(0).await, StatusCode::UNAUTHORIZED);
}
