//! The rules of single keys that are no address and no number.

use std::{os::unix::ffi::OsStrExt, path::Path};

use quorate_license::{ComputerIdSource, IntegrityScope, RootPublicKey};
use tracing_subscriber::EnvFilter;

use super::{ConfigError, LogFormat, Raft, raw::Given};

/// What fits into a Unix socket's address, without the zero byte at its end (unix(7)).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Whose machine id it is. A volume's id is only known from a file.
pub(super) fn identity_source(
    given: &Given<'_>,
    text: Option<String>,
    has_file: bool,
) -> Result<ComputerIdSource, ConfigError> {
    match text.as_deref() {
        None | Some("host") => Ok(ComputerIdSource::Host),
        Some("volume") if has_file => Ok(ComputerIdSource::Volume),
        Some("volume") => {
            let rule =
                "with source = \"volume\", identity.machine_id_file has to name the file on the volume";
            Err(given.wrong("identity", "source", rule))
        }
        Some(other) => {
            Err(given.wrong("identity", "source", format!("'{other}' is neither host nor volume")))
        }
    }
}

/// Whom an activation binds.
pub(super) fn scope(given: &Given<'_>, text: Option<String>) -> Result<IntegrityScope, ConfigError> {
    match text.as_deref() {
        None | Some("all") => Ok(IntegrityScope::All),
        Some("management") => Ok(IntegrityScope::Management),
        Some(other) => {
            Err(given.wrong("integrity", "scope", format!("'{other}' is neither all nor management")))
        }
    }
}

/// The vendor's root keys, each once.
pub(super) fn trust_roots(given: &Given<'_>, texts: Vec<String>) -> Result<Vec<RootPublicKey>, ConfigError> {
    let mut roots = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let number = index + 1;
        let root: RootPublicKey = text.trim().parse().map_err(|error| {
            let rule = format!("entry {number} is no root key: {error}; copy it from the vendor again");
            given.wrong("license", "trust_roots", rule)
        })?;
        if roots.contains(&root) {
            let rule = format!("entry {number} names a root key for the second time; take it out");
            return Err(given.wrong("license", "trust_roots", rule));
        }
        roots.push(root);
    }
    Ok(roots)
}

/// The slowest rate at which snapshots are sent: at less, a chunk would look like a broken transfer.
const SLOWEST_SNAPSHOTS: u64 = 64 << 10;

pub(super) fn snapshot_rate(given: &Given<'_>, raft: &Raft) -> Result<(), ConfigError> {
    let rate = raft.snapshot_bytes_per_second;
    if rate != 0 && rate < SLOWEST_SNAPSHOTS {
        let rule = format!("{rate} is less than {SLOWEST_SNAPSHOTS}; 0 sends as fast as it goes");
        return Err(given.wrong("raft", "snapshot_bytes_per_second", rule));
    }
    Ok(())
}

/// Elections must outlast a few lost heartbeats, and not all begin at once.
pub(super) fn raft_times(given: &Given<'_>, raft: &Raft) -> Result<(), ConfigError> {
    if raft.election_min_ms < 2 * raft.heartbeat_ms {
        let rule = format!(
            "{} is less than twice raft.heartbeat_ms ({}), so one lost heartbeat would call an election",
            raft.election_min_ms, raft.heartbeat_ms
        );
        return Err(given.wrong("raft", "election_min_ms", rule));
    }
    if raft.election_max_ms <= raft.election_min_ms {
        let rule = format!(
            "{} is not more than raft.election_min_ms ({}), so nodes would call elections at the same time",
            raft.election_max_ms, raft.election_min_ms
        );
        return Err(given.wrong("raft", "election_max_ms", rule));
    }
    Ok(())
}

/// The form of the log's lines.
pub(super) fn log_format(given: &Given<'_>, text: Option<String>) -> Result<LogFormat, ConfigError> {
    match text.as_deref() {
        None | Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(other) => Err(given.wrong("log", "format", format!("'{other}' is neither text nor json"))),
    }
}

/// Which events are logged.
pub(super) fn log_filter(given: &Given<'_>, text: Option<String>) -> Result<String, ConfigError> {
    let filter = text.unwrap_or_else(|| "info".to_owned());
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(given.wrong("log", "filter", format!("'{filter}' is no filter: {error}"))),
    }
}

/// Whether the kernel takes the path as a Unix socket's; the error is the rule.
pub(super) fn socket_length(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes <= MAX_SOCKET_PATH_BYTES {
        return Ok(());
    }
    Err(format!(
        "{} has {bytes} bytes, and a socket's path has at most {MAX_SOCKET_PATH_BYTES}; give a shorter one",
        path.display()
    ))
}
