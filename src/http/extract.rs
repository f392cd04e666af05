//! What handlers are handed: parsed, or the request has been answered already.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};

use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::{
    domain::{
        event::Expected,
        ids::{Category, Invalid, StreamId, StreamName, TenantId},
        timestamp::Timestamp,
    },
    host::App,
    links,
    store::registry::Tenant,
};

/// Most items on one page.
pub(super) const MAX_LIMIT: usize = 1_000;
/// Items on a page where the caller does not say.
const DEFAULT_LIMIT: usize = 100;

/// The tenant that a path names.
pub(super) async fn tenant(app: &App, segment: &str) -> Result<Arc<Tenant>, Problem> {
    let id = tenant_id(segment)?;
    let found = app.store.registry().get(&id).await?;
    found.ok_or_else(|| Problem::not_found("unknown-tenant", "tenant"))
}

/// The id of a tenant in a path.
pub(super) fn tenant_id(segment: &str) -> Result<TenantId, Problem> {
    Ok(TenantId::parse(links::from_segment("tenant", segment)?)?)
}

/// The stream that a path names.
pub(super) fn stream_name(category: &str, id: &str) -> Result<StreamName, Problem> {
    let category = Category::parse(links::from_segment("category", category)?)?;
    Ok(StreamName::new(category, StreamId::parse(links::from_segment("id", id)?)?))
}

/// How many items a caller wants on a page.
pub(super) fn limit(given: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = given else { return Ok(DEFAULT_LIMIT) };
    let rule = || Invalid::new("limit", format!("must be a number from 1 to {MAX_LIMIT}"));
    let limit = text.parse().map_err(|_| rule())?;
    if (1..=MAX_LIMIT).contains(&limit) { Ok(limit) } else { Err(rule().into()) }
}

/// A version in a query.
pub(super) fn version(field: &str, given: Option<&str>) -> Result<Option<u64>, Problem> {
    let parse = |text: &str| {
        let number = text.parse().ok().filter(|version| (1..=999_999_999_999).contains(version));
        number.ok_or_else(|| Invalid::new(field, "must be a version: a number from 1 on").into())
    };
    given.map(parse).transpose()
}

/// A point in time in a query.
pub(super) fn time(field: &str, given: Option<&str>) -> Result<Option<Timestamp>, Invalid> {
    given.map(|text| Timestamp::parse(field, text)).transpose()
}

/// Event types in a query, joined by commas, each exact or a prefix ending in `*`.
pub(super) fn types(text: &str) -> Result<Vec<String>, Invalid> {
    let types: Vec<String> = text.split(',').map(str::to_owned).collect();
    if types.len() > 32 || types.iter().any(|name| name.is_empty() || name.len() > 512) {
        return Err(Invalid::new("type", "must be at most 32 event types joined by commas"));
    }
    Ok(types)
}

/// What `If-Match` and `If-None-Match` say about the stream: the ETag of a stream is its version.
pub(super) fn precondition(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let one = |name: header::HeaderName| -> Result<Option<&str>, Problem> {
        let mut values = headers.get_all(&name).iter();
        let value = values.next().map(|value| value.to_str().unwrap_or_default().trim());
        if values.next().is_some() {
            return Err(Invalid::new(name.as_str(), "must be sent once").into());
        }
        Ok(value)
    };
    match (one(header::IF_MATCH)?, one(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Expected::StreamExists)),
        (None, Some("*")) => Ok(Some(Expected::NoStream)),
        (Some(tag), None) => {
            let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let exact = version.and_then(|version| version.parse().ok()).map(Expected::Exact);
            let rule = || Invalid::new("if-match", "must be `*` or the ETag of the stream, such as \"7\"");
            exact.map(Some).ok_or_else(|| rule().into())
        }
        _ => Err(Invalid::new("if-none-match", "must be `*`, and not come with If-Match").into()),
    }
}

/// The content type of a request, if it has a readable one.
pub(super) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// The JSON body of a request.
pub(super) fn json<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the body is not {what}: {}", without_values(&error.to_string()));
        Problem::new(StatusCode::BAD_REQUEST, "invalid-request", detail)
    })
}

/// What serde says of a body, without the text that it found there: that may be anything.
fn without_values(said: &str) -> String {
    for (before, after) in [("string \"", "\", expected"), ("unknown variant `", "`, expected")] {
        if let Some((start, rest)) = said.split_once(before)
            && let Some((_, end)) = rest.rsplit_once(after)
        {
            let kind = before.trim_end_matches([' ', '"', '`']);
            return format!("{start}{kind}, expected{end}");
        }
    }
    said.to_owned()
}

/// A body that the Functions host can have passed on: it drops those without a length.
pub(super) fn check_length(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Ok(());
    }
    let detail = "the Functions host passes a body on only when its Content-Length is given";
    Err(Problem::new(StatusCode::LENGTH_REQUIRED, "length-required", detail))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::access::Role;

    #[test]
    fn a_body_is_explained_and_never_repeated() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only what is wrong with it counts")]
        struct Body {
            count: u32,
            roles: Vec<Role>,
        }
        for bad in [r#"{"count":"hunter2 \", expected"}"#, r#"{"count":1,"roles":["hunter2"]}"#] {
            let problem = format!("{:?}", json::<Body>("a body", bad.as_bytes()).unwrap_err());
            assert!(!problem.contains("hunter2"), "{problem}");
            assert!(problem.contains("expected") && problem.contains("line 1"), "{problem}");
        }
    }
}
