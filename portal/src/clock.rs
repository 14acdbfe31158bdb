//! The one place that asks what time it is.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quorate_license::Timestamp;

/// The time of day.
#[allow(clippy::disallowed_methods, reason = "this is the crate's clock module")]
pub fn now() -> Timestamp {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Timestamp::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// A point of the clock that never goes back, for measuring how long something takes.
pub fn instant() -> Instant {
    Instant::now()
}
