//! A change of the licenses.

use quorate_license::ActivationKind;
use quorate_raft_store::{Command, state::Method};

use super::{Specimen, row_specimen};
use crate::{replica::Replica, sample};

/// The row of the first change and of one behind it.
pub(super) fn rows() -> Vec<Specimen> {
    let mut replica = Replica::with_nodes(2);
    replica.raise_level(5);
    let mut rows = Vec::new();
    for (nonce, kind, name) in
        [(1, ActivationKind::Trial, "license_change"), (2, ActivationKind::Upgrade, "license_change.further")]
    {
        replica.request(nonce, kind, Method::Offline);
        replica.accept(Command::InstallLicense(sample::install(nonce, 2, u64::from(nonce))));
        let key = [&[27][..], &replica.last_index().to_be_bytes()].concat();
        rows.push(row_specimen(name, &key, &replica.rows()[&key]));
    }
    rows
}
