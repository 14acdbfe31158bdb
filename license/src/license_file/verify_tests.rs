use super::*;
use crate::{BuildNumber, IssuingKey, IssuingSecret, Quantity, RootKey, Signed, samples};

/// What a row of a table changes.
type Change<T> = fn(&mut T);

/// A case: the files and the host, each of which a test may change.
struct Case {
    license: License,
    binding: Binding,
    receipt: Option<Receipt>,
    receipt_key: u8,
    signer: IssuingKey,
    computer_id: ComputerId,
    build: Option<BuildNumber>,
    now: Timestamp,
    min_serial: Option<Serial>,
}

impl Case {
    /// Everything right, on node 2, a day after the activation.
    fn good() -> Self {
        let (license, binding) = (samples::license(), samples::binding());
        let receipt = Receipt {
            support_id: license.support_id.clone(),
            cluster_id: license.cluster_id,
            tenant: license.tenant.clone(),
            serial: license.serial,
            fence: binding.fence,
            cluster_time: samples::issued_at(),
            computer_id: samples::computer_id(2),
            node: samples::node_id(2),
            reactivation_until: None,
        };
        Case {
            license,
            binding,
            receipt: Some(receipt),
            receipt_key: 2,
            signer: samples::issuing_key(),
            computer_id: samples::computer_id(2),
            build: samples::row(2).build,
            now: samples::issued_at().plus_days(1),
            min_serial: None,
        }
    }

    fn receipt(&mut self) -> &mut Receipt {
        self.receipt.as_mut().unwrap()
    }

    fn verify(&self) -> Result<VerifiedLicense, FileRefusal> {
        let license: Signed<License> = self.signer.sign(&self.license).unwrap();
        let binding = self.signer.sign(&self.binding).unwrap();
        let key = samples::node_key(self.receipt_key);
        let receipt = self.receipt.clone().map(|receipt| SignedReceipt::sign(receipt, &key).to_text());
        verify_file(&VerifyInput {
            file: &LicenseFile::new(&license, &binding).to_text(),
            receipt: receipt.as_deref(),
            roots: &samples::roots(),
            computer_id: &self.computer_id,
            build: self.build.as_ref(),
            now: self.now,
            min_serial: self.min_serial,
        })
    }
}

fn foreign_signer() -> IssuingKey {
    let root = RootKey::from_seed([9; 32]).unwrap();
    let secret = IssuingSecret::from_seed([8; 32]).unwrap();
    let certificate = root.certify(secret.public(), Timestamp::ZERO, Timestamp::MAX).unwrap();
    IssuingKey::new(secret, certificate).unwrap()
}

/// One row per refusal, from the one that is checked last to the first. The changes add up, so the
/// table is the precedence as well.
#[test]
fn refusals_come_in_a_fixed_order() {
    let rows: [(&str, Change<Case>); 15] = [
        ("reactivation_required", |c| c.receipt().reactivation_until = Some(c.now)),
        ("build_not_covered", |c| c.build = Some("11.3.0".parse().unwrap())),
        ("expired", |c| {
            c.license.expires_at = Some(c.license.not_before.plus_ms(1));
            c.license.graces.expiry_days = 0;
        }),
        ("not_yet_valid", |c| {
            c.license.not_before = c.now.plus_days(5);
            c.license.expires_at = Some(c.now.plus_days(6));
        }),
        ("receipt_outdated", |c| c.license.graces.receipt_max_age_days = 0),
        ("receipt_from_future", |c| c.receipt().cluster_time = c.now.plus_ms(DAY_MS + 1)),
        ("older_file", |c| c.receipt().fence = crate::Fence(2)),
        ("older_file", |c| c.receipt().serial = Serial(2)),
        ("receipt_foreign", |c| c.receipt_key = 3),
        ("receipt_foreign", |c| c.receipt().computer_id = samples::computer_id(3)),
        ("receipt_missing", |c| c.receipt = None),
        ("older_file", |c| c.min_serial = Some(Serial(2))),
        ("foreign_host", |c| c.computer_id = samples::computer_id(9)),
        ("other_installation", |c| c.binding.support_id = "OTHER".parse().unwrap()),
        ("untrusted_issuer", |c| c.signer = foreign_signer()),
    ];
    let mut case = Case::good();
    assert!(case.verify().is_ok());
    for (code, change) in rows {
        change(&mut case);
        assert_eq!(case.verify().unwrap_err().code(), code);
    }
}

#[test]
fn a_receipt_of_another_license_is_refused() {
    let rows: [(ReceiptMismatch, Change<Receipt>); 3] = [
        (ReceiptMismatch::Installation, |r| r.support_id = "OTHER".parse().unwrap()),
        (ReceiptMismatch::Installation, |r| r.cluster_id = crate::ClusterId([1; 16])),
        (ReceiptMismatch::Tenant, |r| r.tenant = "other".parse().unwrap()),
    ];
    for (mismatch, change) in rows {
        let mut case = Case::good();
        change(case.receipt());
        assert_eq!(case.verify().unwrap_err(), FileRefusal::ReceiptForeign { mismatch });
    }
}

#[test]
fn every_field_of_a_receipt_is_signed() {
    let key = samples::node_key(2);
    let receipt = Case::good().receipt.unwrap();
    let signed = SignedReceipt::sign(receipt, &key);
    assert_eq!(SignedReceipt::from_text(&signed.to_text()).unwrap(), signed);
    let changes: [Change<Receipt>; 9] = [
        |r| r.support_id = "OTHER".parse().unwrap(),
        |r| r.cluster_id = crate::ClusterId([1; 16]),
        |r| r.tenant = "other".parse().unwrap(),
        |r| r.serial = Serial(9),
        |r| r.fence = crate::Fence(9),
        |r| r.cluster_time = r.cluster_time.plus_ms(1),
        |r| r.computer_id = samples::computer_id(3),
        |r| r.node = samples::node_id(3),
        |r| r.reactivation_until = Some(r.cluster_time),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut changed = signed.clone();
        change(&mut changed.receipt);
        assert!(changed.verify(&key.public()).is_err(), "change {index}");
    }
}

#[test]
fn a_changed_file_is_refused() {
    let (license, binding) = (samples::license(), samples::binding());
    let signer = samples::issuing_key();
    let (license, binding) = (signer.sign(&license).unwrap(), signer.sign(&binding).unwrap());
    let good = LicenseFile::new(&license, &binding);
    assert_eq!(LicenseFile::from_text(&good.to_text()).unwrap(), good);
    let code = |file: &LicenseFile| file.open(&samples::roots()).unwrap_err().code();
    let swapped = LicenseFile { license: good.binding.clone(), binding: good.license.clone() };
    assert_eq!(code(&swapped), "bad_signature");
    let mut bytes = good.license.clone().into_bytes();
    bytes[60] = if bytes[60] == b'A' { b'B' } else { b'A' };
    let changed = LicenseFile { license: String::from_utf8(bytes).unwrap(), ..good.clone() };
    assert_eq!(code(&changed), "bad_signature");
    let cut = LicenseFile { license: "v4.public.x".to_owned(), ..good };
    assert_eq!(code(&cut), "unreadable");
}

#[test]
fn other_files_and_formats_are_told_apart() {
    let code = |text: &str| LicenseFile::from_text(text).unwrap_err().code();
    assert_eq!(code(""), "unreadable");
    assert_eq!(code("{}"), "unreadable");
    assert_eq!(code("{\"format\":\"quorate-license/2\",\"new\":1}"), "unknown_format");
    assert_eq!(code("{\"format\":\"quorate-license/1\"}"), "unreadable");
    assert_eq!(code(&" ".repeat(super::super::MAX_BYTES + 1)), "unreadable");
    let receipt = SignedReceipt::sign(Case::good().receipt.unwrap(), &samples::node_key(2)).to_text();
    assert_eq!(code(&receipt), "unknown_format");
}

#[test]
fn a_host_without_a_known_build_is_covered() {
    let case = Case { build: None, ..Case::good() };
    assert!(case.verify().is_ok());
}

#[test]
fn another_build_holds_for_the_grace_from_when_the_agent_saw_it_or_was_last_there() {
    // With no agent since before the update: from its last receipt on.
    let mut case = Case { build: Some("11.3.0".parse().unwrap()), ..Case::good() };
    case.license.graces.reactivation_days = 10;
    let last = samples::issued_at();
    case.now = last.plus_days(10).plus_ms(-1);
    let held = case.verify().unwrap();
    assert_eq!((held.reason, held.days_left), (CheckReason::ReactivationGrace, Some(1)));
    case.now = last.plus_days(10);
    assert_eq!(case.verify().unwrap_err().code(), "build_not_covered");
    // A build that was not known at the activation is another one too.
    case.now = last;
    case.binding.nodes[1].build = None;
    assert_eq!(case.verify().unwrap().reason, CheckReason::ReactivationGrace);
    // The agent goes on and tells of it: until then, however new the receipt is.
    let until = last.plus_days(10);
    case.receipt().reactivation_until = Some(until);
    case.receipt().cluster_time = until.plus_ms(-1);
    case.now = until.plus_ms(-1);
    assert_eq!(case.verify().unwrap().days_left, Some(1));
    case.now = until;
    assert_eq!(case.verify().unwrap_err().code(), "build_not_covered");
    // Reactivated, with the receipt not written yet.
    case.license.serial = Serial(2);
    case.binding.nodes[1].build = case.build.clone();
    let held = case.verify().unwrap();
    assert_eq!(held.reason, CheckReason::Licensed);
    // Without a grace nothing holds, from the first moment.
    let mut none = Case { build: Some("11.3.0".parse().unwrap()), ..Case::good() };
    none.license.graces.reactivation_days = 0;
    none.now = samples::issued_at();
    assert_eq!(none.verify().unwrap_err().code(), "build_not_covered");
}

#[test]
fn what_needs_a_reactivation_elsewhere_ends_here_as_for_the_agent() {
    let mut case = Case::good();
    let until = samples::issued_at().plus_days(10);
    case.receipt().reactivation_until = Some(until);
    case.now = until.plus_ms(-1);
    assert_eq!(case.verify().unwrap().reason, CheckReason::ReactivationGrace);
    case.now = until;
    assert_eq!(case.verify().unwrap_err(), FileRefusal::ReactivationRequired { ended_at: until });
}

#[test]
fn a_newer_file_than_the_receipt_is_accepted() {
    let mut case = Case::good();
    case.license.serial = Serial(2);
    case.binding.fence = crate::Fence(2);
    assert!(case.verify().is_ok());
}

#[test]
fn the_receipt_ages_to_the_day_that_the_license_says() {
    let mut case = Case::good();
    case.now = samples::issued_at().plus_days(30);
    assert!(case.verify().is_ok());
    case.now = case.now.plus_ms(1);
    assert_eq!(case.verify().unwrap_err(), FileRefusal::ReceiptOutdated { age_days: 30, max_days: 30 });
}

#[test]
fn a_clock_set_back_prolongs_nothing() {
    let mut case = Case::good();
    let end = case.license.grace_ends_at().unwrap();
    case.receipt().cluster_time = end;
    case.now = end.plus_ms(-DAY_MS);
    assert_eq!(case.verify().unwrap_err(), FileRefusal::Expired { ended_at: end });
    case.now = end.plus_ms(-DAY_MS - 1);
    assert_eq!(case.verify().unwrap_err().code(), "receipt_from_future");
}

#[test]
fn a_verified_license_answers_like_the_agent() {
    let (devices, scan, fax) = ("devices".parse().unwrap(), "scan".parse().unwrap(), "fax".parse().unwrap());
    let mut case = Case::good();
    let license = case.verify().unwrap();
    assert_eq!(license.check(&devices, 25).reason, CheckReason::Licensed);
    assert_eq!(license.check(&devices, 25).days_left, Some(365 + 14 - 1));
    let exceeded = CheckReason::QuantityExceeded { licensed: 25, requested: 26 };
    assert_eq!(license.check(&devices, 26), Decision { allowed: false, reason: exceeded, days_left: None });
    assert!(license.check(&scan, u64::MAX).allowed);
    assert_eq!(license.check(&fax, 1).reason, CheckReason::FeatureNotLicensed);
    assert_eq!(license.license.entitlements[1].quantity, Quantity::Unlimited);

    case.now = case.license.expires_at.unwrap();
    case.receipt().cluster_time = case.now;
    assert_eq!(case.verify().unwrap().check(&scan, 1).reason, CheckReason::Grace);
    assert_eq!(case.verify().unwrap().days_left, Some(14));
    case.license.kind = LicenseKind::Trial;
    case.now = case.license.not_before;
    case.receipt().cluster_time = case.now;
    assert_eq!(case.verify().unwrap().reason, CheckReason::Trial);
    case.license.kind = LicenseKind::Perpetual;
    case.license.expires_at = None;
    assert_eq!(case.verify().unwrap().days_left, None);
}
