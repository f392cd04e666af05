//! The guarded transport: what the SDK sends and receives passes through here and is put right.
//!
//! What it guards against: a new connection for every request, no time-out, a failed transaction that looks like a success, an
//! error code that only a header carries, a reply without end. Nothing that a signature covers is
//! changed: Shared Key signs method, `Content-Type`, `x-ms-date` and path for tables, and for
//! queues, whose requests pass unchanged, all headers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{Body, BytesStream, HttpClient, Method, Request, Response, StatusCode, headers::Headers};
use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, DATE, HeaderMap, RETRY_AFTER};
use time::OffsetDateTime;

use super::{
    batch::{self, ODataError},
    fault::{self, Fault},
    skew::ClockSkew,
    throttle::Throttle,
};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a whole answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are closed before the service closes them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Most connections kept for one endpoint: as many as invocations are in flight.
const IDLE_CONNECTIONS: usize = 64;
/// Largest answer that is taken into memory.
pub(crate) const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// Types where JSON alone does not tell them, and versions; half the size of full metadata.
const MINIMAL: &str = "application/json;odata=minimalmetadata";

/// The HTTP client that all requests to storage share.
///
/// # Errors
/// When the TLS library cannot be set up.
pub(crate) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tcp_nodelay(true)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// One exchange with the service for each call of the SDK; never a second one.
#[derive(Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    skew: Arc<ClockSkew>,
    throttle: Throttle,
    most: usize,
}

impl Transport {
    /// Sends through `http` and tells `skew` what the time is at the service.
    pub(crate) fn new(http: reqwest::Client, skew: Arc<ClockSkew>) -> Self {
        Self { http, skew, throttle: Throttle::default(), most: MAX_ANSWER }
    }

    async fn exchange(&self, request: &Request) -> Result<Response, Fault> {
        let batch = request.url().path().ends_with("/$batch");
        let outgoing = self.outgoing(request, batch)?;
        let asked = OffsetDateTime::now_utc();
        let answer = self.http.execute(outgoing).await.map_err(|error| Fault::of_http(&error))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        self.skew.note(header(&headers, DATE.as_str()), asked, OffsetDateTime::now_utc());
        let body = self.collect(answer).await?;
        let body = interpret(status, &headers, body, batch)?;
        let status = StatusCode::try_from(status).map_err(|_| Fault::Senseless)?;
        Ok(Response::new(status, for_the_sdk(&headers), Box::pin(BytesStream::new(body))))
    }

    fn outgoing(&self, request: &Request, batch: bool) -> Result<reqwest::Request, Fault> {
        let method = reqwest::Method::from_bytes(request.method().as_ref().as_bytes());
        let Body::Bytes(body) = request.body() else { return Err(Fault::Senseless) };
        let mut outgoing = self
            .http
            .request(method.map_err(|_| Fault::Senseless)?, request.url().clone())
            .body(body.clone());
        let light = batch || *request.method() == Method::Get;
        for (name, value) in request.headers().iter() {
            // The length is that of our body; the client writes it.
            if name.as_str() != CONTENT_LENGTH.as_str() && !(light && name.as_str() == ACCEPT.as_str()) {
                outgoing = outgoing.header(name.as_str(), value.as_str());
            }
        }
        if light {
            outgoing = outgoing.header(ACCEPT, MINIMAL);
        }
        outgoing.build().map_err(|_| Fault::Senseless)
    }

    async fn collect(&self, mut answer: reqwest::Response) -> Result<Bytes, Fault> {
        let most = self.most;
        let announced = answer.content_length().unwrap_or(0);
        if announced > most as u64 {
            return Err(Fault::TooLarge);
        }
        let mut body = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(chunk) = answer.chunk().await.map_err(|error| Fault::of_http(&error))? {
            if body.len() + chunk.len() > most {
                return Err(Fault::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<Response> {
        let answer = self.exchange(request).await;
        Ok(answer.inspect_err(|fault| self.throttle.note(fault))?)
    }
}

/// The body of a success, or what the service says is wrong.
fn interpret(status: u16, headers: &HeaderMap, body: Bytes, batch: bool) -> Result<Bytes, Fault> {
    let retry_after = header(headers, RETRY_AFTER.as_str())
        .and_then(|text| fault::retry_after(text, OffsetDateTime::now_utc()));
    if !(200..300).contains(&status) {
        let code = header(headers, "x-ms-error-code").map(str::to_owned);
        let code = code.or_else(|| ODataError::read(&body).map(|error| error.code)).unwrap_or_default();
        return Err(Fault::Answer { status, code, index: None, retry_after });
    }
    if !batch {
        return Ok(body);
    }
    match batch::read(&body) {
        Ok(plain) => Ok(plain.into()),
        Err(Fault::Answer { status, code, index, .. }) => {
            Err(Fault::Answer { status, code, index, retry_after })
        }
        Err(fault) => Err(fault),
    }
}

/// The reply's headers as the SDK wants them. It takes a success for a failure when one of four is
/// missing that we never read; a proxy that strips `Server` must not cost us every write.
fn for_the_sdk(headers: &HeaderMap) -> Headers {
    let mut wanted = Headers::new();
    wanted.insert("server", "-");
    wanted.insert("x-ms-request-id", "00000000-0000-0000-0000-000000000000");
    wanted.insert("x-ms-version", "-");
    wanted.insert("date", "Thu, 01 Jan 1970 00:00:00 GMT");
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            wanted.insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    wanted
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests;
