//! A snapshot as a file: what is streamed to a follower, byte by byte as it is on disk.
//!
//! ```text
//! magic (8) | 1 u32 | frame* | 0 u32 | SHA-256 of all before (32)
//! magic (8) | 2 u32 | key id (8) | salt (16) | sealed frame* | 0 u32 | SHA-256 of all before (32)
//! frame  := length u32 | record         all numbers little endian
//! first frame: header (what it covers, digest); the others: runs of rows in key order
//! ```
//!
//! A file is read to its end and checked before openraft hears of it.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    snapshot_error::SnapshotError,
    snapshot_key::{FrameSeal, KeyId, Salt, SnapshotKey},
};
use crate::{
    codec,
    digest::Digest,
    failpoint,
    raft_types::SnapshotMeta,
    records::{Blob, SnapshotMetaRecord},
    view::View,
};

const MAGIC: &[u8; 8] = b"QRSTSNAP";
/// The format of snapshot files that everybody can read.
pub(super) const PLAIN: u32 = 1;
/// The format of those whose frames are sealed: see [`SnapshotKey`].
pub(super) const SEALED: u32 = 2;
/// The formats of snapshot files that this build writes and reads.
pub const FORMATS: [u32; 2] = [PLAIN, SEALED];
/// A frame of rows is closed when it has this many bytes.
const FRAME_BYTES: usize = 64 << 10;
/// No frame is larger.
const MAX_FRAME_BYTES: u32 = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    meta: SnapshotMetaRecord,
    digest: Digest,
    rows: u64,
}

/// A checked snapshot. The file stays readable through this handle after its name is gone.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
    meta: SnapshotMeta,
    key: Option<SnapshotKey>,
    checked: Arc<Checked>,
    /// While it is on loan: see [`Loans`].
    _loan: Option<Loan>,
    /// While nobody keeps the file under a name of its own.
    _unkept: Option<Arc<Unkept>>,
}

/// Counts who was given the snapshot to send it, and is not done.
#[derive(Debug, Default)]
pub(super) struct Loans(Loan);

type Loan = Arc<()>;

impl Loans {
    /// Whether somebody has it.
    pub(super) fn any(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// What was checked, and whether it was found damaged since.
#[derive(Debug)]
struct Checked {
    /// Device, inode, bytes and the time of the last write: whoever has changed the file has changed these.
    identity: [i64; 5],
    damaged: AtomicBool,
}

fn identity(metadata: &fs::Metadata) -> [i64; 5] {
    let numbers = [metadata.dev(), metadata.ino(), metadata.len()].map(u64::cast_signed);
    [numbers[0], numbers[1], numbers[2], metadata.mtime(), metadata.mtime_nsec()]
}

/// A file that is removed unless it was given another name: one that is being written, or that was
/// received and Raft had no use for.
#[derive(Debug)]
struct Unkept(PathBuf);

impl Drop for Unkept {
    fn drop(&mut self) {
        // Only tidiness: what is left over is removed at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

impl SnapshotFile {
    /// What the snapshot covers.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is, or was.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads up to `length` bytes from `offset`; fewer only at the end. May block on the disk.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = self.bytes.saturating_sub(offset);
        let mut chunk = vec![0; (length as u64).min(left) as usize];
        self.file.read_exact_at(&mut chunk, offset)?;
        Ok(chunk)
    }

    /// Whether the file that has the name now is the one that was checked, and nobody has found it damaged. Costs one
    /// look at the folder; what a disk does to a file behind its times is found by whoever is sent it.
    pub(super) fn is_as_checked(&self) -> bool {
        let found = fs::metadata(&self.path).is_ok_and(|it| identity(&it) == self.checked.identity);
        found && !self.checked.damaged.load(Ordering::Relaxed)
    }

    /// Reads the file through again, after somebody who was sent it has refused it. If it is damaged it is not
    /// offered again. May block on the disk.
    ///
    /// # Errors
    /// As [`SnapshotFile::open`].
    pub fn verify(&self) -> Result<(), SnapshotError> {
        let read = Self::read_through(&self.file, &self.path, self.key.as_ref());
        read.map(drop).inspect_err(|_| self.checked.damaged.store(true, Ordering::Relaxed))
    }

    /// The file under a name at which it stays.
    pub(super) fn kept_at(self, path: PathBuf) -> Self {
        SnapshotFile { path, _loan: None, _unkept: None, ..self }
    }

    /// A handle that counts as a loan until it and its clones are gone.
    pub(super) fn lent(self, loans: &Loans) -> Self {
        SnapshotFile { _loan: Some(loans.0.clone()), ..self }
    }

    /// Writes `view` to a new file at `path`, sealed if there is a `key`. The file is removed with the last handle
    /// unless it was given another name by then. May block on the disk.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(view: &View, path: &Path, key: Option<&SnapshotKey>) -> Result<SnapshotFile, SnapshotError> {
        let unkept = Arc::new(Unkept(path.to_owned()));
        failpoint::pass("store.snapshot.begun");
        let io_error = |source| SnapshotError::Io { path: path.to_owned(), source };
        let record = |source| SnapshotError::Record { path: path.to_owned(), source };
        let mut out = FrameWriter::create(path, key).map_err(io_error)?;

        let meta = SnapshotMeta { last_log_id: view.applied, last_membership: (*view.membership).clone() };
        let header = Header { meta: (&meta).into(), digest: view.digest, rows: view.state.row_count() };
        out.frame(&codec::encode(&header).map_err(record)?).map_err(io_error)?;

        let mut run: Vec<(Blob, Blob)> = Vec::new();
        let mut run_bytes = 0;
        let mut failed: Option<SnapshotError> = None;
        for table in view.state.tables() {
            table
                .rows(&mut |key, row| {
                    run_bytes += key.len() + row.len();
                    run.push((Blob(key.into()), Blob(row.into())));
                    if run_bytes >= FRAME_BYTES && failed.is_none() {
                        failed = out.rows(&mut run, path).err();
                        failpoint::pass("store.snapshot.half");
                        run_bytes = 0;
                    }
                })
                .map_err(record)?;
        }
        if let Some(error) = failed {
            return Err(error);
        }
        out.rows(&mut run, path)?;
        out.finish().map_err(io_error)?;
        failpoint::pass("store.snapshot.written");
        Ok(SnapshotFile { _unkept: Some(unkept), ..Self::open(path, key)? })
    }

    /// Opens and checks a file, a sealed one by `key`. May block on the disk.
    ///
    /// # Errors
    /// Every [`SnapshotError`] but `Row`.
    pub fn open(path: &Path, key: Option<&SnapshotKey>) -> Result<SnapshotFile, SnapshotError> {
        let io_error = |source| SnapshotError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error)?;
        let metadata = file.metadata().map_err(io_error)?;
        let meta = Self::read_through(&file, path, key)?;
        let checked = Checked { identity: identity(&metadata), damaged: AtomicBool::new(false) };
        Ok(SnapshotFile {
            meta,
            file: Arc::new(file),
            path: path.to_owned(),
            bytes: metadata.len(),
            key: key.cloned(),
            checked: Arc::new(checked),
            _loan: None,
            _unkept: None,
        })
    }

    fn read_through(
        file: &File,
        path: &Path,
        key: Option<&SnapshotKey>,
    ) -> Result<SnapshotMeta, SnapshotError> {
        let mut reader = FrameReader::new(file, path, key)?;
        let header = reader.header()?;
        let (mut digest, mut rows) = (Digest::default(), 0);
        while let Some(run) = reader.rows()? {
            for (key, row) in run {
                digest.add(&key.0, &row.0);
                rows += 1;
            }
        }
        reader.finish()?;
        if digest != header.digest || rows != header.rows {
            return Err(reader.damaged("its rows are not the ones that its header names"));
        }
        Ok(header.meta.into())
    }

    /// Calls `each` for every row, in key order. May block on the disk.
    ///
    /// # Errors
    /// As [`SnapshotFile::open`], or [`SnapshotError::Row`] with what `each` returned.
    pub fn rows(&self, mut each: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> Result<(), SnapshotError> {
        let mut reader = FrameReader::new(&self.file, &self.path, self.key.as_ref())?;
        reader.header()?;
        while let Some(run) = reader.rows()? {
            for (key, row) in run {
                each(&key.0, &row.0)
                    .map_err(|source| SnapshotError::Row { path: self.path.clone(), source })?;
            }
        }
        Ok(())
    }
}

/// Writes frames and their hash.
struct FrameWriter {
    out: BufWriter<File>,
    hash: Sha256,
    seal: Option<FrameSeal>,
}

impl FrameWriter {
    fn create(path: &Path, key: Option<&SnapshotKey>) -> io::Result<Self> {
        let out = BufWriter::new(File::create(path)?);
        let mut writer = FrameWriter { out, hash: Sha256::new(), seal: None };
        writer.bytes(MAGIC)?;
        match key {
            None => writer.bytes(&PLAIN.to_le_bytes())?,
            Some(key) => {
                let mut salt = Salt::default();
                getrandom::fill(&mut salt).map_err(io::Error::other)?;
                writer.bytes(&SEALED.to_le_bytes())?;
                writer.bytes(&key.id())?;
                writer.bytes(&salt)?;
                writer.seal = Some(key.frames(salt));
            }
        }
        Ok(writer)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    fn frame(&mut self, record: &[u8]) -> io::Result<()> {
        let sealed = self.seal.as_mut().map(|seal| seal.seal(record).ok_or(io::ErrorKind::FileTooLarge));
        let sealed = sealed.transpose()?;
        let record = sealed.as_deref().unwrap_or(record);
        let length = u32::try_from(record.len()).map_err(io::Error::other)?;
        self.bytes(&length.to_le_bytes())?;
        self.bytes(record)
    }

    fn rows(&mut self, run: &mut Vec<(Blob, Blob)>, path: &Path) -> Result<(), SnapshotError> {
        if run.is_empty() {
            return Ok(());
        }
        let record = codec::encode(&std::mem::take(run))
            .map_err(|source| SnapshotError::Record { path: path.to_owned(), source })?;
        self.frame(&record).map_err(|source| SnapshotError::Io { path: path.to_owned(), source })
    }

    fn finish(mut self) -> io::Result<()> {
        self.bytes(&0u32.to_le_bytes())?;
        let hash = self.hash.clone().finalize();
        self.out.write_all(&hash)?;
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }
}

/// Reads frames and checks their hash.
struct FrameReader<'a> {
    input: BufReader<PositionedReader<'a>>,
    hash: Sha256,
    path: &'a Path,
    seal: Option<FrameSeal>,
}

/// Reads a shared file from its own position.
struct PositionedReader<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for PositionedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl<'a> FrameReader<'a> {
    fn new(file: &'a File, path: &'a Path, key: Option<&SnapshotKey>) -> Result<Self, SnapshotError> {
        let input = BufReader::new(PositionedReader { file, offset: 0 });
        let mut reader = FrameReader { input, hash: Sha256::new(), path, seal: None };
        let (mut magic, mut format) = ([0; 8], [0; 4]);
        reader.fill(&mut magic)?;
        reader.fill(&mut format)?;
        match u32::from_le_bytes(format) {
            PLAIN if &magic == MAGIC => {}
            SEALED if &magic == MAGIC => reader.seal = Some(reader.opener(key)?),
            _ => return Err(SnapshotError::Format(path.to_owned())),
        }
        Ok(reader)
    }

    /// Reads the head of a sealed file.
    fn opener(&mut self, key: Option<&SnapshotKey>) -> Result<FrameSeal, SnapshotError> {
        let (mut id, mut salt) = (KeyId::default(), Salt::default());
        self.fill(&mut id)?;
        self.fill(&mut salt)?;
        let refused = |reason| SnapshotError::Key { path: self.path.to_owned(), reason };
        match key {
            None => Err(refused("this node has no key for it: set raft.snapshot_key_file")),
            Some(key) if key.id() != id => Err(refused(
                "this node's key is another one: raft.snapshot_key_file must be alike on all nodes",
            )),
            Some(key) => Ok(key.frames(salt)),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        self.input.read_exact(buffer).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => SnapshotError::Io { path: self.path.to_owned(), source },
        })?;
        self.hash.update(buffer);
        Ok(())
    }

    fn frame(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        match u32::from_le_bytes(length) {
            0 => Ok(None),
            length if length > MAX_FRAME_BYTES => Err(self.damaged("a frame is too large")),
            length => {
                let mut frame = vec![0; length as usize];
                self.fill(&mut frame)?;
                match &mut self.seal {
                    None => Ok(Some(frame)),
                    Some(seal) => match seal.open(&frame) {
                        Some(record) => Ok(Some(record)),
                        None => Err(self.damaged("a frame is not the one that was sealed")),
                    },
                }
            }
        }
    }

    fn header(&mut self) -> Result<Header, SnapshotError> {
        let frame = self.frame()?.ok_or_else(|| self.damaged("it has no header"))?;
        codec::decode(&frame).map_err(|source| SnapshotError::Record { path: self.path.to_owned(), source })
    }

    fn rows(&mut self) -> Result<Option<Vec<(Blob, Blob)>>, SnapshotError> {
        match self.frame()? {
            Some(frame) => codec::decode(&frame)
                .map(Some)
                .map_err(|source| SnapshotError::Record { path: self.path.to_owned(), source }),
            None => Ok(None),
        }
    }

    fn finish(&mut self) -> Result<(), SnapshotError> {
        let expected = self.hash.clone().finalize();
        let mut found = [0; 32];
        self.fill(&mut found)?;
        if found != expected[..] {
            return Err(self.damaged("its checksum is wrong"));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("bytes are left over behind it")),
            Err(source) => Err(SnapshotError::Io { path: self.path.to_owned(), source }),
        }
    }

    fn damaged(&self, reason: &'static str) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.to_owned(), reason }
    }
}

/// Takes a snapshot in as it arrives, chunk by chunk, into a file of its own. The file is gone when
/// the transfer is broken off, and when nobody has kept it in the end.
pub struct SnapshotReceiver {
    unkept: Unkept,
    file: File,
    key: Option<SnapshotKey>,
}

impl SnapshotReceiver {
    /// Begins a file at `path`. May block on the disk.
    pub(super) fn create(path: PathBuf, key: Option<SnapshotKey>) -> Result<Self, SnapshotError> {
        match File::create(&path) {
            Ok(file) => Ok(SnapshotReceiver { unkept: Unkept(path), file, key }),
            Err(source) => Err(SnapshotError::Io { path, source }),
        }
    }

    /// Adds a chunk. May block on the disk.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        self.file.write_all(chunk).map_err(|source| SnapshotError::Io { path: self.unkept.0.clone(), source })
    }

    /// Ends the file and checks it. May block on the disk.
    ///
    /// # Errors
    /// As [`SnapshotFile::open`].
    pub fn finish(self) -> Result<SnapshotFile, SnapshotError> {
        let SnapshotReceiver { unkept, file, key } = self;
        file.sync_all().map_err(|source| SnapshotError::Io { path: unkept.0.clone(), source })?;
        let snapshot = SnapshotFile::open(&unkept.0, key.as_ref())?;
        Ok(SnapshotFile { _unkept: Some(Arc::new(unkept)), ..snapshot })
    }
}
