//! The cluster's time on the administrators' face.

use quorate_license::Timestamp;
use quorate_proto::v1 as proto;

use crate::service::{Held, TimeStatus};

pub(super) fn status(status: TimeStatus) -> proto::ShowTimeResponse {
    let clock = |clock: crate::service::ClockStatus| proto::NodeClock {
        node: clock.node.0,
        name: clock.name.to_string(),
        role: clock.role.to_string(),
        ahead_ms: clock.ahead_ms,
        off: clock.off,
    };
    let held = |held: Held| proto::HeldJump {
        from_ms: held.from.as_unix_ms(),
        to_ms: held.to.as_unix_ms(),
        since_ms: held.since.as_unix_ms(),
        until_ms: held.until.as_unix_ms(),
        reported_by: held.reported_by,
    };
    proto::ShowTimeResponse {
        now_ms: status.now.as_unix_ms(),
        agreed_at_ms: status.agreed_at.map(Timestamp::as_unix_ms),
        ahead_ms: status.ahead_ms,
        clocks: status.clocks.into_iter().map(clock).collect(),
        held: status.held.map(held),
    }
}
