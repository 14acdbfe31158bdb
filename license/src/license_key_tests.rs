use super::*;
use crate::{IssuingKey, IssuingSecret, RootKey, Timestamp, samples};

/// What a row of a table changes.
type Change<T> = fn(&mut T);

fn answer() -> (Signed<Binding>, Signed<License>) {
    let key = samples::issuing_key();
    (key.sign(&samples::binding()).unwrap(), key.sign(&samples::license()).unwrap())
}

fn license_key() -> LicenseKey {
    let (binding, license) = answer();
    LicenseKey::new(&binding, &[license])
}

#[test]
fn text_and_json_are_read_back_and_verified() {
    let key = license_key();
    let text = key.to_text().unwrap();
    assert_eq!(LicenseKey::from_text(&text).unwrap(), key);
    assert_eq!(LicenseKey::from_json(&serde_json::to_vec(&key).unwrap()).unwrap(), key);
    let (binding, license) = answer();
    assert_eq!(key.verify(&samples::roots()).unwrap(), VerifiedAnswer { binding, licenses: vec![license] });
}

#[test]
fn a_transfer_needs_no_licenses() {
    let (binding, _) = answer();
    let answer = LicenseKey::new(&binding, &[]).verify(&samples::roots()).unwrap();
    assert!(answer.licenses.is_empty());
}

#[test]
fn what_is_no_license_key_is_refused() {
    let read = |json: &str| LicenseKey::from_json(json.as_bytes()).unwrap_err();
    assert_eq!(read("{\"version\":2,\"new\":true}"), LicenseKeyError::Version { found: 2 });
    assert!(matches!(read("{}"), LicenseKeyError::Malformed { .. }));
    assert!(matches!(read("{\"version\":1}"), LicenseKeyError::Malformed { .. }));
    assert!(matches!(read("\u{0}"), LicenseKeyError::Malformed { .. }));
    assert!(matches!(
        LicenseKey::from_text(&samples::integrity_key().to_text()).unwrap_err(),
        LicenseKeyError::Text(ArmourError::WrongKind { .. })
    ));
    let large = vec![b' '; LicenseKey::MAX_BYTES + 1];
    assert_eq!(LicenseKey::from_json(&large), Err(LicenseKeyError::TooLarge { bytes: large.len() }));
}

#[test]
fn a_foreign_signature_is_refused() {
    let root = RootKey::from_seed([9; 32]).unwrap();
    let secret = IssuingSecret::from_seed([8; 32]).unwrap();
    let certificate = root.certify(secret.public(), Timestamp::ZERO, Timestamp::MAX).unwrap();
    let foreign = IssuingKey::new(secret, certificate).unwrap();
    let mut key = license_key();
    key.licenses[0] = foreign.sign(&samples::license()).unwrap().token;
    assert!(matches!(
        key.verify(&samples::roots()),
        Err(LicenseKeyError::Token(TokenError::UntrustedIssuer { what: "license", .. }))
    ));
    key.binding = key.licenses[0].clone();
    assert!(matches!(key.verify(&samples::roots()), Err(LicenseKeyError::Token(_))));
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    type Change = fn(&mut Binding, &mut License, &mut LicenseKey);
    type Matches = fn(&LicenseKeyError) -> bool;
    let cases: [(&str, Change, Matches); 5] = [
        (
            "nonce of the whole",
            |_, _, k| k.nonce = Nonce([1; 16]),
            |e| matches!(e, LicenseKeyError::NonceDisagrees { what: "binding", .. }),
        ),
        (
            "nonce of a license",
            |_, l, _| l.nonce = Nonce([1; 16]),
            |e| matches!(e, LicenseKeyError::NonceDisagrees { what: "license", .. }),
        ),
        (
            "Support ID of the whole",
            |_, _, k| k.support_id = "OTHER".parse().unwrap(),
            |e| matches!(e, LicenseKeyError::SupportIdDisagrees { what: "binding", .. }),
        ),
        (
            "Support ID of a license",
            |_, l, _| l.support_id = "OTHER".parse().unwrap(),
            |e| matches!(e, LicenseKeyError::SupportIdDisagrees { what: "license", .. }),
        ),
        (
            "cluster of a license",
            |_, l, _| l.cluster_id = ClusterId([1; 16]),
            |e| matches!(e, LicenseKeyError::ClusterDisagrees { .. }),
        ),
    ];
    let signer = samples::issuing_key();
    for (name, change, expected) in cases {
        let (mut binding, mut license, mut key) = (samples::binding(), samples::license(), license_key());
        change(&mut binding, &mut license, &mut key);
        key.binding = signer.sign(&binding).unwrap().token;
        key.licenses = vec![signer.sign(&license).unwrap().token];
        let refusal = key.verify(&samples::roots()).unwrap_err();
        assert!(expected(&refusal), "{name}: {refusal}");
    }
    let mut key = license_key();
    key.licenses.push(key.licenses[0].clone());
    let tenant = TenantId::default_tenant();
    assert_eq!(key.verify(&samples::roots()), Err(LicenseKeyError::TenantTwice { tenant }));
}

/// One row per refusal. Each change leaves everything that is checked later wrong as well, so the order
/// of the table is the precedence.
#[test]
fn answers_are_refused_in_a_fixed_order() {
    let answer = license_key().verify(&samples::roots()).unwrap();
    let support_id = samples::support_id();
    let none = BTreeMap::new();
    let good = Expected {
        nonce: samples::nonce(),
        cluster_id: samples::cluster_id(),
        epoch: samples::epoch(),
        current_fence: Fence(0),
        current_binding_serial: Serial(0),
        current_serials: &none,
        support_id: None,
    };
    assert_eq!(answer.accept(&good), Ok(()));
    assert_eq!(answer.accept(&Expected { support_id: Some(&support_id), ..good }), Ok(()));
    let older =
        BTreeMap::from([(TenantId::default_tenant(), Serial(0)), ("other".parse().unwrap(), Serial(9))]);
    assert_eq!(answer.accept(&Expected { current_serials: &older, ..good }), Ok(()));

    let other = "OTHER".parse().unwrap();
    let same = BTreeMap::from([(TenantId::default_tenant(), Serial(1))]);
    let rows: [(&str, Change<Expected<'_>>); 5] = [
        ("binding_serial_not_higher", |e| e.current_binding_serial = Serial(1)),
        ("fence_not_higher", |e| e.current_fence = Fence(1)),
        ("epoch_mismatch", |e| e.epoch.number = 2),
        ("cluster_mismatch", |e| e.cluster_id = ClusterId([1; 16])),
        ("nonce_mismatch", |e| e.nonce = Nonce([1; 16])),
    ];
    let mut expected = Expected { current_serials: &same, ..good };
    assert_eq!(answer.accept(&expected).unwrap_err().code(), "serial_not_higher");
    for (code, change) in rows {
        change(&mut expected);
        if code == "epoch_mismatch" {
            expected.support_id = Some(&other);
            let before = Expected { epoch: good.epoch, ..expected };
            assert_eq!(answer.accept(&before).unwrap_err().code(), "support_id_mismatch");
        }
        assert_eq!(answer.accept(&expected).unwrap_err().code(), code);
    }
}
