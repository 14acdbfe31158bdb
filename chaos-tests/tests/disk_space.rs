//! A disk that fills up: the leader refuses new changes before it is full, and everything else goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what can't be tested here is said on the terminal")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use quorate_chaos_tests::{
    Node, Stage,
    cli::{Answer, Cli},
    cluster::NewToken,
    wait::{self, PATIENCE, Seen},
};

const FREE: &str = "quorate_disk_free_bytes";
const DISK_BYTES: u64 = 160 << 20;

/// Runs what follows with a small disk of its own at `data`, which holds what was there before. Nobody else sees the
/// disk, and it is gone with the program.
fn with_small_disk(data: &Path) -> Vec<std::ffi::OsString> {
    let script = format!(
        "set -e; d='{}'; rm -f \"$d.img\"; truncate -s {DISK_BYTES} \"$d.img\"; mkfs.ext4 -q -F -m 0 \"$d.img\"; \
         cp -a \"$d\" \"$d.before\"; mount -o loop \"$d.img\" \"$d\"; cp -a \"$d.before/.\" \"$d\"; exec \"$@\"",
        data.display()
    );
    ["unshare", "--mount", "sh", "-c", &script, "sh"].into_iter().map(Into::into).collect()
}

/// Whether this user may make such disks.
fn may_have_small_disks(folder: &Path) -> bool {
    let data = folder.join("a-small-disk");
    fs::create_dir(&data).unwrap();
    let tried = Cli::new(Path::new("true"), [] as [&str; 0]).wrapper(&with_small_disk(&data)).run();
    let may = tried.as_ref().is_ok_and(|answer| answer.code == Some(0));
    if !may {
        eprintln!(
            "not tested: a small disk can't be mounted here, which takes root, loop devices and mkfs.ext4: {tried:?}"
        );
    }
    may
}

/// Where the node's data directory is found from outside of its disk.
fn seen_from_outside(node: &Node) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", node.pid().unwrap()));
    root.join(node.data_dir.strip_prefix("/").unwrap())
}

fn create_token(node: &Node) -> Answer {
    node.cli(["token", "create", "--admin", "a-change", "-o", "json"]).run().unwrap()
}

#[test]
fn a_leader_whose_disk_is_almost_full_refuses_changes_by_name_and_takes_them_again_when_there_is_room() {
    let mut stage = Stage::start(|plan| plan.spoolers = 0).unwrap();
    if !may_have_small_disks(stage.folder.path()) {
        return;
    }
    let sockets = stage.folder.path().join("sockets");
    fs::create_dir(&sockets).unwrap();
    let cluster = &mut stage.cluster;
    let key = stage.portal.order().unwrap().activation_key;
    let serial = cluster.activate(0, &key).unwrap().serial;
    cluster.wait_for_serial(serial).unwrap();
    let leader = cluster.leader().unwrap();
    let follower = (leader + 1) % 3;

    // The leader again, on a disk of its own; its sockets stay where everybody finds them.
    let node = &mut cluster.nodes[leader];
    node.stop().unwrap();
    node.admin_socket = sockets.join("admin.sock");
    node.set("listen", "admin_socket", node.admin_socket.display().to_string());
    node.socket = sockets.join("product.sock");
    node.set("listen", "socket", node.socket.display().to_string());
    node.write_config().unwrap();
    let around = std::mem::replace(&mut node.wrapper, with_small_disk(&node.data_dir));
    let served = node.serve();
    node.wrapper = around;
    served.unwrap();
    cluster.wait_for_members(3).unwrap();
    let name = cluster.nodes[leader].name.clone();
    let now_leads = cluster.leader().unwrap();
    if now_leads != leader {
        let moved =
            cluster.nodes[now_leads].cli(["cluster", "transfer-leader", "--to", &name]).run().unwrap();
        assert_eq!(moved.code, Some(0), "{moved:?}");
        wait::until("the node with the small disk to lead", PATIENCE, || {
            let leads = cluster.leader()?;
            Ok(Seen::when(leads == leader, || format!("node {leads} leads")))
        })
        .unwrap();
    }
    let revocable: NewToken = create_token(&cluster.nodes[follower]).success().unwrap().parse().unwrap();

    // Something else fills the disk.
    let filler = seen_from_outside(&cluster.nodes[leader]).join("something-else");
    let free = cluster.nodes[leader].metric(FREE).unwrap() as usize;
    assert!(free < DISK_BYTES as usize, "{free} bytes are free: it is not on the small disk");
    fs::write(&filler, vec![7; free - (40 << 20)]).unwrap();
    wait::until("the leader to refuse changes", PATIENCE, || {
        let answer = create_token(&cluster.nodes[leader]);
        let refused = answer.code != Some(0);
        Ok(Seen::when(refused, || format!("{answer:?}")))
    })
    .unwrap();
    for asked in [leader, follower] {
        let refusal = create_token(&cluster.nodes[asked]).refusal().unwrap();
        assert_eq!(refusal.code, "disk_full");
        assert!(refusal.message.contains(&name) && refusal.message.contains("MiB"), "{}", refusal.message);
        assert!(refusal.hint.is_some_and(|hint| hint.contains("make room")));
    }
    // What takes away goes on, and so does what is licensed.
    let revoked = cluster.nodes[follower].cli(["token", "revoke", &revocable.id]).run().unwrap();
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    for node in &cluster.nodes {
        assert!(node.product().check("", 1).unwrap().allowed, "{}", node.name);
        assert_eq!(node.metric("quorate_server_has_leader").unwrap(), 1.0);
    }

    fs::remove_file(&filler).unwrap();
    wait::until("changes to be taken again", PATIENCE, || {
        let answer = create_token(&cluster.nodes[follower]);
        Ok(Seen::when(answer.code == Some(0), || format!("{answer:?}")))
    })
    .unwrap();
    assert_eq!(cluster.leader().unwrap(), leader);
}
