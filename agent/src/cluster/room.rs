//! Room on the leader's disk: new changes are refused before it is full.
//!
//! A write that fails stops a node, and all nodes have the same to write: without this, changes would go on until the
//! last one of a majority has stopped. What ends something, takes something away or keeps the group together is taken
//! on: it is little, and may be what makes room.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quorate_raft_store::Command;

/// The leader has too little free disk for new changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRoom {
    /// The leader's name.
    pub node: String,
    /// What is free on the disk of its data directory.
    pub free_bytes: u64,
    /// What has to be.
    pub needed_bytes: u64,
}

/// What is known of the room on this node's disk.
#[derive(Debug)]
pub(super) struct Room {
    least_free_bytes: u64,
    short: Mutex<Option<Short>>,
}

/// There is too little of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Short {
    free_bytes: u64,
    needed_bytes: u64,
}

impl Room {
    /// Below so many free bytes, and what a snapshot needs, changes are refused; 0: never.
    pub(super) fn new(least_free_bytes: u64) -> Self {
        Room { least_free_bytes, short: Mutex::default() }
    }

    /// Whether there is too little.
    pub(super) fn is_short(&self) -> bool {
        self.short().is_some()
    }

    fn short(&self) -> MutexGuard<'_, Option<Short>> {
        self.short.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that so much is free, and that the newest snapshot has so many bytes: the next one is written beside it.
    /// Whether changes are refused now, if that is new. They are taken again when there is a quarter more than needed.
    pub(super) fn measured(&self, free_bytes: u64, snapshot_bytes: u64) -> Option<bool> {
        if self.least_free_bytes == 0 {
            return None;
        }
        let needed_bytes = self.least_free_bytes + snapshot_bytes;
        let mut short = self.short();
        let was_short = short.is_some();
        let enough = needed_bytes + needed_bytes / 4;
        let bound = if was_short { enough } else { needed_bytes };
        *short = (free_bytes < bound).then_some(Short { free_bytes, needed_bytes: enough });
        (was_short != short.is_some()).then_some(short.is_some())
    }

    /// Whether the node of this name takes the change if it leads.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub(super) fn check(&self, command: &Command, node: impl FnOnce() -> String) -> Result<(), NoRoom> {
        match *self.short() {
            Some(Short { free_bytes, needed_bytes }) if !is_taken_on(command) => {
                Err(NoRoom { node: node(), free_bytes, needed_bytes })
            }
            _ => Ok(()),
        }
    }
}

/// Whether a change is taken on where there is next to no room.
fn is_taken_on(command: &Command) -> bool {
    match command {
        // They end what was begun, or take away.
        Command::RecordRequest(_)
        | Command::InstallLicense(_)
        | Command::CloseActivation(_)
        | Command::RevokeToken(_)
        | Command::AdvanceCa(_)
        // They keep the group together.
        | Command::InitCluster(_)
        | Command::RemoveNode(_)
        | Command::ReplaceNode(_)
        | Command::ReportNode(_)
        | Command::ReportStart(_)
        | Command::ReportCertificate(_)
        | Command::RaiseFeatureLevel(_)
        | Command::Tick(_)
        | Command::AgreeTime(_)
        | Command::ConfirmTime(_) => true,
        Command::AdmitNode(_)
        | Command::CreateToken(_)
        | Command::BeginActivation(_)
        | Command::RenameNode(_)
        | Command::RotateCa(_)
        | Command::RequestJoin(_)
        | Command::DecideJoin(_)
        | Command::SetTelemetry(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft_store::{
        command::{RevokeToken, SetTelemetry, Tick},
        state::TokenId,
    };

    use super::*;

    #[test]
    fn changes_are_refused_below_the_limit_and_taken_again_well_above_it() {
        let room = Room::new(100);
        let refused = || {
            let change = Command::SetTelemetry(SetTelemetry { enabled: true, requested_by: "me".to_owned() });
            room.check(&change, || "ms-1".to_owned()).err()
        };
        assert_eq!((room.measured(1_000, 20), refused()), (None, None));
        assert_eq!((room.measured(120, 20), refused()), (None, None));
        assert_eq!(room.measured(119, 20), Some(true));
        assert_eq!(
            refused(),
            Some(NoRoom { node: "ms-1".to_owned(), free_bytes: 119, needed_bytes: 120 + 30 })
        );
        assert_eq!((room.measured(149, 20), refused().is_some()), (None, true));
        for goes_on in [Command::Tick(Tick {}), Command::RevokeToken(RevokeToken { id: TokenId(1) })] {
            room.check(&goes_on, || "ms-1".to_owned()).unwrap();
        }
        assert_eq!((room.measured(150, 20), refused()), (Some(false), None));
        assert_eq!(Room::new(0).measured(0, 20), None);
    }
}
