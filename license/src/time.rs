//! A point in time as data. This crate never asks a clock: callers bring the time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// One day in milliseconds.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Milliseconds since the Unix epoch, UTC.
///
/// Shown, and written to human-readable formats, as RFC 3339 (`2026-11-21T18:00:00Z`); binary
/// formats hold the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch: "never so far", where a time is needed.
    pub const ZERO: Timestamp = Timestamp(0);

    /// 9999-12-30: later times can not be written as RFC 3339 in every zone.
    pub const MAX: Timestamp = Timestamp(253_402_128_000_000);

    /// The time `ms` milliseconds after the Unix epoch, held within `ZERO..=MAX`.
    pub const fn from_unix_ms(ms: i64) -> Self {
        if ms < 0 {
            Self::ZERO
        } else if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Timestamp(ms)
        }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_unix_ms(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, as metrics show it.
    pub fn as_unix_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// This time moved by `ms` (which may be negative), held within `ZERO..=MAX`.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self::from_unix_ms(self.0.saturating_add(ms))
    }

    /// This time moved by whole days.
    #[must_use]
    pub const fn plus_days(self, days: u32) -> Self {
        self.plus_ms(days as i64 * DAY_MS)
    }

    /// Milliseconds from `earlier` to `self`; negative if `earlier` is later.
    pub const fn ms_since(self, earlier: Timestamp) -> i64 {
        self.0 - earlier.0
    }

    /// Whole days from `self` until `later`, rounded up, so that the last day counts as one;
    /// 0 once `later` has passed.
    pub const fn days_until(self, later: Timestamp) -> u32 {
        let ms = later.0 - self.0;
        if ms <= 0 { 0 } else { ((ms + DAY_MS - 1) / DAY_MS) as u32 }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// The text is not an RFC 3339 time between 1970 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time; write it as RFC 3339, for example 2026-11-21T18:00:00Z")]
pub struct ParseTimestampError(String);

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseTimestampError(text.to_owned());
        let ms = text.parse::<jiff::Timestamp>().map_err(|_| refused())?.as_millisecond();
        if (0..=Self::MAX.0).contains(&ms) { Ok(Timestamp(ms)) } else { Err(refused()) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            let ms = i64::deserialize(deserializer)?;
            if (0..=Self::MAX.0).contains(&ms) {
                Ok(Timestamp(ms))
            } else {
                Err(D::Error::custom("time out of range"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_round_up_so_the_last_day_counts() {
        let now = Timestamp::from_unix_ms(1_000);
        assert_eq!(now.days_until(now), 0);
        assert_eq!(now.days_until(now.plus_ms(1)), 1);
        assert_eq!(now.days_until(now.plus_days(30)), 30);
        assert_eq!(now.plus_days(1).days_until(now), 0);
    }

    #[test]
    fn text_and_json_are_rfc_3339() {
        let time: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-21T18:00:00Z");
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-11-21T18:00:00Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>("\"2026-11-21T18:00:00Z\"").unwrap(), time);
        assert_eq!(Timestamp::MAX.to_string().parse(), Ok(Timestamp::MAX));
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert!("1960-01-01T00:00:00Z".parse::<Timestamp>().is_err());
    }

    #[test]
    fn arithmetic_never_leaves_the_range() {
        assert_eq!(Timestamp::ZERO.plus_ms(-5), Timestamp::ZERO);
        assert_eq!(Timestamp::MAX.plus_days(u32::MAX), Timestamp::MAX);
    }
}
