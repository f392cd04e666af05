//! The guard in front of the functions.
//!
//! A path that the host forwards can be made to collapse onto `/ingest` (`%252e%252e`): a forged
//! invocation. A function therefore takes an [`Invocation`], which is made of a request only when its
//! `Host` is our own loopback address: a forwarded request keeps the public one.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, Method, StatusCode, header::HOST},
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

/// An invocation by the Functions host itself.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) app: Arc<App>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Invocation {
    fn is_genuine(request: &Request, own: &str) -> bool {
        let mut hosts = request.headers().get_all(HOST).iter();
        let ours = hosts.next().is_some_and(|host| host.as_bytes() == own.as_bytes());
        ours && hosts.next().is_none() && request.uri().authority().is_none()
    }
}

impl FromRequest<Arc<Host>> for Invocation {
    type Rejection = Response;

    async fn from_request(mut request: Request, host: &Arc<Host>) -> Result<Self, Response> {
        if !Self::is_genuine(&request, &host.own) {
            tracing::warn!(evt = "host.forged-invocation", path = request.uri().path(), "refused");
            return Err(StatusCode::NOT_FOUND.into_response());
        }
        if request.method() != Method::POST {
            return Err(StatusCode::METHOD_NOT_ALLOWED.into_response());
        }
        let headers = std::mem::take(request.headers_mut());
        let body = Bytes::from_request(request, &()).await.map_err(IntoResponse::into_response)?;
        Ok(Self { app: Arc::clone(&host.app), headers, body })
    }
}
