//! The one place where errors become `application/problem+json` (RFC 9457).
//!
//! Every problem has a stable `code`. What went wrong inside goes to the log, never into the answer.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::gate::NotADelegate;
use crate::{
    access::Refused,
    domain::{cloud_event::DecodeError, ids::Invalid},
    feed::all_stream::ReadFailure,
    store::{
        StoreError, append::Refusal, dead_letters::DeadLetterError, history::HistoryError,
        registry::RegistryError,
    },
    telemetry::chain,
};

const NOT_A_DELEGATE: &str = "not-a-delegate";

/// An answer that says no.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    members: Map<String, Value>,
    /// Seconds.
    retry_after: u64,
}

impl Problem {
    /// A problem with a code and a sentence for the caller.
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), members: Map::new(), retry_after: 1 }
    }

    /// Adds a member.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The same with another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// A field that broke a rule.
    pub(super) fn invalid(code: &'static str, invalid: &Invalid) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, invalid.to_string()).with("field", invalid.field.clone())
    }

    /// Something that does not exist.
    pub(super) fn not_found(code: &'static str, what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, format!("there is no such {what}"))
    }

    /// What the caller may not do: the same sentence whether or not it exists.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "the caller may not do this here")
    }

    /// Nobody is known to be calling.
    pub(super) fn unauthenticated() -> Self {
        let detail = "send a credential that is taken here: see the documentation of `ANNALS_AUTH`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// The tenant asks too often.
    pub(super) fn too_many(wait: Duration) -> Self {
        let detail = "the tenant asks too often of this instance";
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self {
            retry_after: seconds.max(1),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail)
        }
    }

    /// Something that may pass, said already.
    pub(super) fn busy(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// Something that may pass. The cause goes to the log.
    pub(super) fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(evt = "http.unavailable", error = chain(cause), "a request failed for now");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "storage did not answer: send it again, as it is",
        )
    }

    /// Something that should not happen. The cause goes to the log.
    pub(super) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(evt = "http.internal-error", error = chain(cause), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", "something went wrong on our side")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:annals:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.members);
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.code == NOT_A_DELEGATE {
            response.extensions_mut().insert(NotADelegate);
        }
        response
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::invalid("invalid-request", &invalid)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::new(StatusCode::FORBIDDEN, NOT_A_DELEGATE, refused.to_string())
    }
}

impl From<DecodeError> for Problem {
    fn from(DecodeError { code, invalid }: DecodeError) -> Self {
        let too_large =
            [DecodeError::DATA_TOO_LARGE, DecodeError::ENVELOPE_TOO_LARGE, DecodeError::TOO_MANY_EVENTS];
        let problem = Self::invalid(code, &invalid);
        match too_large.contains(&code) {
            true => Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..problem },
            false => problem,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::unavailable(&error),
            StoreError::HoldsSecret { index, field } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error.to_string())
                    .with("index", index)
                    .with("field", field)
            }
            StoreError::Reserved { index } => {
                Self::new(StatusCode::FORBIDDEN, error.code(), error.to_string()).with("index", index)
            }
            StoreError::Closed => Self::new(StatusCode::CONFLICT, error.code(), error.to_string()),
            StoreError::SpansPartitions => Self::new(
                StatusCode::BAD_REQUEST,
                "spans-partitions",
                "the events belong to streams in different partitions, and no one commit can hold them",
            ),
            StoreError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let problem = |status, code| Self::new(status, code, detail);
        let code = refusal.code();
        match refusal {
            Refusal::VersionConflict { index, stream, expected, actual } => {
                problem(StatusCode::CONFLICT, code)
                    .with("index", index)
                    .with("stream", stream.to_string())
                    .with("expected", json!(expected))
                    .with("actual", actual)
            }
            Refusal::IdentityReused { index, first } => problem(StatusCode::CONFLICT, code)
                .with("index", index)
                .with("stream", first.essentials.stream_name().to_string())
                .with("version", first.essentials.version)
                .with("position", json!(first.position())),
            Refusal::IdentityRepeated { index } => problem(StatusCode::CONFLICT, code).with("index", index),
            Refusal::BatchTooLarge => problem(StatusCode::PAYLOAD_TOO_LARGE, code),
            Refusal::AmendmentStale => problem(StatusCode::CONFLICT, code),
            Refusal::NotStorable { .. } => problem(StatusCode::UNPROCESSABLE_ENTITY, code),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Read(_) => Self::unavailable(&error),
            HistoryError::Bad(_) => Self::internal(&error),
        }
    }
}

impl From<ReadFailure> for Problem {
    fn from(error: ReadFailure) -> Self {
        match error {
            ReadFailure::Changed => {
                let detail = "the log is not the one in which this cursor was given: it was rewound, by a restore \
                              or a failover; read again from a place that you trust";
                Self::new(StatusCode::GONE, "history-changed", detail)
            }
            ReadFailure::History(error) => error.into(),
        }
    }
}

impl From<DeadLetterError> for Problem {
    fn from(error: DeadLetterError) -> Self {
        match error {
            DeadLetterError::Read(_) | DeadLetterError::Write(_) => Self::unavailable(&error),
            DeadLetterError::Bad(_) => Self::internal(&error),
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Fixed(field) => {
                Self::new(StatusCode::CONFLICT, "fixed", error.to_string()).with("field", field)
            }
            RegistryError::System => Self::new(StatusCode::CONFLICT, "system-tenant", error.to_string()),
            RegistryError::NotClosed => Self::new(StatusCode::CONFLICT, "not-closed", error.to_string()),
            RegistryError::NoStorage(_) => Self::new(StatusCode::CONFLICT, "no-storage", error.to_string()),
            RegistryError::UnknownTenant => Self::not_found("unknown-tenant", "tenant"),
            RegistryError::UnknownKey => Self::not_found("unknown-key", "key"),
            RegistryError::Busy => Self::new(StatusCode::CONFLICT, "busy", error.to_string()),
            RegistryError::Write(_) | RegistryError::Read(_) => Self::unavailable(&error),
            RegistryError::Bad(_) => Self::internal(&error),
        }
    }
}
