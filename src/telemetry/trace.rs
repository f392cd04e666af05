//! W3C trace context: where a piece of work comes from, carried to whatever it stores.

use std::future::Future;

use axum::http::HeaderMap;
use tracing::Span;

use crate::domain::classify::is_traceparent;

tokio::task_local! {
    static CURRENT: Trace;
}

/// The `traceparent` of a request, if it had a good one. The Functions host may add it, and may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace(Option<Box<str>>);

impl Trace {
    /// That of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = headers.get("traceparent").and_then(|value| value.to_str().ok());
        Self::parse(text)
    }

    /// From text that may be missing or malformed.
    pub fn parse(text: Option<&str>) -> Self {
        Self(text.filter(|text| is_traceparent(text)).map(Into::into))
    }

    /// That of the work in whose [`Trace::scope`] this is called; none outside of any.
    pub fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Does work in this context: what it stores without a `traceparent` of its own gets this one.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Makes this the parent of a span that has not begun yet, as far as spans are exported.
    pub fn adopt(&self, span: &Span) {
        if let Some(traceparent) = self.traceparent() {
            super::otlp::adopt(span, traceparent);
        }
    }

    /// The whole text.
    pub fn traceparent(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The trace id in it: 32 hexadecimal digits.
    pub fn id(&self) -> Option<&str> {
        self.0.as_deref().and_then(|text| text.get(3..35))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_good_traceparent_counts() {
        assert_eq!(Trace::parse(Some(GOOD)).id(), Some("0af7651916cd43dd8448eb211c80319c"));
        for bad in [
            None,
            Some(""),
            Some("00-0-0-01"),
            Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
        ] {
            assert_eq!(Trace::parse(bad).id(), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn work_knows_where_it_comes_from_and_nothing_outside_does() {
        let inside = Trace::parse(Some(GOOD)).scope(async { Trace::current() }).await;
        assert_eq!(inside.traceparent(), Some(GOOD));
        assert_eq!(Trace::current(), Trace::default());
    }
}
