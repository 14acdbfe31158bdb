//! Properties that hold for every input: what is written is read back, damage is noticed, and nothing
//! that comes from outside makes a reader panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking what failed")]

use std::collections::BTreeMap;

use proptest::{collection, option, prelude::*, sample};
use quorate_license::*;

#[allow(dead_code, reason = "shared with the crate's own tests, which use all of it")]
#[path = "../src/samples.rs"]
mod samples;

/// The symbols of values, without the letters that are read as others.
const SYMBOLS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The symbols that the last place may hold.
const CHECK_SYMBOLS: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";

/// The text with another symbol at some place from `first` on.
fn with_one_symbol_changed(text: &str, first: usize, place: sample::Index, symbol: sample::Index) -> String {
    let places: Vec<usize> = (first..text.len()).filter(|at| text.as_bytes()[*at] != b'-').collect();
    let at = *place.get(&places);
    let symbols = if at + 1 == text.len() { CHECK_SYMBOLS } else { SYMBOLS };
    let others: Vec<u8> = symbols.bytes().filter(|other| *other != text.as_bytes()[at]).collect();
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = *symbol.get(&others);
    String::from_utf8(bytes).unwrap()
}

/// The text with two neighbours swapped, if they differ.
fn with_neighbours_swapped(text: &str, first: usize, place: sample::Index) -> Option<String> {
    let places: Vec<usize> = (first..text.len()).filter(|at| text.as_bytes()[*at] != b'-').collect();
    let index = place.index(places.len() - 1);
    let mut bytes = text.as_bytes().to_vec();
    bytes.swap(places[index], places[index + 1]);
    let swapped = String::from_utf8(bytes).unwrap();
    (swapped != text).then_some(swapped)
}

fn computer_id() -> impl Strategy<Value = ComputerId> {
    (any::<[u8; 20]>(), any::<bool>()).prop_map(|(tag, volume)| {
        let mut bytes = [0; 21];
        bytes[0] = if volume { 0x81 } else { 0x01 };
        bytes[1..].copy_from_slice(&tag);
        ComputerId::from_bytes(bytes).unwrap()
    })
}

fn tenant() -> impl Strategy<Value = TenantId> {
    "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

fn build() -> impl Strategy<Value = BuildNumber> {
    "[A-Za-z0-9._+-]{1,20}".prop_map(|text| text.parse().unwrap())
}

prop_compose! {
    fn row(id: u64)(
        management in any::<bool>(),
        computer_id in computer_id(),
        build in option::of(build()),
        agent_version in "[0-9]{1,3}\\.[0-9]{1,3}",
        key in any::<[u8; 32]>(),
        start_counter in any::<u64>(),
    ) -> NodeRow {
        let role = if management || id == 1 { NodeRole::Management } else { NodeRole::Spooler };
        NodeRow { id: NodeId(id), role, computer_id, build, agent_version, key: NodePublicKey(key), start_counter }
    }
}

fn statements() -> impl Strategy<Value = Vec<NodeStatement>> {
    (1u64..8).prop_flat_map(|count| {
        let one = |id| {
            let signature = any::<[u8; 32]>();
            (row(id), signature).prop_map(|(row, half)| {
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&half);
                NodeStatement { row, signature: NodeSignature(signature) }
            })
        };
        (1..=count).map(one).collect::<Vec<_>>()
    })
}

prop_compose! {
    /// Well-formed integrity keys, the signatures of which need not be good.
    fn integrity_key()(
        kind in sample::select(ActivationKind::ALL.to_vec()),
        ids in any::<([u8; 16], [u8; 16])>(),
        epoch_number in any::<u32>(),
        fence in any::<u64>(),
        tenant in tenant(),
        nodes in statements(),
        entropy in any::<[u8; 15]>(),
        support_id in option::of("[A-Z0-9]{4,12}"),
        serials in collection::btree_map(self::tenant(), any::<u64>().prop_map(Serial), 0..4),
        binding_serial in any::<u64>(),
        superseded in collection::btree_set(any::<[u8; 16]>(), 0..4),
        telemetry in any::<bool>(),
        signed in any::<bool>(),
    ) -> IntegrityKey {
        let nonce = Nonce(ids.1);
        let mut key = IntegrityKey {
            kind,
            cluster_id: ClusterId(ids.0),
            epoch: Epoch { number: epoch_number, id: EpochId(ids.1) },
            fence: Fence(fence),
            tenant,
            first_license_node: NodeId(1),
            nodes,
            activation_key: kind.needs_activation_key().then(|| ActivationKey::from_entropy(entropy)),
            support_id: support_id.map(|text| text.parse().unwrap()),
            serials,
            binding_serial: Serial(binding_serial),
            nonce,
            superseded: superseded.into_iter().map(Nonce).filter(|other| *other != nonce).collect(),
            telemetry,
            signatures: Vec::new(),
        };
        if signed {
            key.add_signature(key.signature_by(NodeId(1), &samples::node_key(1)));
        }
        key
    }
}

proptest! {
    #[test]
    fn computer_ids_are_read_back_and_damage_is_refused(
        id in computer_id(),
        place in any::<sample::Index>(),
        symbol in any::<sample::Index>(),
    ) {
        let text = id.to_string();
        prop_assert_eq!(text.parse::<ComputerId>().unwrap(), id);
        prop_assert_eq!(text.to_lowercase().replace('-', "").parse::<ComputerId>().unwrap(), id);
        let changed = with_one_symbol_changed(&text, 0, place, symbol);
        prop_assert!(changed.parse::<ComputerId>().is_err(), "{}", changed);
        if let Some(swapped) = with_neighbours_swapped(&text, 0, place) {
            prop_assert!(swapped.parse::<ComputerId>().is_err(), "{}", swapped);
        }
    }

    #[test]
    fn activation_keys_are_read_back_and_damage_is_refused(
        entropy in any::<[u8; 15]>(),
        place in any::<sample::Index>(),
        symbol in any::<sample::Index>(),
    ) {
        let key = ActivationKey::from_entropy(entropy);
        let text = key.expose();
        prop_assert_eq!(text.parse::<ActivationKey>().unwrap(), key);
        let changed = with_one_symbol_changed(&text, 3, place, symbol);
        prop_assert!(changed.parse::<ActivationKey>().is_err(), "{}", changed);
        if let Some(swapped) = with_neighbours_swapped(&text, 3, place) {
            prop_assert!(swapped.parse::<ActivationKey>().is_err(), "{}", swapped);
        }
    }

    #[test]
    fn integrity_keys_are_read_back(key in integrity_key()) {
        prop_assert_eq!(key.check(), Ok(()));
        prop_assert_eq!(&IntegrityKey::from_bytes(&key.to_bytes()).unwrap(), &key);
        prop_assert_eq!(&IntegrityKey::from_text(&key.to_text()).unwrap(), &key);
    }

    /// Every encoding is canonical, so no two byte strings are one key.
    #[test]
    fn a_changed_byte_of_an_integrity_key_is_refused_or_another_key(
        key in integrity_key(),
        place in any::<sample::Index>(),
        flip in 1u8..,
    ) {
        let mut bytes = key.to_bytes().to_vec();
        let at = place.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = IntegrityKey::from_bytes(&bytes) {
            prop_assert_ne!(&other, &key);
            prop_assert!(other.verify_signatures().is_err());
        }
    }

    /// The checksum finds it, unless it changed nothing but white space.
    #[test]
    fn a_changed_byte_of_the_text_is_never_another_integrity_key(
        key in integrity_key(),
        place in any::<sample::Index>(),
        flip in 1u8..128,
    ) {
        let mut bytes = key.to_text().as_bytes().to_vec();
        let at = place.index(bytes.len());
        bytes[at] ^= flip;
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(other) = IntegrityKey::from_text(&text) {
            prop_assert_eq!(&other, &key);
        }
    }

    #[test]
    fn a_changed_byte_of_a_signed_integrity_key_is_refused(place in any::<sample::Index>(), flip in 1u8..) {
        let mut bytes = samples::integrity_key().to_bytes().to_vec();
        let at = place.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = IntegrityKey::from_bytes(&bytes) {
            prop_assert!(other.verify_signatures().is_err());
        }
    }

    #[test]
    fn readers_never_panic_on_bytes(bytes in collection::vec(any::<u8>(), 0..400)) {
        let _ = IntegrityKey::from_bytes(&bytes);
        let _ = LicenseKey::from_json(&bytes);
        let _ = ComputerId::try_from(&bytes[..]);
        // With the right version in front, the decoder is reached.
        let _ = IntegrityKey::from_bytes(&[&[8, 1], &bytes[..]].concat());
    }

    #[test]
    fn readers_never_panic_on_text(text in "(?s).{0,200}", inner in "[A-Za-z0-9+/=\\n]{0,200}") {
        let armoured = format!("-----BEGIN QUORATE INTEGRITY KEY-----\n{inner}\n-----END QUORATE INTEGRITY KEY-----");
        for text in [&text, &armoured] {
            let _ = IntegrityKey::from_text(text);
            let _ = LicenseKey::from_text(text);
            let _ = LicenseFile::from_text(text);
            let _ = SignedReceipt::from_text(text);
            let _ = text.parse::<ComputerId>();
            let _ = text.parse::<ActivationKey>();
            let _ = format!("QA-{text}").parse::<ActivationKey>();
            let _ = MachineId::parse(text);
            let _ = samples::roots().verify::<License>(text);
            let _ = samples::roots().verify::<License>(&format!("v4.public.{inner}.{inner}"));
            let _ = text.parse::<RootKey>();
            let _ = text.parse::<RootPublicKey>();
        }
    }

    /// Any combination of times, nodes and graces gives a status and a decision, and they agree.
    #[test]
    fn status_and_check_never_panic(
        kind in sample::select(vec![LicenseKind::Trial, LicenseKind::Subscription, LicenseKind::Perpetual]),
        times in any::<[i64; 6]>(),
        has_end in any::<bool>(),
        graces in any::<[u32; 4]>(),
        tolerance in any::<u32>(),
        present in any::<[bool; 6]>(),
        flags in any::<[bool; 5]>(),
        quantity in any::<u64>(),
    ) {
        let [not_before, end, issued_at, since, now, joined_at] = times.map(Timestamp::from_unix_ms);
        let graces = Graces {
            expiry_days: graces[0],
            reactivation_days: graces[1],
            unbound_days: graces[2],
            receipt_max_age_days: graces[3],
        };
        let license = License {
            kind, not_before, expires_at: has_end.then_some(end), issued_at, graces, ..samples::license()
        };
        let binding = Binding { tolerance, issued_at, graces, ..samples::binding() };
        let nodes: Vec<_> = (1..=6u8).filter(|index| present[usize::from(*index) - 1]).map(|index| {
            let row = samples::row(index);
            let (id, role, computer_id) = (row.id, row.role, row.computer_id);
            RegisteredNode { id, role, computer_id, build: row.build.filter(|_| flags[4]), joined_at }
        }).collect();
        let license = flags[0].then_some(&license);
        let report = evaluate(&StatusInput {
            license,
            binding: flags[1].then_some(&binding),
            nodes: &nodes,
            scope: if flags[2] { IntegrityScope::All } else { IntegrityScope::Management },
            restored: flags[3],
            reactivation_required_since: flags[4].then_some(since),
            now,
        });
        prop_assert!(LicenseStatus::NAMES.contains(&report.status.as_str()));
        let feature = "devices".parse().unwrap();
        let ask = CheckInput { report: &report, license, node: NodeId(1), feature: Some(&feature), quantity, now };
        let decision = check(&ask);
        match report.status {
            LicenseStatus::Unlicensed | LicenseStatus::Invalid { .. } | LicenseStatus::Expired => {
                prop_assert!(!decision.allowed);
            }
            LicenseStatus::Active | LicenseStatus::Trial | LicenseStatus::Grace => {
                prop_assert_eq!(decision.allowed, quantity <= 25);
            }
            LicenseStatus::ReactivationRequired { ref reasons } => prop_assert!(!reasons.is_empty()),
        }
        if decision.allowed && let Some(days) = decision.days_left {
            prop_assert!(days > 0, "an answer that runs out has a last day");
        }
    }

    #[test]
    fn stored_types_are_read_back_from_json(
        statements in statements(),
        serials in collection::btree_map(tenant(), any::<u64>().prop_map(Serial), 0..4),
    ) {
        let json = serde_json::to_string(&statements).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<NodeStatement>>(&json).unwrap(), statements);
        let json = serde_json::to_string(&serials).unwrap();
        prop_assert_eq!(serde_json::from_str::<BTreeMap<TenantId, Serial>>(&json).unwrap(), serials);
    }
}
