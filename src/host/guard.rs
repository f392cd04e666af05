//! The guard in front of the functions.
//!
//! A path that the host forwards can be made to collapse onto `/ingest` (`%252e%252e`): a forged
//! invocation. A function therefore takes an [`Invocation`], which is made of a request only when its
//! `Host` is our own loopback address: a forwarded request keeps the public one.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{
        HeaderMap, Method, StatusCode,
        header::{ALLOW, HOST},
        request::Parts,
    },
    response::{IntoResponse, Response},
};

use super::App;

/// What the functions serve with.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) app: Arc<App>,
    /// Address and port on which the Functions host calls us.
    pub(super) own: String,
}

/// Proof that a request is the Functions host's own.
#[derive(Debug)]
pub(super) struct Genuine;

/// An invocation by the Functions host itself.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) app: Arc<App>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

fn is_genuine(request: &Parts, own: &str) -> bool {
    let mut hosts = request.headers.get_all(HOST).iter();
    let ours = hosts.next().is_some_and(|host| host.as_bytes() == own.as_bytes());
    ours && hosts.next().is_none() && request.uri.authority().is_none()
}

impl FromRequestParts<Arc<Host>> for Genuine {
    type Rejection = Response;

    async fn from_request_parts(request: &mut Parts, host: &Arc<Host>) -> Result<Self, Response> {
        if !is_genuine(request, &host.own) {
            tracing::warn!(evt = "host.forged-invocation", path = request.uri.path(), "refused");
            return Err(StatusCode::NOT_FOUND.into_response());
        }
        match request.method {
            Method::POST => Ok(Self),
            _ => Err((StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")]).into_response()),
        }
    }
}

impl FromRequest<Arc<Host>> for Invocation {
    type Rejection = Response;

    async fn from_request(request: Request, host: &Arc<Host>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        Genuine::from_request_parts(&mut parts, host).await?;
        let headers = std::mem::take(&mut parts.headers);
        let request = Request::from_parts(parts, body);
        let body = Bytes::from_request(request, &()).await.map_err(IntoResponse::into_response)?;
        Ok(Self { app: Arc::clone(&host.app), headers, body })
    }
}
