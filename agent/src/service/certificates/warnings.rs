//! What an administrator should hear of certificates before they end.

use quorate_license::{DAY_MS, NodeName, Timestamp};
use quorate_raft_store::{State, state::NodeCertificate};

use crate::pki::CertificateFacts;

/// A CA that ends within this many days should be rotated.
const CA_DAYS: i64 = 180;

/// Warnings about certificates that end soon and were not renewed, and about a rotation of the CA that waits.
pub fn certificate_warnings(state: &State, now: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    for (id, certificate) in state.certificates().iter() {
        if let Some(node) = state.nodes().get(id) {
            warnings.extend(node_warning(&node.name, certificate, now));
        }
    }
    let ca = state.cluster().map(|row| CertificateFacts::from_pem(&row.ca_certificate, "CA certificate"));
    if let Some(Ok(ca)) = ca
        && ca.not_after.ms_since(now) < CA_DAYS * DAY_MS
    {
        warnings.push(format!(
            "the certificate of the cluster's CA ends on {}: give the cluster a new one with `quorate ca rotate`",
            ca.not_after
        ));
    }
    let waits: Vec<String> =
        state.rotation_waits_for().into_iter().map(|node| node.name.to_string()).collect();
    if let (false, Some(rotation)) = (waits.is_empty(), state.ca_rotation()) {
        warnings.push(format!(
            "the rotation of the CA, begun on {}, waits for {}: `quorate ca status` says what can be done",
            rotation.started_at,
            waits.join(", ")
        ));
    }
    warnings
}

/// A node renews its certificate when two thirds of its life are over; this late it must have failed.
fn node_warning(name: &NodeName, certificate: &NodeCertificate, now: Timestamp) -> Option<String> {
    let NodeCertificate { not_before, not_after, .. } = certificate;
    let overdue_at = not_after.plus_ms(-not_after.ms_since(*not_before) / 6);
    if now >= *not_after {
        Some(format!(
            "the certificate of {name} has ended on {not_after}: start the node, it gets a new one by its node key"
        ))
    } else if now >= overdue_at {
        Some(format!(
            "the certificate of {name} ends on {not_after} and was not renewed: see the log of the node, or try \
             `quorate cert rotate {name}`"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_warned_of_when_its_renewal_must_have_failed() {
        let at = |ms: i64| Timestamp::from_unix_ms(1_800_000_000_000 + ms);
        let certificate = NodeCertificate {
            serial: "01".to_owned(),
            issuer: None,
            not_before: at(0),
            not_after: at(600_000),
            trusts: Vec::new(),
            reported_at: at(0),
        };
        let name: NodeName = "sc-1".parse().unwrap();
        let said = |ms| node_warning(&name, &certificate, at(ms)).unwrap_or_default();
        assert_eq!((said(0), said(499_999)), (String::new(), String::new()));
        assert!(said(500_000).contains("sc-1 ends on") && said(500_000).contains("cert rotate sc-1"));
        assert!(said(600_000).contains("has ended on"));
    }
}
