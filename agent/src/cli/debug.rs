//! `quorate debug`: for tests and for support. All but `bundle` is hidden, and no promise.

use std::path::PathBuf;

use clap::Subcommand;
use quorate_raft_store::disk::{RecomputedDigest, recompute_digest};
use serde::Serialize;

use super::{
    Context, Exit, block_on,
    bundle::{self, BundleArgs},
    error::CliError,
    output::{Page, Present, or_dash},
};
use crate::{config::Config, data_dir::DataDir, failpoint};

/// Commands for tests and for support.
#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Gather what support wants to see of this node, without secrets, into one file.
    Bundle(BundleArgs),
    /// Recompute the digest of a stopped node's state from its rows, and compare it with the stored one.
    #[command(hide = true)]
    Digest {
        /// The store; by default the one that the configuration names.
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
    /// List the places at which a test can let the node die.
    #[command(hide = true)]
    Failpoints,
}

#[derive(Serialize)]
struct Digest {
    cluster_id: Option<String>,
    epoch: Option<u32>,
    node: Option<u64>,
    applied_index: Option<u64>,
    rows: u64,
    stored: String,
    recomputed: String,
    equal: bool,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Failpoints(Vec<&'static str>);

pub(super) fn run(context: &Context, command: &DebugCommand) -> Result<Exit, CliError> {
    match command {
        DebugCommand::Bundle(args) => block_on(bundle::run(context, args)),
        DebugCommand::Digest { folder } => digest(context, folder.clone()),
        DebugCommand::Failpoints => {
            context.output.print(&Failpoints(failpoint::FAILPOINTS.to_vec()))?;
            Ok(Exit::Ok)
        }
    }
}

fn digest(context: &Context, folder: Option<PathBuf>) -> Result<Exit, CliError> {
    let folder = match folder {
        Some(folder) => folder,
        None => DataDir::new(&Config::load(&context.global.config)?.node.data_dir).store(),
    };
    // Looked for first, because opening would make an empty store there.
    std::fs::metadata(&folder).map_err(|cause| CliError::File {
        what: "store",
        path: folder.clone(),
        cause,
    })?;
    // Of a store that is written meanwhile nothing true can be said.
    let _lock = match folder.parent().map(DataDir::new) {
        Some(dir) if dir.path().join("lock").exists() => {
            Some(dir.lock().map_err(|error| CliError::App(error.into()))?)
        }
        _ => None,
    };
    let found = recompute_digest(&folder)?;
    let digest = Digest::from(found);
    context.output.print(&digest)?;
    if digest.equal {
        return Ok(Exit::Ok);
    }
    Err(CliError::DigestDiffers { folder, stored: digest.stored, recomputed: digest.recomputed })
}

impl From<RecomputedDigest> for Digest {
    fn from(found: RecomputedDigest) -> Self {
        Digest {
            cluster_id: found.marker.map(|marker| marker.cluster_id.to_string()),
            epoch: found.marker.map(|marker| marker.epoch.number),
            node: found.marker.map(|marker| marker.node.0),
            applied_index: found.applied.map(|applied| applied.index),
            rows: found.rows,
            stored: found.stored.to_string(),
            recomputed: found.recomputed.to_string(),
            equal: found.stored == found.recomputed,
        }
    }
}

impl Present for Digest {
    fn page(&self, page: &mut Page) {
        page.fields(&[
            ("Cluster", or_dash(self.cluster_id.as_ref())),
            ("Epoch", or_dash(self.epoch)),
            ("Node", or_dash(self.node)),
            ("Applied index", or_dash(self.applied_index)),
            ("Rows", self.rows.to_string()),
            ("Stored digest", self.stored.clone()),
            ("Recomputed digest", self.recomputed.clone()),
        ]);
    }
}

impl Present for Failpoints {
    fn page(&self, page: &mut Page) {
        for name in &self.0 {
            page.line(name);
        }
    }
}
