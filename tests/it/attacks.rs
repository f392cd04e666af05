//! The real process, attacked over its real port: tokens, headers, bodies, and in which order it asks.

use std::time::{Duration, Instant};

use annals::{
    store::digest::hmac,
    testing::issuer::{Issuer, SigningKey, unsigned},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{handler::Handler, raw};

struct World {
    folder: TempDir,
    issuer: Issuer,
    handler: Handler,
}

/// A handler that takes tokens and keys, with the tenant `acme`; its operator is named by a setting.
async fn world(more: &[(&str, &str)]) -> World {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::start().await.unwrap();
    let handler = start(&folder, &issuer, more).await;
    let boss = bearer(&Issuer::token("boss", &[]));
    let put =
        handler.send("PUT", "/api/tenants/acme", &[("authorization", &boss)], Some(b"{}".to_vec())).await;
    assert_eq!(put.status().as_u16(), 201, "{}", put.text().await.unwrap());
    World { folder, issuer, handler }
}

async fn start(folder: &TempDir, issuer: &Issuer, more: &[(&str, &str)]) -> Handler {
    let settings = [
        ("ANNALS_DATA_DIR", folder.path().to_str().unwrap()),
        ("ANNALS_AUTH", "entra,keys"),
        ("ANNALS_TOKEN_ISSUERS", Issuer::ISS),
        ("ANNALS_TOKEN_AUDIENCES", Issuer::AUD),
        ("ANNALS_JWKS_URL", &issuer.jwks),
        ("ANNALS_OPERATORS", "entra:directory:boss"),
    ];
    Handler::start(&[&settings, more].concat()).await
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A good token of an operator, with one thing changed.
fn changed(change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let (mut header, mut payload) = (Issuer::header(), Issuer::payload("boss", &["operator"]));
    change(&mut header, &mut payload);
    SigningKey::issuer().sign(&header, &payload)
}

/// The published attacks, each with its name.
fn attacks() -> Vec<(&'static str, String)> {
    let payload = Issuer::payload("boss", &["operator"]);
    let now = payload["iat"].as_u64().unwrap();
    let with_alg = |alg: &str| {
        let mut header = Issuer::header();
        header["alg"] = alg.into();
        unsigned(&header, &payload)
    };
    let none = |alg: &str| format!("{}.", with_alg(alg));
    let modulus = SigningKey::issuer().jwk(Issuer::KID)["n"].as_str().unwrap().to_owned();
    let symmetric = with_alg("HS256");
    let by_public_key = hmac(modulus.as_bytes(), symmetric.as_bytes());
    let good = Issuer::token("boss", &["operator"]);
    let (head, _) = good.split_once('.').unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    let other_payload = Issuer::payload("somebody", &["operator"]);
    let swapped = unsigned(&Issuer::header(), &other_payload);
    vec![
        ("alg none", none("none")),
        ("alg nOnE", none("nOnE")),
        ("HS256 with the public key", format!("{symmetric}.{}", URL_SAFE_NO_PAD.encode(by_public_key))),
        ("another algorithm named", changed(|header, _| header["alg"] = "RS512".into())),
        ("a key that is not there", changed(|header, _| header["kid"] = "other".into())),
        ("no key named", changed(|header, _| drop(header.as_object_mut().unwrap().remove("kid")))),
        ("a key that it brings along", {
            let mut header = Issuer::header();
            header["jwk"] = SigningKey::other().jwk(Issuer::KID);
            SigningKey::other().sign(&header, &payload)
        }),
        ("signed by somebody else", SigningKey::other().sign(&Issuer::header(), &payload)),
        ("another payload under its signature", format!("{swapped}.{signature}")),
        ("no signature", format!("{}.", good.rsplit_once('.').unwrap().0)),
        ("no payload", format!("{head}..{signature}")),
        ("another audience", changed(|_, payload| payload["aud"] = "api://other".into())),
        ("another issuer", changed(|_, payload| payload["iss"] = "https://evil.example/".into())),
        ("expired", changed(|_, payload| payload["exp"] = (now - 300).into())),
        ("without an end", changed(|_, payload| drop(payload.as_object_mut().unwrap().remove("exp")))),
        ("not yet valid", changed(|_, payload| payload["nbf"] = (now + 300).into())),
        ("critical and unknown", changed(|header, _| header["crit"] = json!(["b64"]))),
        ("too long", changed(|_, payload| payload["padding"] = "x".repeat(17_000).into())),
        ("not a token", "a.b.c".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_attacks_on_tokens_are_refused_over_the_port() {
    let world = world(&[]).await;
    let status = async |token: &str| {
        world
            .handler
            .send("GET", "/api/tenants", &[("authorization", &bearer(token))], None)
            .await
            .status()
            .as_u16()
    };
    assert_eq!(status(&changed(|_, _| {})).await, 200, "what is changed below would be taken as it was");
    for (attack, token) in attacks() {
        assert_eq!(status(&token).await, 401, "{attack}");
    }
    assert_eq!(world.issuer.asked(), 1, "no token makes us ask the issuer again within five minutes");
    assert!(world.folder.path().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_platform_and_the_host_mean_nothing_and_credentials_come_once() {
    let world = world(&[]).await;
    let claims = json!({ "claims": [{ "typ": "oid", "val": "boss" }, { "typ": "tid", "val": "directory" }] });
    let principal = STANDARD.encode(claims.to_string());
    let good = bearer(&Issuer::token("boss", &[]));
    let ask = async |headers: &[(&str, &str)]| {
        world.handler.send("GET", "/api/tenants/acme", headers, None).await.status().as_u16()
    };
    let spoofed = [
        ("x-ms-client-principal", principal.as_str()),
        ("x-azure-functions-invocationid", "1"),
        ("x-azure-functions-hostversion", "4"),
        ("x-functions-key", "k"),
        ("x-forwarded-for", "127.0.0.1"),
    ];
    assert_eq!(ask(&spoofed).await, 401);
    assert_eq!(ask(&[("authorization", &good)]).await, 200);
    assert_eq!(ask(&[("authorization", &good), spoofed[0], spoofed[1]]).await, 200, "nor do they do harm");
    assert_eq!(ask(&[("authorization", &good), ("authorization", &good)]).await, 401);
    assert_eq!(ask(&[("authorization", &good), ("x-annals-key", "annals_x_y")]).await, 401);
    // A forged invocation: the name that a forwarded request keeps is not ours.
    let forged = world.handler.send("POST", "/ingest", &spoofed, Some(b"{}".to_vec())).await;
    assert_eq!(forged.status().as_u16(), 404);

    let settings = [("ANNALS_AUTH", "platform"), ("WEBSITE_AUTH_ENABLED", "True")];
    let other = tempfile::tempdir().unwrap();
    let platform = start(&other, &world.issuer, &settings).await;
    let ask = async |headers: &[(&str, &str)]| {
        platform.send("GET", "/api/tenants", headers, None).await.status().as_u16()
    };
    assert_eq!(ask(&spoofed[..1]).await, 200);
    assert_eq!(ask(&[spoofed[0], spoofed[0]]).await, 401, "more than one principal is none");
    let joined = format!("{principal},{principal}");
    assert_eq!(ask(&[("x-ms-client-principal", &joined)]).await, 401);
    assert_eq!(ask(&[("authorization", &good)]).await, 401, "and a token is none there");
}

/// Syntax of the path, who (401), may they (403, whatever exists; 404 for operators), and only then the body.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_questions_is_always_the_same() {
    let world = world(&[]).await;
    let [boss, writer, stranger] = [("boss", "x"), ("w", "writer:acme"), ("s", "writer:other")]
        .map(|(who, role)| bearer(&Issuer::token(who, &[role])));
    let ask = async |tenant: &str, who: &str, body: &[u8]| {
        let headers = [("authorization", who), ("content-type", "application/cloudevents+json")];
        let path = format!("/api/tenants/{tenant}/events");
        let answer = world.handler.send("POST", &path, &headers, Some(body.to_vec())).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("a%20b", "Bearer x.y.z", b"{}").await.0, 400);
    assert_eq!(ask("acme", "Bearer x.y.z", b"no event").await.0, 401);
    let refused = ask("acme", &stranger, b"no event").await;
    assert_eq!((refused.0, ask("nowhere", &stranger, b"no event").await), (403, refused.clone()));
    assert_eq!(ask("nowhere", &boss, b"no event").await.0, 404);
    assert_eq!(ask("acme", &writer, b"no event").await.0, 400);
    // One that says that it is too large is not even awaited, whoever sends it.
    for (who, want) in [(&stranger, 403), (&writer, 413)] {
        let head = format!(
            "POST /api/tenants/acme/events HTTP/1.1\r\nHost: annals.example\r\nAuthorization: {who}\r\n\
             Content-Length: 7000000\r\n\r\n"
        );
        assert_eq!(raw::exchange(world.handler.port, head.as_bytes()).await.status, want);
    }
}

/// A body that comes a byte at a time, and one that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_endless_bodies_are_cut_off() {
    let world = world(&[]).await;
    let token = Issuer::token("w", &["writer:acme"]);
    let head = format!(
        "POST /api/tenants/acme/events HTTP/1.1\r\nHost: annals.example\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/cloudevents+json\r\n"
    );
    let drip = async |framing: &str, piece: &[u8], pause: Duration| {
        let mut stream = TcpStream::connect(("127.0.0.1", world.handler.port)).await.unwrap();
        stream.write_all(format!("{head}{framing}\r\n\r\n").as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let started = Instant::now();
        let drips = async {
            loop {
                // It stops listening: then there is nothing more to send.
                if writing.write_all(piece).await.is_err() {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(pause).await;
            }
        };
        let mut answer = [0; 12];
        let reads = async {
            reading.read_exact(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        };
        let answer = tokio::select! {
            answer = tokio::time::timeout(Duration::from_secs(60), reads) => answer.expect("it is cut off"),
            () = drips => unreachable!(),
        };
        (answer, started.elapsed())
    };
    let slow = drip("Content-Length: 1000000", b"x", Duration::from_millis(200));
    let piece = [b"10000\r\n".as_slice(), &vec![b'x'; 65_536], b"\r\n"].concat();
    let endless = drip("Transfer-Encoding: chunked", &piece, Duration::ZERO);
    let ((slow, after), (endless, _)) = tokio::join!(slow, endless);
    assert_eq!(slow, "HTTP/1.1 408");
    assert!(after >= Duration::from_secs(15), "{after:?}");
    assert_eq!(endless, "HTTP/1.1 413");
    let well = world.handler.send("GET", "/", &[], None).await;
    assert_eq!(well.status().as_u16(), 200);
}
