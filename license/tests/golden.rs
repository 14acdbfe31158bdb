//! Every format that this crate writes, byte for byte, from fixed seeds: what a release has written,
//! newer code still reads and still writes.
//!
//! `QUORATE_BLESS=1 cargo test -p quorate-license --test golden` writes the files again. Do that for a
//! new format only, never to make a changed one pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking what failed")]

use std::{fs, path::PathBuf};

use quorate_license::*;

#[allow(dead_code, reason = "shared with the crate's own tests, which use all of it")]
#[path = "../src/samples.rs"]
mod samples;

/// Compares with, or with QUORATE_BLESS writes, a golden file; returns its content.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("QUORATE_BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, bytes).unwrap();
    }
    let kept = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(kept == bytes, "{name} is written differently now");
    kept
}

fn golden_text(name: &str, text: &str) -> String {
    String::from_utf8(golden(name, text.as_bytes())).unwrap()
}

#[test]
fn the_integrity_key() {
    let key = samples::integrity_key();
    let bytes = golden("integrity_key.bin", &key.to_bytes());
    assert_eq!(IntegrityKey::from_bytes(&bytes).unwrap(), key);
    let text = golden_text("integrity_key.txt", &key.to_text());
    assert_eq!(IntegrityKey::from_text(&text).unwrap(), key);
    assert_eq!(key.verify_signatures(), Ok(()));
}

#[test]
fn the_certificate() {
    let certificate = samples::issuing_key().certificate().clone();
    let token = golden_text("certificate.token", &certificate.token);
    assert_eq!(samples::roots().verify_certificate(&token).unwrap(), certificate);
}

#[test]
fn license_and_binding() {
    let key = samples::issuing_key();
    let (license, binding) = (key.sign(&samples::license()).unwrap(), key.sign(&samples::binding()).unwrap());
    let token = golden_text("license.token", &license.token);
    assert_eq!(samples::roots().verify::<License>(&token).unwrap(), license);
    let token = golden_text("binding.token", &binding.token);
    assert_eq!(samples::roots().verify::<Binding>(&token).unwrap(), binding);
}

#[test]
fn the_license_key() {
    let key = samples::issuing_key();
    let (license, binding) = (key.sign(&samples::license()).unwrap(), key.sign(&samples::binding()).unwrap());
    let answer = LicenseKey::new(&binding, std::slice::from_ref(&license));
    let text = golden_text("license_key.txt", &answer.to_text().unwrap());
    let verified = LicenseKey::from_text(&text).unwrap().verify(&samples::roots()).unwrap();
    assert_eq!(verified, VerifiedAnswer { binding, licenses: vec![license] });
}

#[test]
fn license_file_and_receipt() {
    let key = samples::issuing_key();
    let (license, binding) = (key.sign(&samples::license()).unwrap(), key.sign(&samples::binding()).unwrap());
    let file = golden_text("default.lic", &LicenseFile::new(&license, &binding).to_text());
    let receipt = Receipt {
        support_id: samples::support_id(),
        cluster_id: samples::cluster_id(),
        tenant: TenantId::default_tenant(),
        serial: Serial(1),
        fence: Fence(1),
        cluster_time: samples::issued_at().plus_ms(60_000),
        computer_id: samples::computer_id(4),
        node: samples::node_id(4),
        reactivation_until: None,
    };
    let receipt = SignedReceipt::sign(receipt, &samples::node_key(4));
    let receipt = golden_text("default.receipt", &receipt.to_text());
    let verified = verify_file(&VerifyInput {
        file: &file,
        receipt: Some(&receipt),
        roots: &samples::roots(),
        computer_id: &samples::computer_id(4),
        build: samples::row(4).build.as_ref(),
        now: samples::issued_at().plus_days(1),
        min_serial: None,
    });
    assert_eq!(verified.unwrap().license, samples::license());
}

#[test]
fn computer_ids_and_activation_keys() {
    let mut text = String::new();
    for index in 1..=3 {
        let machine_id = MachineId::parse(&format!("{index:02x}").repeat(16)).unwrap();
        for source in [ComputerIdSource::Host, ComputerIdSource::Volume] {
            text.push_str(&format!("{}\n", ComputerId::derive(&machine_id, source)));
        }
        text.push_str(&format!("{}\n", *ActivationKey::from_entropy([index; 15]).expose()));
    }
    golden_text("ids.txt", &text);
}
