//! Everything that can go wrong between us and the service, without an address or a secret in it.

use std::time::Duration;

use azure_core::error::{Error, ErrorKind};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// Why an exchange with the service did not succeed.
///
/// It travels through the SDK inside its error and is taken out again by [`Fault::of`]; whatever
/// the SDK itself says is dropped, because its texts hold whole replies and addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The service (or a part of a transaction's reply) says no.
    #[error("status {status} {code}")]
    Answer {
        /// HTTP status: of the failing operation where a transaction failed.
        status: u16,
        /// The service's error code; empty when it gave none.
        code: String,
        /// The failing operation, where the service said so.
        index: Option<usize>,
        /// How long to wait, where the service said so.
        retry_after: Option<Duration>,
    },
    /// No connection was made.
    #[error("the service cannot be reached")]
    Unreachable,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection ended before the answer did.
    #[error("the connection was lost")]
    Broken,
    /// The answer is larger than what is taken into memory.
    #[error("the answer is too large")]
    TooLarge,
    /// An answer that is not what the protocol says.
    #[error("the answer makes no sense")]
    Senseless,
    /// No credential, so nothing was sent.
    #[error("no token from the managed identity")]
    NoToken,
}

impl Fault {
    /// What really happened, out of the SDK's error.
    pub(crate) fn of(error: &Error) -> Self {
        if let Some(fault) = error.downcast_ref::<Self>() {
            return fault.clone();
        }
        match error.kind() {
            ErrorKind::Credential => Self::NoToken,
            ErrorKind::Io => Self::Broken,
            _ => Self::Senseless,
        }
    }

    /// From the HTTP client, whose own text holds the address.
    pub(crate) fn of_http(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            Self::Unreachable
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Broken
        }
    }

    /// How long the service asks us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::new(ErrorKind::Io, fault)
    }
}

/// An HTTP date.
pub(crate) fn http_date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text.trim(), &Rfc2822).ok()
}

/// `Retry-After`: seconds, or the time at which to come back. At most an hour is believed.
pub(crate) fn retry_after(text: &str, now: OffsetDateTime) -> Option<Duration> {
    const MOST: Duration = Duration::from_secs(3_600);
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (http_date(text)? - now).try_into().unwrap_or(Duration::ZERO),
    };
    Some(wait.min(MOST))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = datetime!(2026-11-24 10:00:00 UTC);
        let read = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("Tue, 24 Nov 2026 10:00:30 GMT"), Some(30));
        assert_eq!(read("Tue, 24 Nov 2026 09:00:00 GMT"), Some(0));
        assert_eq!(read("999999999"), Some(3_600));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
    }

    #[test]
    fn a_fault_survives_the_sdk_and_nothing_else_does() {
        let fault = Fault::TooLarge;
        assert_eq!(Fault::of(&Error::from(fault.clone())), fault);
        let secret = Error::message(ErrorKind::DataConversion, "https://acme?sig=secret");
        assert_eq!(Fault::of(&secret).to_string(), "the answer makes no sense");
        let credential = Error::full(ErrorKind::Credential, Error::from(Fault::TimedOut), "no bearer token");
        assert_eq!(Fault::of(&credential), Fault::NoToken);
    }
}
