//! Building, sending and installing snapshots.

use std::{fs, path::Path};

use openraft::{
    RaftSnapshotBuilder, StorageHelper,
    storage::{RaftLogStorage, RaftStateMachine},
};
use quorate_license::NodeId;
use quorate_raft_store::{
    disk::{SnapshotError, SnapshotFile, SnapshotKey, Store, StoreOptions},
    raft_types::{Vote, log_id},
};

use super::{append, apply, formats::copy, open, options, proposal, write_ahead_log};

async fn filled(folder: &Path, entries: u64) -> Store {
    let mut store = open(folder).unwrap();
    let entries: Vec<_> = (0..entries).map(|index| proposal(1, index)).collect();
    append(&mut store.log, entries.clone()).await;
    apply(&mut store, entries).await;
    store
}

async fn build(store: &mut Store) -> SnapshotFile {
    let mut builder = store.machine.try_create_snapshot_builder(true).await.unwrap();
    builder.build_snapshot().await.unwrap().snapshot
}

/// Sends a snapshot as the network does: in chunks, into a file of the receiver's.
fn send(snapshot: &SnapshotFile, to: &Store) -> Result<SnapshotFile, SnapshotError> {
    let mut receiver = to.incoming.receive()?;
    let mut offset = 0;
    loop {
        let chunk = snapshot.read_at(offset, 1000).unwrap();
        if chunk.is_empty() {
            return receiver.finish();
        }
        offset += chunk.len() as u64;
        receiver.write(&chunk)?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_rots_on_the_disk_is_put_aside_and_another_one_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut leader = filled(folder.path(), 500).await;
    let path = build(&mut leader).await.path().to_owned();
    let more: Vec<_> = (500..510).map(|index| proposal(1, index)).collect();
    append(&mut leader.log, more.clone()).await;
    apply(&mut leader, more).await;
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    // The clock of files is a coarse one.
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    let later = written + std::time::Duration::from_secs(1);
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();

    let sent = leader.machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(sent.meta.last_log_id, Some(log_id(1, 509)), "it is of what is applied now");
    SnapshotFile::open(sent.snapshot.path(), None).unwrap();
    assert!(!path.exists());
    assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), bytes, "the damaged one is kept");
    let again = leader.machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(again.meta, sent.meta);
}

/// Changes a byte of a file behind the store's back, as a disk does: its times stay as they were.
fn rot(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_checked_is_offered_again_without_being_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut leader = filled(folder.path(), 500).await;
    let path = build(&mut leader).await.path().to_owned();
    let first = leader.machine.get_current_snapshot().await.unwrap().unwrap();
    // Whoever reads it would find it damaged.
    rot(&path);
    for _ in 0..3 {
        let again = leader.machine.get_current_snapshot().await.unwrap().unwrap();
        assert_eq!((again.meta, again.snapshot.path()), (first.meta.clone(), path.as_path()));
    }
    assert!(!path.with_extension("damaged").exists());

    // Whoever is sent it finds it, and then another one takes its place.
    apply(&mut leader, vec![proposal(1, 500)]).await;
    first.snapshot.verify().unwrap_err();
    let other = leader.machine.get_current_snapshot().await.unwrap().unwrap();
    other.snapshot.verify().unwrap();
    assert_eq!(other.meta.last_log_id, Some(log_id(1, 500)));
    assert!(path.with_extension("damaged").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_somebody_removed_is_replaced_and_the_node_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut leader = filled(folder.path(), 500).await;
    let path = build(&mut leader).await.path().to_owned();
    fs::remove_file(&path).unwrap();
    let sent = leader.machine.get_current_snapshot().await.unwrap().unwrap();
    SnapshotFile::open(sent.snapshot.path(), None).unwrap();
    assert!(!path.with_extension("damaged").exists(), "it is not called damaged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_snapshots_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut leader = filled(folder.path(), 100).await;
    build(&mut leader).await;
    let mut last = None;
    for index in 100..106 {
        apply(&mut leader, vec![proposal(1, index)]).await;
        let current = leader.machine.get_current_snapshot().await.unwrap().unwrap().snapshot;
        fs::write(current.path(), format!("it rots for the {index}th time")).unwrap();
        last = Some(current.path().with_extension("damaged"));
    }
    leader.machine.get_current_snapshot().await.unwrap().unwrap();
    let damaged = || {
        let files = fs::read_dir(folder.path().join("snapshots")).unwrap();
        let paths = files.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|it| it == "damaged")).collect::<Vec<_>>()
    };
    let kept = damaged();
    assert!(kept.len() <= 2, "{kept:?}");
    assert!(kept.contains(&last.unwrap()), "the newest one is kept for who looks into it: {kept:?}");
    // Those that an earlier version has left, too.
    drop(leader);
    for index in 0..9 {
        fs::write(folder.path().join(format!("snapshots/0000000000000000000{index}-1.damaged")), "x")
            .unwrap();
    }
    drop(open(folder.path()).unwrap());
    assert!(damaged().len() <= 2, "{:?}", damaged());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_is_on_disk_before_a_snapshot_that_is_built_after_it_has_its_name() {
    let (folder, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = options(folder.path());
    let mut store = Store::open(&options).unwrap();
    append(&mut store.log, (0..=120).map(|index| proposal(1, index)).collect()).await;
    apply(&mut store, (0..=50).map(|index| proposal(1, index)).collect()).await;
    store.machine.written().await.unwrap();
    store.log.save_vote(&Vote::new_committed(2, NodeId(2))).await.unwrap();
    let synced = fs::metadata(write_ahead_log(folder.path())).unwrap().len();
    let syncs = options.metrics.syncs.get();

    // A leader's entries take the place of some of ours. A quorum has them before this node has written them.
    store.log.truncate_after(Some(log_id(1, 50))).await.unwrap();
    apply(&mut store, (51..=100).map(|index| proposal(2, index)).collect()).await;
    build(&mut store).await;
    copy(folder.path(), left.path());
    // The power goes: what was written since the last sync is lost.
    if options.metrics.syncs.get() == syncs {
        let log = fs::File::options().write(true).open(write_ahead_log(left.path())).unwrap();
        log.set_len(synced).unwrap();
    }
    let mut store = open(left.path()).unwrap();
    let mut helper = StorageHelper::new(&mut store.log, &mut store.machine).with_id(NodeId(1));
    helper.get_initial_state().await.unwrap();
    assert_eq!(store.machine.applied_state().await.unwrap().0, Some(log_id(2, 100)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_key_nothing_of_the_state_can_be_read_from_a_snapshot_and_only_who_has_the_key_takes_it() {
    let key = |digits: &str| Some(SnapshotKey::parse(&digits.repeat(32)).unwrap());
    let opened = |folder: &Path, key: Option<SnapshotKey>| {
        Store::open(&StoreOptions { snapshot_key: key, ..options(folder) }).unwrap()
    };
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plain = build(&mut filled(from.path(), 500).await).await;
    let plain = fs::read(plain.path()).unwrap();
    let (path, digest) = {
        let mut leader = opened(from.path(), key("17"));
        let sealed = build(&mut leader).await;
        let bytes = fs::read(sealed.path()).unwrap();
        let shared = plain.windows(24).filter(|window| bytes.windows(24).any(|other| other == *window));
        assert_eq!(shared.take(1).count(), 0, "a piece of the state is in it");

        // A follower with the key installs it; one without, or with another one, says why not.
        let mut follower = opened(to.path(), key("17"));
        let received = send(&sealed, &follower).unwrap();
        let meta = received.meta().clone();
        follower.machine.install_snapshot(&meta, received).await.unwrap();
        assert_eq!(follower.views.current().digest, leader.views.current().digest);
        for (other, said) in [(None, "has no key for it"), (key("18"), "key is another one")] {
            let folder = tempfile::tempdir().unwrap();
            let refused = send(&sealed, &opened(folder.path(), other)).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
        (sealed.path().to_owned(), leader.views.current().digest)
    };
    // The key is lost: the state is there, and a snapshot that can be read takes the place of the other.
    let mut leader = opened(from.path(), None);
    assert_eq!(leader.views.current().digest, digest);
    let built = leader.machine.get_current_snapshot().await.unwrap().unwrap().snapshot;
    SnapshotFile::open(built.path(), None).unwrap();
    assert!(path.with_extension("damaged").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_state_is_written_less_often_but_always_when_it_has_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path(), 500).await;
    assert!(store.machine.whole().state.row_count() < 40_000);
    assert!(store.machine.try_create_snapshot_builder(false).await.is_some());
    let mut next = 500;
    let mut write = async |store: &mut Store, count: u64| {
        let entries: Vec<_> = (next..next + count).map(|index| proposal(1, index)).collect();
        append(&mut store.log, entries.clone()).await;
        apply(store, entries).await;
        next += count;
    };
    while store.machine.whole().state.row_count() < 40_000 {
        write(&mut store, 1000).await;
    }
    build(&mut store).await;
    let mut since = 0;
    loop {
        let rows = store.machine.whole().state.row_count();
        let due = store.machine.try_create_snapshot_builder(false).await.is_some();
        assert_eq!(due, since * 4 >= rows, "{rows} rows, {since} entries since the last one");
        assert!(store.machine.try_create_snapshot_builder(true).await.is_some());
        if due {
            break;
        }
        write(&mut store, 1000).await;
        since += 1000;
    }
    assert!(since >= 10_000, "due after {since} entries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_snapshot_is_sent_no_newer_one_is_built_unless_somebody_insists() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path(), 100).await;
    build(&mut store).await;
    apply(&mut store, (100..400).map(|index| proposal(1, index)).collect()).await;
    let sent = store.machine.get_current_snapshot().await.unwrap().unwrap().snapshot;
    let part = sent.clone();
    drop(sent);
    assert!(store.machine.try_create_snapshot_builder(false).await.is_none());
    assert!(store.machine.try_create_snapshot_builder(true).await.is_some());
    drop(part);
    assert!(store.machine.try_create_snapshot_builder(false).await.is_some());
    // A restarted node may install what it has; that is nobody's loan.
    let own = store.machine.get_current_snapshot().await.unwrap().unwrap();
    store.machine.install_snapshot(&own.meta, own.snapshot).await.unwrap();
    apply(&mut store, (100..400).map(|index| proposal(1, index)).collect()).await;
    assert!(store.machine.try_create_snapshot_builder(false).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_carries_the_whole_state_over_and_survives_a_restart() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut leader = filled(from.path(), 500).await;
    let snapshot = build(&mut leader).await;
    let digest = leader.views.current().digest;
    {
        let mut follower = filled(to.path(), 3).await;
        let received = send(&snapshot, &follower).unwrap();
        let meta = received.meta().clone();
        follower.machine.install_snapshot(&meta, received).await.unwrap();
        assert_eq!(follower.views.current().digest, digest);
    }
    let mut follower = open(to.path()).unwrap();
    assert_eq!(follower.views.current().digest, digest);
    assert_eq!(follower.machine.applied_state().await.unwrap().0, Some(log_id(1, 499)));
    let current = follower.machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta.last_log_id, Some(log_id(1, 499)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_or_changed_snapshot_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path(), 200).await;
    let snapshot = build(&mut store).await;
    let whole = fs::read(snapshot.path()).unwrap();
    let copy = folder.path().join("copy");
    for position in (0..whole.len()).step_by(97) {
        let mut changed = whole.clone();
        changed[position] ^= 0x40;
        fs::write(&copy, &changed).unwrap();
        assert!(SnapshotFile::open(&copy, None).is_err(), "byte {position} changed");
        fs::write(&copy, &whole[..position]).unwrap();
        assert!(SnapshotFile::open(&copy, None).is_err(), "cut at {position}");
    }
    fs::write(&copy, [&whole[..], b"x"].concat()).unwrap();
    assert!(matches!(SnapshotFile::open(&copy, None), Err(SnapshotError::Damaged { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_newest_snapshot_is_kept_and_unfinished_ones_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut store = filled(folder.path(), 10).await;
        let first = build(&mut store).await;
        apply(&mut store, vec![proposal(1, 10)]).await;
        build(&mut store).await;
        assert!(!first.path().exists());
        assert_eq!(first.read_at(0, 8).unwrap(), b"QRSTSNAP", "one that is being sent stays readable");
        let receiver = store.incoming.receive().unwrap();
        drop(receiver);
    }
    let snapshots = folder.path().join("snapshots");
    fs::write(snapshots.join("7.unfinished"), "half").unwrap();
    drop(open(folder.path()).unwrap());
    let left: Vec<_> = fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
