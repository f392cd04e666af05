//! Points in time, always UTC, always RFC 3339 on the outside.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::ids::Invalid;

/// A point in time with nanosecond resolution, kept in UTC.
///
/// Printed as RFC 3339 with as many fractional digits as it has, so that a sender's
/// microseconds survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Parses RFC 3339 and moves it to UTC; `field` names it in the error.
    ///
    /// # Errors
    /// [`Invalid`] when it is not RFC 3339 or leaves the years 0001 to 9999.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let broken =
            || Invalid::new(field, "must be an RFC 3339 date-time, such as 2026-01-31T12:00:00.000001Z");
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| broken())?;
        let utc = parsed.checked_to_offset(UtcOffset::UTC).ok_or_else(broken)?;
        if (1..=9999).contains(&utc.year()) { Ok(Self(utc)) } else { Err(broken()) }
    }

    /// The point in time `nanos` nanoseconds after 1970-01-01T00:00:00Z.
    ///
    /// Out-of-range values are clamped to the years that RFC 3339 can write.
    pub fn from_unix_nanos(nanos: i128) -> Self {
        const LAST: i128 = 253_402_300_799_999_999_999; // 9999-12-31T23:59:59.999999999Z
        const FIRST: i128 = -62_135_596_800_000_000_000; // 0001-01-01T00:00:00Z
        let clamped = nanos.clamp(FIRST, LAST);
        Self(OffsetDateTime::from_unix_timestamp_nanos(clamped).unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub fn unix_nanos(self) -> i128 {
        self.0.unix_timestamp_nanos()
    }

    /// Whole microseconds since 1970-01-01T00:00:00Z; 0 before it.
    pub fn unix_micros(self) -> u64 {
        u64::try_from(self.unix_nanos().div_euclid(1_000)).unwrap_or_default()
    }

    /// The time elapsed since `earlier`, or zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0 - earlier.0).unwrap_or(Duration::ZERO)
    }

    /// The moment `later` than this one.
    pub fn plus(self, later: Duration) -> Self {
        let nanos = i128::try_from(later.as_nanos()).unwrap_or(i128::MAX);
        Self::from_unix_nanos(self.unix_nanos().saturating_add(nanos))
    }

    /// The moment `earlier` than this one.
    pub fn minus(self, earlier: Duration) -> Self {
        Self::from_unix_nanos(
            self.unix_nanos().saturating_sub(i128::try_from(earlier.as_nanos()).unwrap_or(i128::MAX)),
        )
    }

    /// This moment cut to whole microseconds: the resolution in which we record.
    pub fn to_micros(self) -> Self {
        Self::from_unix_nanos(self.unix_nanos().div_euclid(1_000) * 1_000)
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(moment: OffsetDateTime) -> Self {
        Self::from_unix_nanos(moment.unix_timestamp_nanos())
    }
}

/// Length of the longest: `2026-01-31T12:00:00.000000001Z`.
const LONGEST: usize = 30;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; LONGEST];
        let mut rest = text.as_mut_slice();
        // Years 1 to 9999 in UTC always format; the type holds no others.
        self.0.format_into(&mut rest, &Rfc3339).map_err(|_| fmt::Error)?;
        let length = LONGEST - rest.len();
        f.write_str(std::str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse("time", &text).map_err(serde::de::Error::custom)
    }
}

/// Tells the time. Nothing below `main` asks the system itself, so that tests own the clock.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        OffsetDateTime::now_utc().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_with_an_offset_becomes_utc_and_keeps_its_microseconds() {
        let t = Timestamp::parse("time", "2026-01-31T13:00:00.000001+01:00").unwrap();
        assert_eq!(t.to_string(), "2026-01-31T12:00:00.000001Z");
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for bad in ["", "2026-01-31", "yesterday", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z"] {
            assert!(Timestamp::parse("time", bad).is_err(), "{bad:?} was taken");
        }
    }
}
