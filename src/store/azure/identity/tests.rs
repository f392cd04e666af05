use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

const SCOPE: &[&str] = &["https://storage.azure.com/.default"];

/// A platform's endpoint that counts what it is asked.
#[derive(Default)]
struct Platform {
    asked: AtomicUsize,
    lasts: AtomicUsize,
    query: Mutex<String>,
    broken: std::sync::atomic::AtomicBool,
}

async fn token(
    State(platform): State<Arc<Platform>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let number = platform.asked.fetch_add(1, Ordering::SeqCst) + 1;
    *platform.query.lock().unwrap() = query.unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(50)).await;
    if platform.broken.load(Ordering::SeqCst) || headers["x-identity-header"] != "proof" {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let expires = OffsetDateTime::now_utc().unix_timestamp() + platform.lasts.load(Ordering::SeqCst) as i64;
    axum::Json(json!({"access_token": format!("token-{number}"), "expires_on": expires.to_string()}))
        .into_response()
}

async fn identity(lasts: usize, client_id: Option<&str>) -> (Arc<Platform>, Arc<ManagedIdentity>) {
    let platform = Arc::new(Platform { lasts: lasts.into(), ..Platform::default() });
    let router = Router::new().route("/msi/token", get(token)).with_state(Arc::clone(&platform));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/msi/token", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client_id = client_id.map(str::to_owned);
    let source = Source { endpoint, header: Secret("proof".into()), client_id };
    (platform, Arc::new(ManagedIdentity::new(source).unwrap()))
}

async fn tokens(identity: &Arc<ManagedIdentity>, count: usize) -> Vec<Result<String, ()>> {
    let asks = (0..count).map(|_| {
        let identity = Arc::clone(identity);
        async move {
            let token = identity.get_token(SCOPE).await.map_err(|_| ())?;
            Ok(token.token.secret().to_owned())
        }
    });
    futures::future::join_all(asks).await
}

#[tokio::test]
async fn many_first_requests_ask_once_and_the_token_is_kept() {
    let (platform, identity) = identity(86_400, None).await;
    for _ in 0..2 {
        assert_eq!(tokens(&identity, 32).await, vec![Ok("token-1".to_owned()); 32]);
    }
    assert_eq!(platform.asked.load(Ordering::SeqCst), 1);
    let query = platform.query.lock().unwrap().clone();
    assert_eq!(query, "api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com");
}

#[tokio::test]
async fn a_user_assigned_identity_is_asked_for_by_its_client_id() {
    let (platform, identity) = identity(86_400, Some("1111-2222")).await;
    tokens(&identity, 1).await;
    assert!(platform.query.lock().unwrap().ends_with("&client_id=1111-2222"));
}

#[tokio::test]
async fn a_token_near_its_end_serves_while_it_is_renewed() {
    let (platform, identity) = identity(200, None).await;
    assert_eq!(tokens(&identity, 1).await, [Ok("token-1".to_owned())]);
    platform.lasts.store(86_400, Ordering::SeqCst);
    assert_eq!(tokens(&identity, 8).await, vec![Ok("token-1".to_owned()); 8], "nobody waits");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(tokens(&identity, 8).await, vec![Ok("token-2".to_owned()); 8]);
    assert_eq!(platform.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_at_its_end_is_not_used() {
    let (_, identity) = identity(10, None).await;
    tokens(&identity, 1).await;
    assert_eq!(tokens(&identity, 1).await, [Ok("token-2".to_owned())]);
}

#[tokio::test]
async fn a_broken_endpoint_is_asked_once_for_all_who_wait_and_again_later() {
    let (platform, identity) = identity(86_400, None).await;
    platform.broken.store(true, Ordering::SeqCst);
    assert_eq!(tokens(&identity, 16).await, vec![Err(()); 16]);
    assert_eq!(platform.asked.load(Ordering::SeqCst), 1);
    platform.broken.store(false, Ordering::SeqCst);
    assert_eq!(tokens(&identity, 1).await, [Ok("token-2".to_owned())]);
}

#[tokio::test]
async fn a_renewal_that_fails_costs_nobody_the_token_that_serves() {
    let (platform, identity) = identity(200, None).await;
    tokens(&identity, 1).await;
    platform.broken.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(tokens(&identity, 4).await, vec![Ok("token-1".to_owned()); 4]);
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    assert_eq!(platform.asked.load(Ordering::SeqCst), 2, "it rests after a failure");
}

#[tokio::test]
async fn neither_token_nor_proof_is_printed() {
    let (_, identity) = identity(86_400, None).await;
    tokens(&identity, 1).await;
    let printed = format!("{identity:?}");
    assert!(!printed.contains("proof") && !printed.contains("token-"), "{printed}");
}
