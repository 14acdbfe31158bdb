//! The only place that asks the system's clocks for the time of day, and the cluster's time.
//!
//! What is replicated is judged by the [cluster's time](ClusterClock), on which the voters' clocks agree; a node's own
//! clock is what it tells the others, and what people are shown that look at this machine.

mod cluster;

use quorate_license::Timestamp;

pub use cluster::ClusterClock;

/// The time of day by this machine's clock.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
