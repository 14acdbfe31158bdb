//! An installation's history: every license key that was issued, and what it changed to the one before.

use std::collections::BTreeSet;

use quorate_license::{
    ActivationKind, License, LicenseKey, Serial, SupportId, Timestamp, TrustRoots, VerifiedAnswer,
};
use serde::Serialize;

use super::AdminError;
use crate::{
    config::Config,
    keys,
    store::{Conn, activations},
};

/// One issued license key.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// When.
    pub at: Timestamp,
    /// What was asked for.
    pub kind: ActivationKind,
    /// The serial of binding and license.
    pub serial: Serial,
    /// `issued` or `superseded`.
    pub outcome: &'static str,
    /// What is different from the one before, in words.
    pub changes: Vec<String>,
}

/// The history, the oldest first.
pub(super) async fn of(
    conn: &mut Conn,
    support_id: &SupportId,
    config: &Config,
) -> Result<Vec<Step>, AdminError> {
    let roots = TrustRoots(vec![keys::load_public(&config.keys)?.root]);
    let mut before: Option<VerifiedAnswer> = None;
    let mut steps = Vec::new();
    for activation in activations::list(conn, Some(support_id)).await? {
        let answer = LicenseKey::from_text(&activation.answer).and_then(|key| key.verify(&roots)).ok();
        let changes = match &answer {
            Some(answer) => changes(before.as_ref(), answer),
            None => vec!["signed under another root key, so it can't be read here".to_owned()],
        };
        steps.push(Step {
            at: activation.at,
            kind: activation.kind,
            serial: activation.serial,
            outcome: activation.outcome.as_str(),
            changes,
        });
        before = answer.or(before);
    }
    Ok(steps)
}

fn changes(before: Option<&VerifiedAnswer>, after: &VerifiedAnswer) -> Vec<String> {
    let mut changes = Vec::new();
    let binding = &after.binding.claims;
    let old = before.map(|before| &before.binding.claims);
    if let Some(old) = old.filter(|old| old.cluster_id != binding.cluster_id) {
        changes.push(format!("restored: cluster {} instead of {}", binding.cluster_id, old.cluster_id));
    }
    let computers = |binding: &quorate_license::Binding| -> BTreeSet<String> {
        binding.nodes.iter().map(|node| node.computer_id.to_string()).collect()
    };
    let (was, is) = (old.map(computers).unwrap_or_default(), computers(binding));
    difference(&mut changes, "computers", was.len(), is.len());
    let builds = |binding: &quorate_license::Binding| -> BTreeSet<String> {
        binding.nodes.iter().filter_map(|node| Some(node.build.as_ref()?.to_string())).collect()
    };
    difference(&mut changes, "builds", words(&old.map(builds).unwrap_or_default()), words(&builds(binding)));
    if let Some(license) = after.licenses.first().map(|license| &license.claims) {
        let old = before.and_then(|before| before.licenses.first()).map(|license| &license.claims);
        let show = |of: fn(&License) -> String| (old.map(of).unwrap_or_default(), of(license));
        for (what, (was, is)) in [
            ("kind", show(|license| license.kind.to_string())),
            ("orders", show(|license| words(&license.orders))),
            (
                "features",
                show(|license| {
                    let texts = license.entitlements.iter().map(|e| format!("{}={}", e.feature, e.quantity));
                    texts.collect::<Vec<_>>().join(" ")
                }),
            ),
            ("expires", show(|license| time(license.expires_at))),
            ("support until", show(|license| time(license.support_until))),
        ] {
            difference(&mut changes, what, was, is);
        }
    }
    changes
}

/// Adds `what: was -> is` if there is a difference.
fn difference<T: PartialEq + ToString>(changes: &mut Vec<String>, what: &str, was: T, is: T) {
    if was == is {
        return;
    }
    let (was, is) = (was.to_string(), is.to_string());
    let was = if was.is_empty() || was == "0" { "none".to_owned() } else { was };
    changes.push(format!("{what}: {was} -> {}", if is.is_empty() { "none" } else { &is }));
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}

fn words<'a, T: ToString + 'a>(items: impl IntoIterator<Item = &'a T>) -> String {
    items.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
