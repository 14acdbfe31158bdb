//! `quorate debug bundle`: what support wants to see of a node, and nothing that it must not.
//!
//! ```text
//! configuration, host, files ─┐
//! a running node's answers ───┼─> texts ─> without secrets ─> FILE.tar.gz with a manifest
//! the end of a log ───────────┘
//! ```
//!
//! Keys, tokens, activation keys, sealed bytes, the database and the machine id are never read into it. Whatever is
//! missing is told in it: a bundle is made of a broken node as well.

mod scrub;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use data_encoding::HEXLOWER;
use flate2::{Compression, write::GzEncoder};
use quorate_proto::v1::{ClusterHealthRequest, ListActivationsRequest, StatusRequest};
use quorate_raft_store::{FEATURE_LEVEL, disk::recompute_digest};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Context, Exit,
    client::{DEADLINE, call, within},
    cluster::Health,
    error::CliError,
    output::{Page, Present},
    status::Status,
};
use crate::{clock, config::Effective, data_dir::DataDir, host};
use scrub::Scrubber;

/// The end of a log that goes along.
const LOG_BYTES: u64 = 1 << 20;
/// What a face answers at most.
const MAX_ANSWER_BYTES: u64 = 8 << 20;
const ASK_DEADLINE: Duration = Duration::from_secs(5);

/// What is left out on purpose, for the manifest.
const LEFT_OUT: [&str; 7] = [
    "keys/ (node key, management key)",
    "tls/*.key",
    "admin.token, and every token and activation key",
    "the database, its log and snapshots, with the sealed secrets in them",
    "bootstrap",
    "license files and receipts",
    "the machine id",
];

/// Arguments of `debug bundle`.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// Where the bundle goes. It must not be there yet.
    #[arg(long, value_name = "FILE.tar.gz", default_value = "quorate-debug.tar.gz")]
    file: PathBuf,

    /// A log of this node: its last MiB goes along, without secrets.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    file: PathBuf,
    files: Vec<Listed>,
    redactions: usize,
}

/// One file of the bundle.
#[derive(Clone, Serialize)]
struct Listed {
    name: String,
    bytes: usize,
    sha256: String,
    what: &'static str,
}

/// The texts that were gathered.
struct Bundle {
    scrubber: Scrubber,
    files: Vec<(Listed, String)>,
    missing: Vec<String>,
}

pub(super) async fn run(context: &Context, args: &BundleArgs) -> Result<Exit, CliError> {
    let effective = Effective::load(&context.global.config)?;
    let config = &effective.config;
    let mut bundle = Bundle { scrubber: Scrubber::new(config), files: Vec::new(), missing: Vec::new() };
    bundle.json("versions.json", "versions of agent, host and formats", &versions());
    bundle.json("configuration.json", "every setting with where it comes from", &json!(effective.values));
    bundle.json(
        "host.json",
        "the host as the node reports it, memory, free disk",
        &host_facts(&config.node.data_dir),
    );
    bundle.json(
        "files.json",
        "names, sizes and modes in the data directory",
        &json!(listing(&config.node.data_dir)),
    );
    let dir = DataDir::new(&config.node.data_dir);
    bundle.whose(&dir);
    bundle.store(&dir);
    bundle.node(context).await;
    for (path, what) in [("/metrics", "the node's metrics"), ("/readyz", "whether the node is ready")] {
        match fetch(config.listen.ops, path).await {
            Ok(text) => bundle.text(&format!("ops{path}.txt"), what, &text),
            Err(error) => bundle.missing(path, &error),
        }
    }
    if let Some(log) = &args.log {
        match tail(log) {
            Ok(text) => bundle.text("log.txt", "the end of the log", &text),
            Err(error) => bundle.missing(&log.display().to_string(), &error),
        }
    }
    let made = bundle.write(&args.file)?;
    context.output.print(&made)?;
    Ok(Exit::Ok)
}

impl Bundle {
    fn text(&mut self, name: &str, what: &'static str, text: &str) {
        let text = self.scrubber.clean(text);
        let sha256 = HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
        self.files.push((Listed { name: name.to_owned(), bytes: text.len(), sha256, what }, text));
    }

    fn json(&mut self, name: &str, what: &'static str, value: &Value) {
        self.text(name, what, &format!("{value:#}\n"));
    }

    fn missing(&mut self, what: &str, error: &dyn std::fmt::Display) {
        let line = self.scrubber.clean(&format!("{what}: {error}"));
        self.missing.push(line);
    }

    /// Whose data directory it is, and how often it was started.
    fn whose(&mut self, dir: &DataDir) {
        match dir.node_file() {
            Ok(node) => self.json("node.json", "whose data directory it is", &json!(node)),
            Err(error) => self.missing("node.json", &error),
        }
        if let Ok(Some(reason)) = dir.removed() {
            self.text("removed.txt", "why the node was taken out", &reason);
        }
    }

    /// The store: note of a quarantine, and the digest if nobody writes it.
    fn store(&mut self, dir: &DataDir) {
        if let Ok(note) = fs::read_to_string(dir.store().join("quarantine")) {
            self.text("quarantine.txt", "what damage was found", &note);
        }
        let lock = match dir.path().join("lock").exists().then(|| dir.lock()).transpose() {
            Ok(lock) => lock,
            Err(error) => return self.missing("digest of the store", &error),
        };
        if !dir.store().join("db/CURRENT").exists() {
            return self.missing("digest of the store", &"there is no database");
        }
        match recompute_digest(&dir.store()) {
            Ok(found) => self.json(
                "store.json",
                "what the stopped node's store holds, in numbers",
                &json!({
                    "applied_index": found.applied.map(|applied| applied.index),
                    "rows": found.rows,
                    "digest_stored": found.stored.to_string(),
                    "digest_recomputed": found.recomputed.to_string(),
                }),
            ),
            Err(error) => self.missing("digest of the store", &error),
        }
        drop(lock);
    }

    /// What the running node says.
    async fn node(&mut self, context: &Context) {
        let mut admin = match context.connect().await {
            Ok(admin) => admin,
            Err(error) => return self.missing("the node's answers", &error),
        };
        match call(DEADLINE, admin.status(within(DEADLINE, StatusRequest {}))).await {
            Ok(answer) => self.json(
                "status.json",
                "the cluster, its nodes and the license",
                &json!(Status::from(answer)),
            ),
            Err(error) => self.missing("status", &error),
        }
        match call(DEADLINE, admin.cluster_health(within(DEADLINE, ClusterHealthRequest {}))).await {
            Ok(answer) => {
                self.json("health.json", "what is wrong in the cluster", &json!(Health::from(answer)))
            }
            Err(error) => self.missing("health", &error),
        }
        match call(DEADLINE, admin.list_activations(within(DEADLINE, ListActivationsRequest {}))).await {
            Ok(answer) => {
                let all: Vec<Value> = answer
                    .activations
                    .iter()
                    .map(|activation| {
                        json!({
                            "kind": activation.kind, "state": activation.state, "detail": activation.detail,
                            "opened_at_ms": activation.opened_at_ms, "nonce": activation.nonce,
                        })
                    })
                    .collect();
                self.json("activations.json", "the activations, without keys", &json!(all));
            }
            Err(error) => self.missing("activations", &error),
        }
    }

    /// Writes the archive, for its owner alone.
    fn write(mut self, path: &Path) -> Result<Made, CliError> {
        let failed = |cause| CliError::File { what: "bundle", path: path.to_owned(), cause };
        let listed: Vec<Listed> = self.files.iter().map(|(listed, _)| listed.clone()).collect();
        let manifest = json!({
            "made_at": clock::now(),
            "files": listed,
            "left_out": LEFT_OUT,
            "not_to_be_had": self.missing,
            "redactions": self.scrubber.count,
        });
        self.json("manifest.json", "this list", &manifest);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        let mtime = u64::try_from(clock::now().as_unix_ms() / 1000).unwrap_or_default();
        for (listed, text) in self.files.iter().rev() {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(mtime);
            let name = format!("quorate-debug/{}", listed.name);
            archive.append_data(&mut header, name, text.as_bytes()).map_err(failed)?;
        }
        let mut file = archive.into_inner().and_then(GzEncoder::finish).map_err(failed)?;
        file.flush().and_then(|()| file.sync_all()).map_err(failed)?;
        let redactions = self.scrubber.count;
        Ok(Made {
            file: path.to_owned(),
            files: self.files.into_iter().map(|(listed, _)| listed).collect(),
            redactions,
        })
    }
}

fn versions() -> Value {
    json!({
        "agent": crate::VERSION,
        "feature_level": FEATURE_LEVEL,
        "snapshot_formats": quorate_raft_store::disk::SNAPSHOT_FORMATS,
        "debug_assertions": cfg!(debug_assertions),
        "architecture": std::env::consts::ARCH,
    })
}

fn host_facts(data_dir: &Path) -> Value {
    let report = host::host_report();
    json!({
        "os": report.os,
        "kernel": report.kernel,
        "booted_at": report.booted_at,
        "hardware": report.hardware,
        "time": clock::now(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "free_disk_bytes": host::free_disk_bytes(data_dir),
    })
}

/// Every file of a folder with its size and mode; contents are not read.
fn listing(folder: &Path) -> Vec<Value> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            found.push((
                name.clone(),
                json!({
                    "name": name, "bytes": metadata.len(), "mode": format!("{:o}", metadata.mode() & 0o7777),
                    "uid": metadata.uid(), "modified_unix": metadata.mtime(),
                }),
            ));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.into_iter().map(|(_, entry)| entry).collect()
}

/// A page of the operations port.
async fn fetch(address: std::net::SocketAddr, path: &str) -> Result<String, io::Error> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // The head says nothing that support would want to know.
        Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned()))
    };
    tokio::time::timeout(ASK_DEADLINE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The end of a file, from the beginning of a line.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(LOG_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // A line that is cut could show the rest of a secret that is no longer recognized.
    let whole = if start == 0 { 0 } else { text.find('\n').map_or(text.len(), |end| end + 1) };
    Ok(text[whole..].to_owned())
}

impl Present for Made {
    fn page(&self, page: &mut Page) {
        page.line(format!("{} holds:", self.file.display()));
        page.gap();
        let row = |file: &Listed| vec![file.name.clone(), file.bytes.to_string(), file.what.to_owned()];
        page.table(&["FILE", "BYTES", "WHAT"], self.files.iter().map(row).collect(), "");
        page.gap();
        page.line(format!(
            "Secrets were taken out of it in {} places. Look at it before you send it.",
            self.redactions
        ));
    }
}
