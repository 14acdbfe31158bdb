//! What a power loss leaves: everything that was synced, and of the rest whatever comes to mind.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{random::Random, syscalls::identity};

const SECTOR: u64 = 512;
const PAGE: u64 = 4096;

/// What is on disk for certain, by file, as the kernel has said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Durable {
    /// Bytes of each file at its last completed sync.
    sizes: BTreeMap<String, u64>,
    /// The names in each folder at its last completed sync, and the files that they stood for.
    names: BTreeMap<PathBuf, BTreeMap<String, String>>,
}

/// What happens to what was not synced.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Dropped,
    Torn,
    Zeroed,
    PagesZeroed,
    Garbage,
    Kept,
}

impl Durable {
    /// Follows a note of the watched system calls.
    pub(crate) fn follow(&mut self, note: &str) {
        let mut fields = note.split(' ');
        match fields.next() {
            Some("S") => {
                let (file, size) = (fields.next().unwrap(), fields.next().unwrap());
                self.sizes.insert(file.to_owned(), size.parse().unwrap());
            }
            Some("D") => {
                let folder = PathBuf::from(fields.next().unwrap());
                let pairs = fields.filter_map(|field| field.split_once('='));
                let names = pairs.map(|(name, file)| (name.to_owned(), file.to_owned()));
                self.names.insert(folder, names.collect());
            }
            _ => {}
        }
    }

    /// Bytes of the file that are on disk for certain.
    pub(crate) fn size(&self, file: &Path) -> u64 {
        let known = fs::metadata(file).ok().and_then(|metadata| self.sizes.get(&identity(&metadata)));
        known.copied().unwrap_or(0)
    }

    /// Takes the power away from the store in `folder`. Returns how many files suffered.
    pub(crate) fn lose_power(&self, folder: &Path, copies: &Path, random: &mut Random) -> io::Result<usize> {
        let mut suffered = 0;
        for path in self.lost_names(folder, random)? {
            fs::remove_file(&path)?;
            suffered += 1;
        }
        for path in files(folder)? {
            let metadata = fs::metadata(&path)?;
            let file = identity(&metadata);
            if name(&path) == "floor" {
                suffered += usize::from(tear(&path, &copies.join(&file), random)?);
                continue;
            }
            let synced = self.sizes.get(&file).copied().unwrap_or(0);
            if synced < metadata.len() {
                mutilate(&path, synced, metadata.len(), random)?;
                suffered += 1;
            }
        }
        // What is left is what a disk holds.
        Ok(suffered)
    }

    /// Names that were made since their folder was synced. A journal keeps the order of such changes, so
    /// that the last ones are lost, and none before one that has taken the place of another file.
    fn lost_names(&self, folder: &Path, random: &mut Random) -> io::Result<Vec<PathBuf>> {
        let mut made = Vec::new();
        let mut kept_until = SystemTime::UNIX_EPOCH;
        for path in files(folder)? {
            let metadata = fs::metadata(&path)?;
            let names = path.parent().and_then(|parent| self.names.get(parent));
            match names.and_then(|names| names.get(&name(&path))) {
                Some(file) if *file == identity(&metadata) => {}
                Some(_) => kept_until = kept_until.max(metadata.created()?),
                None => made.push((metadata.created()?, path)),
            }
        }
        made.retain(|(at, _)| *at > kept_until);
        made.sort();
        let lost = random.below(made.len() as u64 + 1) as usize;
        Ok(made.into_iter().rev().take(lost).map(|(_, path)| path).collect())
    }

    /// After a power loss all that is there is on disk.
    pub(crate) fn after_power_loss(folder: &Path) -> io::Result<Durable> {
        let mut durable = Durable::default();
        for path in files(folder)? {
            let metadata = fs::metadata(&path)?;
            durable.sizes.insert(identity(&metadata), metadata.len());
            let parent = path.parent().map(Path::to_owned).unwrap_or_default();
            durable.names.entry(parent).or_default().insert(name(&path), identity(&metadata));
        }
        Ok(durable)
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.display().to_string()).unwrap_or_default()
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    // The child may have been killed before it made the folder.
    if !folder.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Does something to the bytes behind `synced`.
///
/// The journal of RocksDB's own files is only cut: RocksDB syncs each record of it before it relies on
/// it, and refuses one that is half zeros. A power loss in just that moment, on a file system that shows
/// zeros behind what was synced, leads into quarantine: nothing is lost, and the node says so.
fn mutilate(path: &Path, synced: u64, size: u64, random: &mut Random) -> io::Result<()> {
    let fates: &[Fate] = if name(path).starts_with("MANIFEST") {
        &[Fate::Dropped, Fate::Torn, Fate::Kept]
    } else {
        &[Fate::Dropped, Fate::Torn, Fate::Zeroed, Fate::PagesZeroed, Fate::Garbage, Fate::Kept]
    };
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let from = synced + random.below(size - synced);
    match fates[random.below(fates.len() as u64) as usize] {
        Fate::Dropped => file.set_len(synced),
        Fate::Torn => file.set_len(from),
        Fate::Zeroed => fill(&file, from, size, || 0),
        Fate::PagesZeroed => {
            let mut page = synced / PAGE * PAGE;
            while page < size {
                if random.one(2) {
                    fill(&file, page.max(synced), (page + PAGE).min(size), || 0)?;
                }
                page += PAGE;
            }
            Ok(())
        }
        Fate::Garbage => fill(&file, from, size.min(from + PAGE), || random.next() as u8),
        Fate::Kept => Ok(()),
    }
}

fn fill(file: &fs::File, from: u64, to: u64, byte: impl FnMut() -> u8) -> io::Result<()> {
    let bytes: Vec<u8> = std::iter::repeat_with(byte).take((to - from) as usize).collect();
    file.write_all_at(&bytes, from)
}

/// A file that is written in place: each sector is the old one or the new one.
fn tear(path: &Path, synced: &Path, random: &mut Random) -> io::Result<bool> {
    let now = fs::read(path)?;
    let before = match fs::read(synced) {
        Ok(before) => before,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut torn = before;
    for (old, new) in torn.chunks_mut(SECTOR as usize).zip(now.chunks(SECTOR as usize)) {
        if old != new && random.one(2) {
            old.copy_from_slice(new);
        }
    }
    let changed = torn != now;
    fs::write(path, torn)?;
    Ok(changed)
}

/// Cuts or zeroes synced bytes of the newest write-ahead log: what no power loss may do. Returns
/// whether there were any.
pub(crate) fn cut_synced(durable: &Durable, folder: &Path, random: &mut Random) -> io::Result<bool> {
    let logs = files(&folder.join("db"))?;
    let newest = logs
        .iter()
        .rev()
        .find(|path| path.extension().is_some_and(|extension| extension == "log") && durable.size(path) > 0);
    let Some(path) = newest else { return Ok(false) };
    let file = OpenOptions::new().write(true).open(path)?;
    let from = random.below(durable.size(path));
    if random.one(2) {
        file.set_len(from)?
    } else {
        fill(&file, from, file.metadata()?.len(), || 0)?
    }
    Ok(true)
}
