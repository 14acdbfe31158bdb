//! Data directories that are prepared, taken, and those of others.

use super::*;

fn directory() -> (tempfile::TempDir, DataDir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::new(&temp.path().join("data"));
    dir.create().unwrap();
    (temp, dir)
}

fn node(name: &str) -> NodeFile {
    let epoch = Epoch { number: 1, id: quorate_license::EpochId([2; 16]) };
    NodeFile::new(ClusterId([1; 16]), epoch, NodeId::new(1, 1), name.parse().unwrap(), NodeRole::Management)
}

#[test]
fn a_directory_of_another_node_is_refused_by_name() {
    let (_temp, dir) = directory();
    let ms1: NodeName = "ms1".parse().unwrap();
    assert!(matches!(dir.prepared_for(&ms1, |_| None), Err(DataDirError::Unprepared(_))));
    dir.save_node_file(&node("ms2")).unwrap();
    let refusal = dir.prepared_for(&ms1, |_| None).unwrap_err().to_string();
    assert!(refusal.contains("belongs to node ms2"), "{refusal}");
    let renamed: NodeName = "ms3".parse().unwrap();
    let refusal = dir.prepared_for(&ms1, |_| Some(renamed.clone())).unwrap_err().to_string();
    assert!(refusal.contains("belongs to node ms3"), "{refusal}");
    for name in [renamed.clone(), "ms2".parse().unwrap()] {
        assert_eq!(dir.prepared_for(&name, |_| Some(renamed.clone())).unwrap().name.as_str(), "ms2");
    }
    assert!(matches!(dir.check_unprepared(), Err(DataDirError::Prepared { .. })));
}

#[test]
fn starts_are_counted() {
    let (_temp, dir) = directory();
    assert_eq!(dir.count_start().unwrap(), 1);
    assert_eq!(dir.count_start().unwrap(), 2);
    fs::write(dir.path().join("starts"), "x").unwrap();
    assert!(matches!(dir.count_start(), Err(DataDirError::Damaged { .. })));
}

#[test]
fn only_one_process_uses_a_directory() {
    let (_temp, dir) = directory();
    let lock = dir.lock().unwrap();
    assert!(matches!(dir.lock(), Err(DataDirError::InUse(_))));
    drop(lock);
    dir.lock().unwrap();
}

#[test]
fn secrets_are_for_their_owner_alone() {
    let (_temp, dir) = directory();
    dir.save_node_key(&[7; 32]).unwrap();
    assert_eq!(dir.node_key().unwrap().seed().as_slice(), &[7; 32]);
    let mode = fs::metadata(dir.path().join("keys/node")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
