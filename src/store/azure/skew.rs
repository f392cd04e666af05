//! How far our clock is from the service's, by the `Date` of its replies.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use time::OffsetDateTime;

use super::fault::http_date;

/// The distance as last seen.
///
/// Only what is certain counts: `Date` has whole seconds and the reply took its time, so clocks
/// that may agree are taken to agree.
#[derive(Debug, Default)]
pub(crate) struct ClockSkew {
    millis: AtomicU64,
}

impl ClockSkew {
    /// Learns from a reply that was asked for and came at these times. A reply without a date
    /// teaches nothing.
    pub(crate) fn note(&self, date: Option<&str>, asked: OffsetDateTime, answered: OffsetDateTime) {
        let Some(stamped) = date.and_then(http_date) else { return };
        let ahead = stamped - answered;
        let behind = asked - (stamped + Duration::from_secs(1));
        let certain = ahead.max(behind).whole_milliseconds().clamp(0, i128::from(u32::MAX));
        self.millis.store(u64::try_from(certain).unwrap_or(0), Ordering::Relaxed);
    }

    /// The distance as last seen.
    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn only_what_is_certain_counts() {
        let asked = datetime!(2026-11-24 10:00:00.5 UTC);
        let answered = datetime!(2026-11-24 10:00:02.5 UTC);
        let skew = |date: &str| {
            let skew = ClockSkew::default();
            skew.note(Some(date), asked, answered);
            skew.get().as_millis()
        };
        assert_eq!(skew("Tue, 24 Nov 2026 10:00:00 GMT"), 0, "stamped in the second in which we asked");
        assert_eq!(skew("Tue, 24 Nov 2026 10:00:02 GMT"), 0);
        assert_eq!(skew("Tue, 24 Nov 2026 10:00:12 GMT"), 9_500, "the service is ahead");
        assert_eq!(skew("Tue, 24 Nov 2026 09:59:50 GMT"), 9_500, "the service is behind");
    }

    #[test]
    fn the_last_date_is_what_counts() {
        let now = datetime!(2026-11-24 10:00:00 UTC);
        let skew = ClockSkew::default();
        skew.note(Some("Tue, 24 Nov 2026 10:01:00 GMT"), now, now);
        skew.note(None, now, now);
        skew.note(Some("nonsense"), now, now);
        assert_eq!(skew.get(), Duration::from_secs(60));
        skew.note(Some("Tue, 24 Nov 2026 10:00:00 GMT"), now, now);
        assert_eq!(skew.get(), Duration::ZERO);
    }
}
