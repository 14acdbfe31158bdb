//! Looks over the store's shoulder, where it calls the system.
//!
//! The functions here have the names of the C library's, and the linker prefers them, for RocksDB too:
//! so what is noted as synced is what the kernel was asked to sync and said that it did, whatever the
//! store believes. The same place can be told to fail a call.
//!
//! ```text
//! store, RocksDB ── fdatasync, fsync, write ──> here ──> kernel
//!                                                └────> the event log, once the kernel is done
//! ```

use std::{
    ffi::c_void,
    fs,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use nix::libc;

/// What this process does with the calls of interest.
pub(crate) struct Watch {
    events: fs::File,
    /// Where copies of small files lie that are written in place.
    copies: PathBuf,
    /// How long a sync takes at least.
    sync_delay: Duration,
    fault: Option<Fault>,
}

/// A call that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This sync of a write-ahead log fails, counted from 1.
    Sync(u64),
    /// This write to a write-ahead log is cut short, and the disk is full from then on.
    Full(u64),
    /// This sync of the floor fails.
    FloorSync(u64),
    /// From this write to a table on, which RocksDB makes in the background or at the start, the disk is full.
    Table(u64),
}

impl Fault {
    pub(crate) fn to_text(self) -> String {
        match self {
            Fault::Sync(at) => format!("sync {at}"),
            Fault::Full(at) => format!("full {at}"),
            Fault::FloorSync(at) => format!("floor {at}"),
            Fault::Table(at) => format!("table {at}"),
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (kind, at) = text.split_once(' ')?;
        let at = at.parse().ok()?;
        match kind {
            "sync" => Some(Fault::Sync(at)),
            "full" => Some(Fault::Full(at)),
            "floor" => Some(Fault::FloorSync(at)),
            "table" => Some(Fault::Table(at)),
            _ => None,
        }
    }
}

static WATCH: RwLock<Option<Watch>> = RwLock::new(None);
static WAL_SYNCS: AtomicU64 = AtomicU64::new(0);
static WAL_WRITES: AtomicU64 = AtomicU64::new(0);
static TABLE_WRITES: AtomicU64 = AtomicU64::new(0);
static FLOOR_SYNCS: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);
static AFTER_FAULT: AtomicU64 = AtomicU64::new(0);

/// Notes what is synced from now on at the end of `events`.
pub(crate) fn watch(events: &Path, copies: &Path, sync_delay: Duration, fault: Option<Fault>) {
    let events = fs::OpenOptions::new().create(true).append(true).open(events).unwrap();
    *WATCH.write().unwrap() = Some(Watch { events, copies: copies.to_owned(), sync_delay, fault });
}

/// Notes nothing any more.
pub(crate) fn unwatch() {
    *WATCH.write().unwrap() = None;
}

/// Adds a line to the event log, in one call.
pub(crate) fn note(line: &str) {
    if let Some(watch) = WATCH.read().unwrap().as_ref() {
        watch.note(line);
    }
}

impl Watch {
    fn note(&self, line: &str) {
        let line = format!("{line}\n");
        let written = raw_write(self.events.as_raw_fd(), line.as_bytes());
        assert_eq!(written, line.len() as isize, "the event log can't be written");
    }
}

/// What a file is called in the notes: its inode, and when it was made, because inodes are used again.
pub(crate) fn identity(metadata: &fs::Metadata) -> String {
    let made = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    format!("{}.{}", metadata.ino(), made.map_or(0, |at| at.as_nanos()))
}

/// How many calls were failed, and how many writes and syncs of write-ahead logs came after the first.
pub(crate) fn faults() -> (u64, u64) {
    (FAILED.load(Ordering::SeqCst), AFTER_FAULT.load(Ordering::SeqCst))
}

fn raw_write(fd: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: the pointer and length are those of a live slice.
    unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) as isize }
}

fn path_of(fd: RawFd) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{fd}")).ok()
}

fn is_wal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sst")
}

fn fail(errno: i32) {
    FAILED.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the C library's errno of this thread.
    unsafe { *libc::__errno_location() = errno };
}

/// The store's own threads must not touch a log again. RocksDB's may tidy up: they acknowledge nothing.
fn count_if_after_fault() {
    let current = std::thread::current();
    if faults().0 > 0 && current.name().is_some_and(|name| name.starts_with("raft-")) {
        AFTER_FAULT.fetch_add(1, Ordering::SeqCst);
    }
}

fn sync(fd: RawFd, call: libc::c_long) -> i32 {
    let watch = WATCH.read().unwrap();
    let Some(watch) = watch.as_ref() else {
        // SAFETY: hands the caller's arguments on.
        return unsafe { libc::syscall(call, fd) as i32 };
    };
    let path = path_of(fd).unwrap_or_default();
    let metadata = fs::metadata(format!("/proc/self/fd/{fd}")).unwrap();
    // What is there now is synced then; what comes during the sync may be or not.
    let names = if metadata.is_dir() { names(&path) } else { String::new() };
    let is_floor = path.file_stem().is_some_and(|name| name == "floor");
    let content = if is_floor { fs::read(&path).unwrap_or_default() } else { Vec::new() };
    if is_wal(&path) {
        let count = WAL_SYNCS.fetch_add(1, Ordering::SeqCst) + 1;
        count_if_after_fault();
        if watch.fault == Some(Fault::Sync(count)) {
            fail(libc::EIO);
            return -1;
        }
    }
    if is_floor && watch.fault == Some(Fault::FloorSync(FLOOR_SYNCS.fetch_add(1, Ordering::SeqCst) + 1)) {
        fail(libc::EIO);
        return -1;
    }
    if !watch.sync_delay.is_zero() {
        // SAFETY: takes a number.
        unsafe { libc::usleep(watch.sync_delay.as_micros() as u32) };
    }
    // SAFETY: hands the caller's arguments on.
    let result = unsafe { libc::syscall(call, fd) as i32 };
    if result == 0 && metadata.is_dir() {
        watch.note(&format!("D {}{names}", path.display()));
    } else if result == 0 {
        let identity = identity(&metadata);
        if is_floor {
            // Whole or not at all: another thread may end the process meanwhile.
            let new = watch.copies.join(format!("{identity}.new"));
            fs::write(&new, content).unwrap();
            fs::rename(new, watch.copies.join(&identity)).unwrap();
        }
        watch.note(&format!("S {identity} {}", metadata.len()));
    }
    result
}

fn names(folder: &Path) -> String {
    let mut names = String::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(metadata) = entry.metadata() {
            names.push_str(&format!(" {}={}", entry.file_name().display(), identity(&metadata)));
        }
    }
    names
}

/// Syncs a file's content.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fdatasync(fd: RawFd) -> i32 {
    sync(fd, libc::SYS_fdatasync)
}

/// Syncs a file or folder.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fsync(fd: RawFd) -> i32 {
    sync(fd, libc::SYS_fsync)
}

/// Writes at the file's position.
///
/// # Safety
/// As the C library's: `count` bytes can be read at `bytes`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn write(fd: RawFd, bytes: *const c_void, count: usize) -> isize {
    let mut count = count;
    // A thread that writes while it notes a sync holds this already: it is asked for reading only.
    let watch = WATCH.read().unwrap();
    if let Some(Watch { fault: Some(fault), .. }) = watch.as_ref()
        && path_of(fd).is_some_and(|path| is_wal(&path))
    {
        let number = WAL_WRITES.fetch_add(1, Ordering::SeqCst) + 1;
        count_if_after_fault();
        match fault {
            // The first call writes what still fits, the next one finds the disk full.
            Fault::Full(at) if number == *at => count /= 2,
            Fault::Full(at) if number > *at => {
                fail(libc::ENOSPC);
                return -1;
            }
            _ => {}
        }
    }
    if let Some(Watch { fault: Some(Fault::Table(at)), .. }) = watch.as_ref()
        && path_of(fd).is_some_and(|path| is_table(&path))
        && TABLE_WRITES.fetch_add(1, Ordering::SeqCst) + 1 >= *at
    {
        fail(libc::ENOSPC);
        return -1;
    }
    // SAFETY: hands the caller's arguments on, with a count that is not larger.
    unsafe { libc::syscall(libc::SYS_write, fd, bytes, count) as isize }
}
