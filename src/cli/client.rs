//! How a command reaches a tenant: over HTTP, or on storage itself. Both speak the same API, so that a
//! command is written once.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use axum::{Router, body::Body, http::Request};
use clap::Args;
use reqwest::{StatusCode, header::HeaderMap};
use tower::ServiceExt;

use super::store::Where;
use crate::{domain::ids::TenantId, host::App, http, links};

/// Where a tenant is.
#[derive(Debug, Args)]
pub(super) struct Reach {
    /// The tenant.
    #[arg(long)]
    pub(super) tenant: TenantId,
    /// Base of a running system, such as https://annals.example; credentials come from ANNALS_API_KEY or
    /// ANNALS_TOKEN. Without it the command works on storage itself.
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    place: Where,
}

/// A way to a tenant.
pub(super) enum Client {
    Remote { client: reqwest::Client, base: String, headers: HeaderMap },
    Local { app: Arc<App>, router: Router },
}

/// An answer that is a success.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reach {
    /// Opens it.
    pub(super) fn open(&self) -> anyhow::Result<Client> {
        if let Some(url) = &self.url {
            let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
            let base = format!("{}/api", url.trim_end_matches('/'));
            return Ok(Client::Remote { client, base, headers: credentials()? });
        }
        let app = self.place.app()?;
        let router = http::local_router(&app);
        Ok(Client::Local { app, router })
    }

    /// A path below the tenant.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/tenants/{}/{rest}", links::segment(self.tenant.as_str()))
    }
}

fn credentials() -> anyhow::Result<HeaderMap> {
    let setting = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (name, value) = match (setting("ANNALS_API_KEY"), setting("ANNALS_TOKEN")) {
        (Some(_), Some(_)) => bail!("ANNALS_API_KEY and ANNALS_TOKEN are both set: one is enough"),
        (Some(key), None) => ("x-annals-key", key),
        (None, Some(token)) => ("authorization", format!("Bearer {token}")),
        (None, None) => return Ok(HeaderMap::new()),
    };
    let mut value =
        reqwest::header::HeaderValue::from_str(&value).context("the credential is no header value")?;
    value.set_sensitive(true);
    Ok([(reqwest::header::HeaderName::from_static(name), value)].into_iter().collect())
}

impl Client {
    /// Asks. An answer that says "later" is asked for again, for a while.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let mut pause = Duration::from_millis(200);
        loop {
            let (status, headers, body) = self.once(path).await?;
            if status.is_success() {
                return Ok(Answer { headers, body });
            }
            let later = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            if later && pause < Duration::from_secs(15) {
                tokio::time::sleep(pause).await;
                pause *= 2;
                continue;
            }
            bail!("{}", said(status, &body));
        }
    }

    async fn once(&self, path: &str) -> anyhow::Result<(StatusCode, HeaderMap, Vec<u8>)> {
        match self {
            Self::Remote { client, base, headers } => {
                let sent = client.get(format!("{base}{path}")).headers(headers.clone()).send().await;
                let response =
                    sent.map_err(|error| error.without_url()).context("the system does not answer")?;
                let (status, headers) = (response.status(), response.headers().clone());
                Ok((status, headers, response.bytes().await.map_err(|error| error.without_url())?.to_vec()))
            }
            Self::Local { router, .. } => {
                let request = Request::get(path).body(Body::empty())?;
                let response = router.clone().oneshot(request).await?;
                let (parts, body) = response.into_parts();
                Ok((parts.status, parts.headers, axum::body::to_bytes(body, usize::MAX).await?.to_vec()))
            }
        }
    }
}

/// What a refusal says, for a person.
fn said(status: StatusCode, body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let member = |name: &str| problem.as_ref().and_then(|problem| problem[name].as_str()).map(str::to_owned);
    match (member("detail"), member("code")) {
        (Some(detail), Some(code)) => format!("{detail} ({status}, {code})"),
        _ => format!("the system answered {status}"),
    }
}

/// Escapes a value of a query.
pub(super) fn escape(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}
