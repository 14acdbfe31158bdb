use quorate_license::ReactivationReason;

use super::{
    samples::{self, Installation},
    *,
};
use crate::clock;

fn licensing(installation: &Installation, roots: TrustRoots, node: u8) -> Licensing {
    let views = Arc::new(Views::new(installation.view(7)));
    Licensing::new(views, samples::node_id(node), Arc::new(roots))
}

fn on_computer(views: &Arc<Views>, node: u8, computer: Arc<HostComputer>) -> Licensing {
    let clock = ClusterClock::new(views.clone());
    Licensing::on_computer(views.clone(), clock, samples::node_id(node), Arc::new(samples::roots()), computer)
}

fn check(licensing: &Licensing, feature: &str, quantity: u64) -> Answer {
    licensing.check(&TenantId::default_tenant(), Some(&feature.parse().unwrap()), quantity)
}

fn codes(licensing: &Licensing) -> Vec<&'static str> {
    [("scan", 1), ("devices", 25), ("devices", 26), ("fax", 1)]
        .map(|(feature, quantity)| check(licensing, feature, quantity).decision.reason.code())
        .to_vec()
}

#[test]
fn a_license_allows_what_it_holds_and_no_more() {
    let licensing = licensing(&Installation::licensed(), samples::roots(), 1);
    assert_eq!(codes(&licensing), ["licensed", "licensed", "quantity_exceeded", "feature_not_licensed"]);
    let answer = check(&licensing, "devices", 26);
    assert_eq!(
        (answer.decision.allowed, answer.status, answer.licensed_quantity),
        (false, "active", Some(25))
    );
    assert_eq!(answer.serial, Serial(1));
    assert_eq!(check(&licensing, "scan", 1).licensed_quantity, None);
    let running = licensing.check(&TenantId::default_tenant(), None, 1);
    assert!(running.decision.allowed);
}

#[test]
fn without_a_license_everything_is_refused() {
    let licensing = licensing(&Installation::unlicensed(), samples::roots(), 1);
    assert_eq!(codes(&licensing), ["unlicensed"; 4]);
    let standing = licensing.status(&TenantId::default_tenant());
    assert_eq!(standing.report().status, LicenseStatus::Unlicensed);
    assert!(standing.next_step().contains("license activate"), "{}", standing.next_step());
}

#[test]
fn a_tenant_has_its_own_license() {
    let licensing = licensing(&Installation::licensed(), samples::roots(), 1);
    let other = licensing.check(&"acme".parse().unwrap(), None, 1);
    assert_eq!((other.decision.reason, other.serial), (CheckReason::Unlicensed, Serial(0)));
}

#[test]
fn tokens_of_another_vendor_are_invalid_and_the_message_says_why() {
    let licensing = licensing(&Installation::licensed(), samples::other_roots(), 1);
    assert_eq!(codes(&licensing), ["invalid"; 4]);
    let standing = licensing.status(&TenantId::default_tenant());
    assert!(matches!(standing.refusal(), Some(TokenError::UntrustedIssuer { .. })));
    assert_eq!(standing.report().status.as_str(), "invalid");
    assert!(check(&licensing, "scan", 1).message.contains("license.trust_roots"));
    assert!(standing.next_step().contains("license.trust_roots"));
}

#[test]
fn stored_claims_that_are_not_the_signed_ones_are_invalid() {
    let installation = Installation::licensed();
    let mut license = samples::sign(installation.license.as_ref().unwrap());
    license.claims.entitlements[0].quantity = Quantity::Unlimited;
    let views = Arc::new(Views::new(installation.view_with(7, Some(license))));
    let licensing = Licensing::new(views, samples::node_id(1), Arc::new(samples::roots()));
    assert_eq!(check(&licensing, "devices", 1).decision.reason, CheckReason::Invalid);
}

#[test]
fn a_newly_applied_license_counts_at_once() {
    let views = Arc::new(Views::new(Installation::unlicensed().view(7)));
    let licensing = Licensing::new(views.clone(), samples::node_id(4), Arc::new(samples::roots()));
    assert_eq!(check(&licensing, "scan", 1).decision.reason, CheckReason::Unlicensed);
    views.publish(Installation::licensed().view(8));
    assert_eq!(check(&licensing, "scan", 1).decision.reason, CheckReason::Licensed);
    views.publish(Installation::licensed().activated(2).view(9));
    assert_eq!(check(&licensing, "scan", 1).serial, Serial(2));
}

#[test]
fn a_cluster_in_another_epoch_than_the_activated_one_has_to_be_reactivated() {
    let installation = Installation { epoch: samples::epoch(2), ..Installation::licensed() };
    let licensing = licensing(&installation, samples::roots(), 1);
    let standing = licensing.status(&TenantId::default_tenant());
    let reasons = vec![ReactivationReason::Restored];
    assert_eq!(standing.report().status, LicenseStatus::ReactivationRequired { reasons });
    assert_eq!(check(&licensing, "scan", 1).decision.reason, CheckReason::ReactivationGrace);
}

#[test]
fn a_node_that_joined_later_is_refused_after_its_time_and_stops_no_other() {
    let mut installation = Installation::licensed();
    for claims in [
        &mut installation.license.as_mut().unwrap().graces,
        &mut installation.binding.as_mut().unwrap().graces,
    ] {
        claims.unbound_days = 0;
    }
    installation.nodes.push(samples::node(5, installation.time));
    assert_eq!(codes(&licensing(&installation, samples::roots(), 5))[0], "node_unbound");
    assert_eq!(codes(&licensing(&installation, samples::roots(), 1))[0], "licensed");
}

#[test]
fn a_status_is_kept_for_a_second_and_tokens_are_verified_once() {
    let licensing = licensing(&Installation::licensed(), samples::roots(), 1);
    let (tenant, view) = (TenantId::default_tenant(), licensing.views().current());
    let now = clock::now();
    let first = licensing.standing(&tenant, view.clone(), now).known;
    let same = licensing.standing(&tenant, view.clone(), now.plus_ms(KEEP_MS - 1)).known;
    assert!(Arc::ptr_eq(&first, &same));
    let later = licensing.standing(&tenant, view.clone(), now.plus_ms(KEEP_MS)).known;
    assert!(!Arc::ptr_eq(&first, &later));
    let expired = licensing.standing(&tenant, view, now.plus_days(400)).known;
    assert_eq!(expired.report.status, LicenseStatus::Expired);
}

#[test]
fn a_computer_that_nobody_has_accepted_has_the_time_of_a_node_that_is_not_bound() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, file) = (crate::data_dir::DataDir::new(folder.path()), folder.path().join("machine-id"));
    std::fs::write(&file, "99".repeat(16)).unwrap();
    let identity = crate::config::Identity {
        machine_id_file: Some(file.clone()),
        source: quorate_license::ComputerIdSource::Host,
    };
    let computer = Arc::new(HostComputer::new(identity, dir.clone(), samples::computer_id(2), false));
    let views = Arc::new(Views::new(Installation::licensed().view(7)));
    let licensing = |computer: &Arc<HostComputer>| on_computer(&views, 2, computer.clone());
    assert_eq!(check(&licensing(&computer), "scan", 1).decision.reason, CheckReason::Licensed);
    computer.look(samples::computer_id(2), clock::now());
    let answer = check(&licensing(&computer), "scan", 1).decision;
    assert!(answer.allowed && answer.days_left.is_some_and(|days| days <= 30), "{answer:?}");

    // The time is over: noted long ago, in the data directory.
    let long_ago = clock::now().plus_days(0).plus_ms(-200 * quorate_license::DAY_MS);
    dir.save_changed_computer(samples::computer_id(0x99), long_ago).unwrap();
    let identity = crate::config::Identity {
        machine_id_file: Some(file),
        source: quorate_license::ComputerIdSource::Host,
    };
    let again = Arc::new(HostComputer::new(identity, dir, samples::computer_id(0x99), false));
    let mut installation = Installation::licensed();
    let issued_at = clock::now().plus_ms(-100 * quorate_license::DAY_MS);
    installation.binding.as_mut().unwrap().issued_at = issued_at;
    for node in &mut installation.nodes {
        node.joined_at = issued_at;
    }
    let views = Arc::new(Views::new(installation.view(7)));
    again.look(samples::computer_id(2), clock::now());
    let late = on_computer(&views, 2, again.clone());
    let answer = check(&late, "scan", 1).decision;
    assert_eq!((answer.allowed, answer.reason), (false, CheckReason::NodeUnbound));
    let others = on_computer(&views, 1, again);
    assert!(check(&others, "scan", 1).decision.allowed, "the other nodes go on");
}

#[test]
fn a_node_of_which_another_one_says_that_it_was_taken_out_is_refused_with_the_way_out() {
    let told = |code: &str| {
        let licensing = licensing(&Installation::licensed(), samples::roots(), 1);
        let expelled = Expelled { code: code.to_owned(), message: "words".to_owned(), by_peer: true };
        let (_tell, heard) = watch::channel(Some(Arc::new(expelled)));
        licensing.listen(heard);
        licensing
    };
    assert_eq!(codes(&told("node_rolled_back"))[0], "licensed", "what it holds is judged by others");
    let removed = told("node_removed");
    assert_eq!(codes(&removed), ["node_removed"; 4]);
    let standing = removed.status(&TenantId::default_tenant());
    assert_eq!(standing.report().status.as_str(), "invalid");
    assert!(standing.next_step().contains("quorate join"), "{}", standing.next_step());
}
