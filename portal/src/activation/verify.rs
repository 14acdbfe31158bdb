//! What can be said of a request without looking into the records: its kind, who signed it, and
//! whether the portal's policy takes its nodes.

use quorate_license::{ActivationKind, ComputerIdSource, IntegrityKey, IntegrityKeyError};

use super::Refusal;
use crate::config::Policy;

/// Checks all of it.
///
/// # Errors
/// The refusal that names what is wrong; the first of several.
pub(super) fn verify(key: &IntegrityKey, policy: &Policy) -> Result<(), Refusal> {
    if key.kind == ActivationKind::Transfer {
        return Err(Refusal::KindNotSupported { kind: key.kind });
    }
    key.verify_signatures().map_err(Refusal::Unverified)?;
    for statement in &key.nodes {
        let node = statement.row.id;
        if i64::try_from(node.0).is_err() {
            let reason = format!("the node id {node} is larger than any that a cluster gives");
            return Err(Refusal::Unreadable(IntegrityKeyError::Field { field: "id", reason }));
        }
        if !policy.accept_volume_computer_ids
            && statement.row.computer_id.source() == ComputerIdSource::Volume
        {
            return Err(Refusal::ComputerIdSourceRefused { node });
        }
    }
    Ok(())
}
