//! Which computer this is now, beside the one that the cluster has registered.
//!
//! A changed machine id is no reason to stop: it is told with old and new, an activation is refused until an
//! administrator accepts it, and `Check` gives the node the time that a node has which is not bound yet.

use std::sync::{PoisonError, RwLock};

use quorate_license::{ComputerId, Timestamp};

use super::computer_id;
use crate::{config::Identity, data_dir::DataDir};

/// The host is another computer than the cluster has registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedComputer {
    /// What the cluster has.
    pub registered: ComputerId,
    /// What the host's machine id gives now.
    pub found: ComputerId,
    /// Since when.
    pub since: Timestamp,
}

/// Which computer this node is on.
#[derive(Debug)]
pub struct HostComputer {
    identity: Identity,
    dir: DataDir,
    /// What the administrator has accepted at this start.
    accepted: Option<ComputerId>,
    now: RwLock<Now>,
}

#[derive(Debug, Clone, Copy)]
struct Now {
    found: ComputerId,
    changed: Option<ChangedComputer>,
}

/// What a look at the host has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is as it was at the last look.
    Same,
    /// It has become another computer than the registered one.
    Changed(ChangedComputer),
    /// It is the registered computer again.
    Restored(ComputerId),
    /// Its machine id can't be read now; in words.
    Unreadable(String),
}

impl HostComputer {
    /// The computer that was found at the start; `accept` says that it may become the registered one.
    pub fn new(identity: Identity, dir: DataDir, found: ComputerId, accept: bool) -> Self {
        let now = RwLock::new(Now { found, changed: None });
        HostComputer { identity, dir, accepted: accept.then_some(found), now }
    }

    fn now(&self) -> Now {
        *self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the host's machine id gives, as of the last look.
    pub fn found(&self) -> ComputerId {
        self.now().found
    }

    /// Whether it is another computer than the registered one, as of the last look.
    pub fn changed(&self) -> Option<ChangedComputer> {
        self.now().changed
    }

    /// What the node reports of its computer: nothing new unless an administrator has accepted it.
    pub fn reported(&self, registered: ComputerId) -> ComputerId {
        self.accepted.unwrap_or(registered)
    }

    /// Reads the machine id again and compares it with the registered computer. Blocks on the disk.
    /// `now` is the cluster's time.
    pub fn look(&self, registered: ComputerId, now: Timestamp) -> Look {
        let (found, unreadable) = match computer_id(&self.identity) {
            Ok(found) => (found, None),
            Err(error) => (self.found(), Some(error.to_string())),
        };
        let before = self.now();
        // What was accepted is reported, and will be the registered one in a moment.
        let other = found != registered && self.accepted != Some(found);
        let changed = other.then(|| ChangedComputer { registered, found, since: self.since(found, now) });
        if changed.is_none() && before.changed.is_some() {
            // Left behind it would only shorten the time after another change.
            self.dir.clear_changed_computer();
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Now { found, changed };
        match (before.changed, changed) {
            (_, Some(changed)) if before.changed.map(|before| before.found) != Some(found) => {
                Look::Changed(changed)
            }
            (Some(_), None) => Look::Restored(found),
            _ => unreadable.map_or(Look::Same, Look::Unreadable),
        }
    }

    /// Since when this other computer has been found; kept over restarts.
    fn since(&self, found: ComputerId, now: Timestamp) -> Timestamp {
        match self.dir.changed_computer() {
            Some((known, since)) if known == found => since,
            _ => {
                if let Err(error) = self.dir.save_changed_computer(found, now) {
                    tracing::warn!(%error, "the change of the computer ID could not be noted");
                }
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use quorate_license::{ComputerIdSource, MachineId};

    use super::*;

    fn id(digit: char) -> ComputerId {
        let machine_id = MachineId::parse(&digit.to_string().repeat(32)).unwrap();
        ComputerId::derive(&machine_id, ComputerIdSource::Host)
    }

    #[test]
    fn a_changed_machine_id_is_noticed_kept_and_forgotten_when_it_is_back() {
        let at = Timestamp::from_unix_ms(1_800_000_000_000);
        let temp = tempfile::tempdir().unwrap();
        let (dir, file) = (DataDir::new(&temp.path().join("data")), temp.path().join("machine-id"));
        dir.create().unwrap();
        let write = |digit: char| fs::write(&file, digit.to_string().repeat(32)).unwrap();
        let identity = Identity { machine_id_file: Some(file.clone()), source: ComputerIdSource::Host };
        write('1');
        let computer = HostComputer::new(identity.clone(), dir.clone(), id('1'), false);
        assert_eq!(computer.look(id('1'), at), Look::Same);
        write('2');
        let Look::Changed(changed) = computer.look(id('1'), at) else { panic!("it was not noticed") };
        assert_eq!((changed.registered, changed.found), (id('1'), id('2')));
        assert_eq!(computer.look(id('1'), at), Look::Same, "it is told once");
        assert_eq!((computer.found(), computer.reported(id('1'))), (id('2'), id('1')));

        // Over a restart the time runs on.
        let again = HostComputer::new(identity.clone(), dir.clone(), id('2'), false);
        assert_eq!(again.look(id('1'), at), Look::Changed(changed));
        fs::write(&file, "").unwrap();
        assert!(matches!(again.look(id('1'), at), Look::Unreadable(_)));
        assert_eq!(again.changed(), Some(changed), "what can't be read is no change");
        write('1');
        assert_eq!(again.look(id('1'), at), Look::Restored(id('1')));
        assert_eq!((again.changed(), dir.changed_computer()), (None, None));

        let accepted = HostComputer::new(identity, dir, id('2'), true);
        assert_eq!(accepted.reported(id('1')), id('2'));
    }
}
