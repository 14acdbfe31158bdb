//! The demo as a user runs it: two at once, the same folder twice, and after one that was killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use quorate_chaos_tests::{
    Binaries,
    client::Admin,
    cluster_file::ClusterFile,
    files,
    process::{Process, Start},
    stage::Folder,
    wait::{self, Seen},
};

/// How long a demo may take to start on a busy machine.
const START: Duration = Duration::from_secs(120);

fn demo(folder: &Path, log: &Path, arguments: &[&str]) -> Process {
    let binaries = Binaries::find().unwrap();
    Process::start(&Start {
        name: "the demo".to_owned(),
        program: Binaries::sibling("demo").unwrap(),
        arguments: arguments.iter().map(Into::into).collect(),
        environment: vec![
            ("DEMO_DIR".to_owned(), folder.into()),
            ("QUORATE_BIN_DIR".to_owned(), binaries.folder.into()),
        ],
        log: log.to_owned(),
        own_group: false,
    })
    .unwrap()
}

fn ready(demo: &mut Process, folder: &Path) -> ClusterFile {
    let path = folder.join("cluster.json");
    wait::until("cluster.json", START, || {
        demo.must_run()?;
        Ok(if path.exists() { Seen::Done(()) } else { Seen::not_yet(files::tail(demo.log(), 3)) })
    })
    .unwrap();
    ClusterFile::read(&path).unwrap()
}

fn alive(pid: u32) -> bool {
    // A process that ended and was not waited for yet has no command line any more.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn pids(file: &ClusterFile) -> Vec<u32> {
    file.nodes.iter().map(|node| node.pid).chain([file.portal.pid]).collect()
}

fn log(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

#[test]
fn demos_run_side_by_side_and_clean_up_after_one_that_was_killed() {
    let folder = Folder::new().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let mut stays = demo(&here, &log(folder.path(), "stays"), &[]);
    let mut once = demo(&there, &log(folder.path(), "once"), &["--once"]);
    let file = ready(&mut stays, &here);

    // What the file promises.
    let roles: Vec<_> = file.nodes.iter().map(|node| node.role.as_str()).collect();
    assert_eq!(roles, ["management", "management", "management", "spooler"]);
    assert!(pids(&file).into_iter().all(alive));
    assert_eq!(file.spare_keys.len(), 2);
    for node in &file.nodes {
        assert!(node.config.starts_with(here.canonicalize().unwrap()), "{node:?}");
        assert!(node.raft.ends_with(":7400") && node.grpc.ends_with(":7401"), "{node:?}");
        assert!(node.http.ends_with(":7443") && node.ops.ends_with(":7480"), "{node:?}");
        assert!(node.socket.exists() && node.admin_socket.exists(), "{node:?}");
        let status = Admin::new(&node.name, &node.admin_socket).status().unwrap();
        assert_eq!(status.nodes.len(), 4);
        assert_eq!(status.license.unwrap().status, "active");
    }

    let status = once.wait(START).unwrap();
    let said = files::read(&log(folder.path(), "once")).unwrap();
    assert!(status.success(), "{said}");
    assert!(said.contains("same serial and Support ID"), "{said}");
    assert!(said.contains("Support ID: QS-"), "{said}");
    let other = ClusterFile::read(&there.join("cluster.json")).unwrap();
    assert!(!pids(&other).into_iter().any(alive), "--once leaves nothing running");
    let network =
        |file: &ClusterFile| file.nodes[0].raft.rsplit_once('.').map(|(network, _)| network.to_owned());
    assert_ne!(network(&file), network(&other));

    // The same folder twice.
    let mut second = demo(&here, &log(folder.path(), "second"), &["--once"]);
    assert_eq!(second.wait(START).unwrap().code(), Some(1));
    let said = files::read(&log(folder.path(), "second")).unwrap();
    assert!(said.contains("a demo") && said.contains(&stays.pid().to_string()), "{said}");
    assert!(pids(&file).into_iter().all(alive), "the first one goes on");

    // Killed, it leaves its servers running; the next one ends them and begins anew.
    stays.kill().unwrap();
    assert!(pids(&file).into_iter().all(alive));
    let mut next = demo(&here, &log(folder.path(), "next"), &[]);
    wait::until("the leftovers to end", START, || {
        let left: Vec<u32> = pids(&file).into_iter().filter(|pid| alive(*pid)).collect();
        Ok(Seen::when(left.is_empty(), || format!("{left:?}")))
    })
    .unwrap();
    let again = wait::until("a new cluster.json", START, || {
        next.must_run()?;
        Ok(match ClusterFile::read(&here.join("cluster.json")) {
            Ok(now) if now != file => Seen::Done(now),
            _ => Seen::not_yet(files::tail(next.log(), 3)),
        })
    })
    .unwrap();

    // Ctrl-C stops everything, also a node that was killed and brought back by hand.
    let node = &again.nodes[2];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(node.pid.cast_signed()), Signal::SIGKILL).unwrap();
    wait::until("the demo to tell of it", START, || {
        let said = files::read(&log(folder.path(), "next"))?;
        Ok(Seen::when(said.contains("management-3 has ended"), || {
            files::tail(&log(folder.path(), "next"), 3)
        }))
    })
    .unwrap();
    let mut by_hand = Process::start(&Start {
        name: "management-3, by hand".to_owned(),
        program: again.quorate.clone(),
        arguments: vec!["--config".into(), node.config.clone().into(), "serve".into()],
        log: log(folder.path(), "by-hand"),
        ..Start::default()
    })
    .unwrap();
    wait::until("the node to be back", START, || {
        by_hand.must_run()?;
        let status = Admin::new("management-3", &node.admin_socket).status();
        Ok(status.map_or_else(|failure| Seen::not_yet(failure.to_string()), |_| Seen::Done(())))
    })
    .unwrap();
    next.signal(Signal::SIGINT).unwrap();
    let status = next.wait(START).unwrap();
    assert!(status.success(), "{status}: {}", files::tail(next.log(), 10));
    by_hand.wait(START).unwrap();
    assert!(!pids(&again).into_iter().any(alive));
}

#[test]
fn a_folder_with_other_things_in_it_is_refused_and_left_as_it_is() {
    let folder = Folder::new().unwrap();
    let here = folder.path().join("photos");
    files::make_folder(&here).unwrap();
    files::write(&here.join("holiday.jpg"), "sea").unwrap();
    let mut refused = demo(&here, &log(folder.path(), "refused"), &["--once"]);
    assert_eq!(refused.wait(START).unwrap().code(), Some(1));
    let said = files::read(&log(folder.path(), "refused")).unwrap();
    assert!(said.contains("holiday.jpg") && said.contains("DEMO_DIR"), "{said}");
    assert_eq!(files::read(&here.join("holiday.jpg")).unwrap(), "sea");
}
