//! The cluster's time: what the clocks say, and the row that follows.

use quorate_license::ActivationKind;
use quorate_raft_store::{
    Command,
    command::{AgreeTime, ClockReading, ConfirmTime, InstallLicense},
    state::Method,
};

use super::{Specimen, row_specimen};
use crate::{replica::Replica, sample};

/// The clocks of three voters, of which the third is behind, and of a Spooler Controller, so many days ahead.
pub(super) fn agree(days: u32) -> AgreeTime {
    let clock = |index, ms| ClockReading {
        node: sample::node_id(index),
        time: sample::start().plus_days(days).plus_ms(ms),
    };
    AgreeTime {
        voters: 3,
        clocks: vec![clock(1, 1000), clock(2, 1500), clock(3, -7_200_000)],
        others: vec![clock(4, 90_000)],
    }
}

pub(super) fn confirm() -> ConfirmTime {
    ConfirmTime { since: sample::start(), requested_by: "anna".to_owned() }
}

/// The row with the time that was agreed on, and with a jump that is held and a time that the portal has signed.
pub(super) fn rows() -> Vec<Specimen> {
    let mut replica = Replica::with_nodes(4);
    replica.raise_level(4);
    let row = |replica: &Replica, name: &str| row_specimen(name, &[26], &replica.rows()[&vec![26]]);
    replica.accept(Command::AgreeTime(agree(0)));
    let agreed = row(&replica, "agreed_time");
    replica.request(1, ActivationKind::Trial, Method::Offline);
    let install: InstallLicense = sample::install(1, 4, 1);
    replica.accept(Command::InstallLicense(install));
    replica.accept(Command::AgreeTime(agree(30)));
    vec![agreed, row(&replica, "agreed_time.held")]
}
