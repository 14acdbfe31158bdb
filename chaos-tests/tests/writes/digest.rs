//! The replicated state, recomputed from each node's files: the same on all, and different after one changed byte.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_chaos_tests::{Cluster, Node, files, wait, wait::Seen};
use serde::Deserialize;

/// What `quorate debug digest` says of a stopped node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Digest {
    applied_index: Option<u64>,
    stored: String,
    recomputed: String,
    rows: u64,
}

fn digest(node: &Node) -> Result<Digest, quorate_chaos_tests::Failure> {
    node.cli(["debug", "digest"]).json()
}

/// Kills all nodes at rest, compares their digests, and damages one of them.
pub(crate) fn equal_on_all_and_a_changed_byte_is_noticed(cluster: &mut Cluster) {
    wait::until("all nodes at the same log index", wait::PATIENCE, || {
        let status = cluster.status()?;
        let indexes: Vec<_> = status.nodes.iter().map(|node| node.applied_index).collect();
        Ok(Seen::when(indexes.iter().all(|index| index.is_some() && *index == indexes[0]), || {
            format!("{indexes:?}")
        }))
    })
    .unwrap();
    cluster.kill_all().unwrap();
    let digests: Vec<Digest> = cluster.nodes.iter().map(|node| digest(node).unwrap()).collect();
    for found in &digests {
        assert_eq!(found.recomputed, digests[0].recomputed, "{digests:#?}");
        assert_eq!(
            (found.rows, found.applied_index),
            (digests[0].rows, digests[0].applied_index),
            "{digests:#?}"
        );
        assert_eq!(found.stored, found.recomputed, "{found:#?}");
        assert!(found.rows >= 20_000, "{found:#?}");
    }

    // One byte, in the middle of the largest file that holds rows.
    let file = flip_a_byte(&cluster.nodes[1].data_dir);
    let node = &mut cluster.nodes[1];
    let after = digest(node);
    let differs = match &after {
        Ok(found) => found.recomputed != digests[1].recomputed || found.rows != digests[1].rows,
        Err(_) => true,
    };
    assert!(differs, "a changed byte in {} went unnoticed: {after:?}", file.display());

    // Nor does the node itself go on with it as if nothing had happened.
    node.serve().unwrap();
    let outcome = node.wait_end(Duration::from_secs(20));
    let log = files::tail(node.log(), 20);
    assert!(
        outcome.is_ok_and(|status| !status.success()),
        "it serves with a damaged {}: {log}",
        file.display()
    );
}

/// Changes one byte and gives the file.
fn flip_a_byte(data_dir: &Path) -> PathBuf {
    let mut largest: Option<(u64, PathBuf)> = None;
    let mut folders = vec![data_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in files::entries(&folder).unwrap() {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|ending| ending == "sst" || ending == "log") {
                let size = fs::metadata(&entry).unwrap().len();
                if largest.as_ref().is_none_or(|(other, _)| size > *other) {
                    largest = Some((size, entry));
                }
            }
        }
    }
    let (_, file) = largest.expect("a node keeps its rows in .sst and .log files");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&file, bytes).unwrap();
    file
}
