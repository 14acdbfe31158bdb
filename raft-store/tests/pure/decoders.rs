//! Nothing that comes from disk or network makes a reader panic, and what is read can be applied.

use proptest::{collection, prelude::*, sample::Index};
use quorate_raft_store::{
    Answer, Applier, Proposal, State, codec, raft_types::EncodedProposal, records::Blob, wire,
};

use crate::{
    replica::Replica,
    specimens::{self, Specimen},
};

thread_local! {
    /// Made once: it signs licenses.
    static SPECIMENS: Vec<Specimen> = specimens::all();
}

/// One way to damage bytes.
#[derive(Debug, Clone)]
enum Damage {
    Change(Index, u8),
    Cut(Index),
    Insert(Index, u8),
    Repeat(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Change(at, byte)),
        // The first bytes of long numbers in this encoding.
        2 => (any::<Index>(), 251..=255_u8).prop_map(|(at, byte)| Damage::Change(at, byte)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => any::<Index>().prop_map(Damage::Repeat),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        match damage {
            Damage::Change(at, byte) => *at.get_mut(&mut bytes[..]) = *byte,
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Damage::Repeat(at) => bytes.extend_from_within(at.index(bytes.len())..),
        }
    }
    bytes
}

/// Gives the bytes to every reader that there is.
fn read_everywhere(bytes: &[u8]) {
    SPECIMENS.with(|specimens| {
        for specimen in specimens {
            if let Ok(written) = (specimen.reread)(bytes) {
                let again = (specimen.reread)(&written);
                assert_eq!(again.unwrap(), written, "{}: what was read is written in one way", specimen.name);
            }
        }
    });
    let _ = codec::decode::<Blob>(bytes);
    let _ = codec::decode::<Answer>(bytes);
    let _ = wire::decode_append(bytes);
    for tag in 0..=24 {
        let (key, row) = bytes.split_at(bytes.len().min(16));
        let _ = State::default().load(&[&[tag], key].concat(), row);
        let _ = State::default().load(&[tag], bytes);
    }
}

/// Applies the bytes as an entry of a living cluster; its state can still be written.
fn apply(bytes: &[u8]) {
    for mut applier in [Applier::default(), Replica::with_nodes(2).applier] {
        let _ = applier.take_changes().unwrap();
        if applier.apply(1000, &EncodedProposal(bytes.to_vec().into())).is_ok() {
            applier.take_changes().unwrap();
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(mut bytes in collection::vec(any::<u8>(), 0..300), version in any::<bool>()) {
        if version && !bytes.is_empty() {
            bytes[0] = codec::VERSION;
        }
        read_everywhere(&bytes);
        apply(&bytes);
    }

    #[test]
    fn damaged_records_are_read_or_refused(at in any::<Index>(), damages in collection::vec(damage(), 1..4)) {
        let bytes = SPECIMENS.with(|specimens| at.get(specimens).bytes.clone());
        read_everywhere(&damaged(bytes, &damages));
    }

    #[test]
    fn damaged_proposals_are_applied_or_refused(at in any::<Index>(), damages in collection::vec(damage(), 1..4)) {
        let proposals: Vec<Vec<u8>> = SPECIMENS.with(|specimens| {
            let proposals = specimens.iter().filter(|specimen| specimen.name.starts_with("proposal/"));
            proposals.map(|specimen| specimen.bytes.clone()).collect()
        });
        apply(&damaged(at.get(&proposals).clone(), &damages));
    }
}

#[test]
fn no_cut_of_a_record_is_taken_for_a_whole_one() {
    SPECIMENS.with(|specimens| {
        for specimen in specimens.iter().filter(|specimen| !specimen.name.starts_with("row/")) {
            for length in 0..specimen.bytes.len() {
                let cut = (specimen.reread)(&specimen.bytes[..length]);
                assert!(cut.is_err(), "{} cut to {length} bytes", specimen.name);
            }
            let longer = [&specimen.bytes[..], &[0]].concat();
            assert!((specimen.reread)(&longer).is_err(), "{} and a byte", specimen.name);
        }
    });
}

#[test]
fn a_proposal_comes_back_as_it_was() {
    for command in specimens::one_of_each_command() {
        let request = quorate_raft_store::RequestId(3);
        for asked_by in [None, Some(specimens::asked_by())] {
            let proposal =
                Proposal { request, time: crate::sample::start(), asked_by, command: command.clone() };
            let encoded = proposal.encode().unwrap();
            assert_eq!(Proposal::decode(&encoded.0).unwrap(), proposal);
        }
    }
}
