//! Staying until Ctrl-C: nothing is restarted, but what ends is told, with the command that brings it back.

use std::{thread, time::Duration};

use quorate_chaos_tests::{Result, interrupt};

use crate::{installation::Installation, report::Report};

/// Stays until the user interrupts.
pub(crate) fn until_interrupted(report: &Report, installation: &mut Installation) -> Result<()> {
    let quorate = installation.cluster_file()?.quorate;
    let mut told = vec![false; installation.cluster.nodes.len()];
    let mut portal_told = false;
    while !interrupt::requested() {
        for (node, told) in installation.cluster.nodes.iter_mut().zip(&mut told).filter(|(_, told)| !**told) {
            if let Some(status) = node.ended() {
                *told = true;
                report.line(&format!(
                    "\n{} has ended ({status}). This brings it back:\n  {} --config {} serve",
                    node.name,
                    quorate.display(),
                    node.config.display()
                ));
            }
        }
        let portal = installation.portal_mut().and_then(|portal| portal.process());
        if let Some(status) = portal.filter(|_| !portal_told).and_then(|process| process.ended()) {
            portal_told = true;
            report.line(&format!("\nThe License Portal has ended ({status})."));
        }
        thread::sleep(Duration::from_millis(200));
    }
    report.line("");
    Ok(())
}
