use std::{fs, path::Path};

use quorate_license::{SignedReceipt, VerifyInput, verify_file};
use quorate_raft_store::Views;
use tokio_util::task::TaskTracker;

use super::*;
use crate::service::licensing::samples::{self, Installation};

fn options(folder: &Path) -> Options {
    Options {
        node: samples::node_id(4),
        key: Arc::new(samples::node_key(4)),
        computer_id: samples::computer_id(4),
        folder: folder.join("licenses"),
    }
}

fn files(folder: &Path) -> Files {
    Files::new(Arc::new(samples::roots()), options(folder))
}

fn wanted(installation: &Installation) -> Wanted {
    let (license, binding) = (installation.license.as_ref().unwrap(), installation.binding.as_ref().unwrap());
    Wanted {
        tenant: TenantId::default_tenant(),
        license: samples::sign(license),
        binding: samples::sign(binding),
        cluster_time: installation.time,
        reactivation_until: None,
    }
}

fn content(folder: &Path, name: &str) -> Option<String> {
    fs::read_to_string(folder.join("licenses").join(name)).ok()
}

/// Reads the files as a product does and verifies them for node 4.
fn serial_on_disk(folder: &Path) -> Option<u64> {
    let receipt = content(folder, "default.receipt")?;
    let verified = verify_file(&VerifyInput {
        file: &content(folder, "default.lic")?,
        receipt: Some(&receipt),
        roots: &samples::roots(),
        computer_id: &samples::computer_id(4),
        build: Some(&"11.2.0".parse().unwrap()),
        now: crate::clock::now(),
        min_serial: None,
    });
    Some(verified.unwrap().license.serial.0)
}

#[test]
fn files_hold_without_an_agent_and_are_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let (files, wanted) = (files(folder.path()), wanted(&Installation::licensed()));
    assert_eq!(files.write(&wanted).unwrap(), Outcome::Current { receipt_at: wanted.cluster_time });
    assert_eq!(serial_on_disk(folder.path()), Some(1));
    let inodes = || {
        use std::os::unix::fs::MetadataExt;
        ["default.lic", "default.receipt"]
            .map(|name| fs::metadata(folder.path().join("licenses").join(name)).unwrap().ino())
    };
    let before = inodes();
    // Later on the same day, after a restart.
    let later = Wanted { cluster_time: wanted.cluster_time.plus_ms(RENEW_AFTER_MS - 1), ..wanted.clone() };
    assert_eq!(files.write(&later).unwrap(), Outcome::Current { receipt_at: wanted.cluster_time });
    assert_eq!(inodes(), before);
}

#[test]
fn a_receipt_is_renewed_after_a_day_of_cluster_time() {
    let folder = tempfile::tempdir().unwrap();
    let (files, wanted) = (files(folder.path()), wanted(&Installation::licensed()));
    files.write(&wanted).unwrap();
    let license = content(folder.path(), "default.lic");
    let next_day = Wanted { cluster_time: wanted.cluster_time.plus_ms(RENEW_AFTER_MS), ..wanted };
    files.write(&next_day).unwrap();
    let receipt = SignedReceipt::from_text(&content(folder.path(), "default.receipt").unwrap()).unwrap();
    assert_eq!(receipt.receipt.cluster_time, next_day.cluster_time);
    assert_eq!(content(folder.path(), "default.lic"), license);
}

#[test]
fn a_serial_never_goes_down_within_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    files.write(&wanted(&Installation::licensed().activated(2))).unwrap();
    let ahead = (content(folder.path(), "default.lic"), content(folder.path(), "default.receipt"));
    assert_eq!(files.write(&wanted(&Installation::licensed().activated(1))).unwrap(), Outcome::NewerOnDisk);
    assert_eq!((content(folder.path(), "default.lic"), content(folder.path(), "default.receipt")), ahead);
    files.write(&wanted(&Installation::licensed().activated(3))).unwrap();
    assert_eq!(serial_on_disk(folder.path()), Some(3));

    let mut next_epoch = Installation::licensed().activated(1);
    next_epoch.binding.as_mut().unwrap().epoch = samples::epoch(2);
    files.write(&wanted(&next_epoch)).unwrap();
    assert_eq!(serial_on_disk(folder.path()), Some(1));
}

#[test]
fn damaged_foreign_and_missing_files_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (files, wanted) = (files(folder.path()), wanted(&Installation::licensed()));
    files.write(&wanted).unwrap();
    let path = |name: &str| folder.path().join("licenses").join(name);
    fs::write(path("default.lic"), "{}").unwrap();
    fs::write(path("default.receipt"), [0xff; 9]).unwrap();
    files.write(&wanted).unwrap();
    assert_eq!(serial_on_disk(folder.path()), Some(1));
    fs::remove_file(path("default.lic")).unwrap();
    let other = Options { key: Arc::new(samples::node_key(1)), ..options(folder.path()) };
    Files::new(Arc::new(samples::roots()), other).write(&wanted).unwrap();
    files.write(&wanted).unwrap();
    assert_eq!(serial_on_disk(folder.path()), Some(1));
}

struct Running {
    folder: tempfile::TempDir,
    views: Arc<Views>,
    metrics: Arc<Metrics>,
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Running {
    fn start(folder: tempfile::TempDir, view: View, roots: quorate_license::TrustRoots) -> Self {
        let views = Arc::new(Views::new(view));
        let licensing = Licensing::new(views.clone(), samples::node_id(4), Arc::new(roots));
        let metrics = Arc::new(Metrics::new().unwrap());
        let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
        tracker.spawn(run(licensing, options(folder.path()), metrics.clone(), token.clone()));
        tracker.close();
        Running { folder, views, metrics, tracker, token }
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let waited = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok(), "{what}");
    }

    async fn stop(self) {
        self.token.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.tracker.wait()).await.unwrap();
    }
}

#[tokio::test]
async fn every_change_is_written_after_it_was_applied() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder, Installation::unlicensed().view(1), samples::roots());
    running.views.publish(Installation::licensed().view(2));
    running.until("the first license", |r| serial_on_disk(r.folder.path()) == Some(1)).await;
    running.views.publish(Installation::licensed().activated(2).view(3));
    running.until("the second license", |r| serial_on_disk(r.folder.path()) == Some(2)).await;
    running.stop().await;
}

#[tokio::test]
async fn a_license_that_is_not_trusted_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder, Installation::licensed().view(1), samples::other_roots());
    for index in 2..5 {
        running.views.publish(Installation::licensed().view(index));
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(content(running.folder.path(), "default.lic"), None);
    running.stop().await;
}

#[tokio::test]
async fn a_failed_write_is_counted_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("licenses"), "in the way").unwrap();
    let running = Running::start(folder, Installation::licensed().view(1), samples::roots());
    running.until("a counted failure", |r| r.metrics.license_file_write_failures.get() > 0).await;
    fs::remove_file(running.folder.path().join("licenses")).unwrap();
    running.until("the license", |r| serial_on_disk(r.folder.path()) == Some(1)).await;
    running.stop().await;
}
