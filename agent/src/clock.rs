//! The only place that asks the system's clocks for the time of day.

use quorate_license::Timestamp;

/// The time of day by this machine's clock.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// The time by which licenses are judged: the cluster's, carried on by this machine's clock. It is
/// never earlier than what the cluster has agreed on.
pub fn judging_time(cluster_time: Timestamp) -> Timestamp {
    now().max(cluster_time)
}
