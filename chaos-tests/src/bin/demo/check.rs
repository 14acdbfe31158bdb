//! `--once`: every node is asked itself, and all have to show the same license.

use quorate_chaos_tests::{
    Failure, Result,
    wait::{self, PATIENCE, Seen},
};

use crate::installation::Installation;

/// That every node shows the serial and the Support ID of the activation, and that the cluster is complete.
pub(crate) fn all_agree(installation: &mut Installation) -> Result<()> {
    let wanted = installation.activated.clone().ok_or_else(|| Failure::wrong("there was no activation"))?;
    for node in &mut installation.cluster.nodes {
        node.must_run()?;
        let shown = node.product().license()?;
        let Some(license) = shown.license else {
            return Err(Failure::wrong(format!("{} has no license", node.name)));
        };
        if license.serial != wanted.serial || license.support_id != wanted.support_id {
            return Err(Failure::wrong(format!(
                "{} shows serial {} of {}, but the activation gave serial {} of {}",
                node.name, license.serial, license.support_id, wanted.serial, wanted.support_id
            )));
        }
        if shown.status != "active" {
            return Err(Failure::wrong(format!("the license on {} is {}", node.name, shown.status)));
        }
    }
    wait::until("every node with its serial in the status", PATIENCE, || {
        let status = installation.cluster.status()?;
        let serials: Vec<_> = status.nodes.iter().map(|node| node.license_serial).collect();
        let complete = serials.len() == 4 && serials.iter().all(|serial| *serial == Some(wanted.serial));
        Ok(Seen::when(complete, || format!("{serials:?}")))
    })
}
