//! A license file that does not hold, by every reason: `quorate license inspect` on a real file that was changed and
//! signed again.

use quorate_chaos_tests::{
    cli::{Answer, Cli},
    fake_portal::{Claims, Signer, now},
    files,
    stage::FakeStage,
    tls_server::Reply,
};
use quorate_license::{
    ActivationKey, ComputerId, Fence, LicenseFile, NodeKey, Receipt, Serial, SignedReceipt, Timestamp,
};

use super::{refused, single, with_one_signature_symbol_changed};

/// What a test may change before it is signed.
struct Crafted {
    claims: Claims,
    receipt: Receipt,
}

type Change = fn(&mut Crafted);

#[test]
fn a_license_file_that_does_not_hold_is_refused_by_every_reason() {
    let mut stage = FakeStage::prepare(single, |signer, key| {
        let claims = signer.claims(key);
        signer.sign(&claims).map_or(Reply::Nothing, |license_key| signer.reply(&claims, &license_key))
    })
    .unwrap();
    stage.cluster.start().unwrap();
    let key = ActivationKey::from_entropy(rand::random()).expose().to_string();
    let serial = stage.cluster.activate(0, &key).unwrap().serial;
    stage.cluster.wait_for_serial(serial).unwrap();
    let node = &stage.cluster.nodes[0];
    let text = files::read(&node.license_file()).unwrap();
    let (license, binding) = LicenseFile::from_text(&text).unwrap().open(&stage.signer.roots()).unwrap();
    let claims = Claims { license: license.claims, binding: binding.claims };
    let receipt = SignedReceipt::from_text(&files::read(&node.receipt_file()).unwrap()).unwrap().receipt;

    // From here on the node's key is the test's own.
    let own = NodeKey::from_seed(rand::random());
    let made = stage.folder.path().join("made.lic");
    let inspect = |root: &str, words: &[&str]| -> Answer {
        let file = made.to_str().unwrap();
        let command = node.cli(["license", "inspect", file, "--trust", root, "-o", "json"]);
        command.args(words.iter().copied()).run().unwrap()
    };
    let write = |change: Change| {
        let mut crafted = Crafted { claims: claims.clone(), receipt: receipt.clone() };
        crafted.claims.binding.nodes[0].key = own.public();
        change(&mut crafted);
        let file = stage.signer.license_file(&crafted.claims).unwrap().to_text();
        files::write(&made, &file).unwrap();
        let signed = SignedReceipt::sign(crafted.receipt, &own).to_text();
        files::write(&made.with_extension("receipt"), &signed).unwrap();
        (file, signed)
    };
    let root = stage.portal.link.root_key.clone();
    let code = |answer: Answer| {
        assert_eq!(answer.code, Some(6), "{answer:?}");
        refused(answer).code
    };
    let (good, _) = write(|_| {});
    inspect(&root, &[]).success().unwrap();

    // Without words it is this node's own file, by the keys that this node trusts.
    let own_file = node.cli(["license", "inspect", "-o", "json"]).run().unwrap();
    let inspected: serde_json::Value = own_file.success().unwrap().parse().unwrap();
    assert_eq!(inspected["file"].as_str(), node.license_file().to_str());
    let bare = stage.folder.path().join("bare.toml");
    let smallest = "[node]\nname = \"management-9\"\ndata_dir = \"/none\"\n\
                    [advertise]\nraft = \"localhost:7400\"\nhttp = \"localhost:7443\"\n";
    files::write(&bare, smallest).unwrap();
    let words =
        ["--config", bare.to_str().unwrap(), "license", "inspect", made.to_str().unwrap(), "-o", "json"];
    let answer = Cli::new(&stage.plan.binaries.quorate, words).run().unwrap();
    assert_eq!((answer.code, refused(answer).code.as_str()), (Some(2), "trust_missing"));

    let other_root = Signer::new().unwrap().roots().0[0].to_string();
    assert_eq!(code(inspect(&other_root, &[])), "untrusted_issuer");
    let mut other_host = *receipt.computer_id.as_bytes();
    other_host[20] ^= 1;
    let other_host = ComputerId::from_bytes(other_host).unwrap().to_string();
    assert_eq!(code(inspect(&root, &["--computer-id", &other_host])), "foreign_host");
    // Another build holds for the grace, if there is one.
    assert_eq!(inspect(&root, &["--build", "9.9.9"]).code, Some(7));
    write(|made| made.claims.license.graces.reactivation_days = 0);
    assert_eq!(code(inspect(&root, &["--build", "9.9.9"])), "build_not_covered");
    write(|_| {});
    let late = now().plus_days(36).to_string();
    assert_eq!(code(inspect(&root, &["--at", &late])), "receipt_outdated");

    let changes: [(Change, &str); 9] = [
        (|made| made.claims.license.support_id = "QS-7K2M-94XD-0C8R".parse().unwrap(), "other_installation"),
        (|made| made.receipt.serial = Serial(made.receipt.serial.0 + 1), "older_file"),
        (|made| made.receipt.fence = Fence(made.receipt.fence.0 + 1), "older_file"),
        (|made| made.receipt.tenant = "another".parse().unwrap(), "receipt_foreign"),
        (|made| made.receipt.cluster_time = ago(-2), "receipt_from_future"),
        (|made| made.claims.license.not_before = ago(-1), "not_yet_valid"),
        (
            |made| {
                made.claims.license.not_before = ago(40);
                made.claims.license.expires_at = Some(ago(20));
            },
            "expired",
        ),
        (|made| made.receipt.reactivation_until = Some(ago(0)), "reactivation_required"),
        (|_| {}, "ok"),
    ];
    for (change, expected) in changes {
        write(change);
        let answer = inspect(&root, &[]);
        if expected == "ok" {
            answer.success().unwrap();
        } else {
            assert_eq!(code(answer), expected);
        }
    }

    files::write(&made, "hello").unwrap();
    assert_eq!(code(inspect(&root, &[])), "unreadable");
    files::write(&made, good.replace("quorate-license/1", "quorate-license/9")).unwrap();
    assert_eq!(code(inspect(&root, &[])), "unknown_format");
    let token = good.split('"').find(|part| part.starts_with("v4.public.")).unwrap();
    files::write(&made, good.replacen(token, &with_one_signature_symbol_changed(token), 1)).unwrap();
    assert_eq!(code(inspect(&root, &[])), "bad_signature");
    files::write(&made, &good).unwrap();
    std::fs::remove_file(made.with_extension("receipt")).unwrap();
    assert_eq!(code(inspect(&root, &[])), "receipt_missing");
}

fn ago(days: i64) -> Timestamp {
    now().plus_ms(-days * quorate_license::DAY_MS)
}
