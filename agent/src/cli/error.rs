//! What a command line user is told when something goes wrong: a stable code, a message, a hint, and the
//! exit code.

use std::{io, path::PathBuf};

use quorate_license::{FileRefusal, LicenseKeyError, NodeName, ParseActivationKeyError};
use quorate_raft_store::disk::OpenError;
use serde::Serialize;
use tonic::{Code, Status};

use super::{Exit, audit::AuditError, client::ConnectError};
use crate::{
    api::status_parts, app::AppError, config::ConfigError, data_dir::DataDirError,
    host::identity::IdentityError, pki::PkiError, setup::SetupError,
};

/// A command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line lacks something, or two things of it don't fit.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No node could be asked.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The node refused, or its answer did not come.
    #[error(transparent)]
    Answer(#[from] Answer),
    /// `init` or `join` did not end.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// `serve` did not start, or did not end well.
    #[error(transparent)]
    App(#[from] AppError),
    /// This host has no usable machine id.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A certificate can't be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The activation key is none.
    #[error("{0}")]
    ActivationKey(#[from] ParseActivationKeyError),
    /// A license file doesn't hold here. The account of its checks is on standard output.
    #[error("{0}")]
    LicenseFile(#[from] FileRefusal),
    /// A file that was named can't be read.
    #[error("the {what} {path} can't be read: {cause}")]
    File {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// A file that was named can't be written.
    #[error("{path} can't be written: {cause}")]
    FileUnwritable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// The license key is none, or damaged.
    #[error("{0}")]
    LicenseKey(#[from] LicenseKeyError),
    /// There is no node of this name or id.
    #[error("there is no node '{given}' in the cluster")]
    NodeUnknown {
        /// As it was given.
        given: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The installation was never activated.
    #[error("this installation has no Support ID yet")]
    NoSupportId,
    /// The user did not confirm.
    #[error("nothing was done, because you did not confirm it")]
    NotConfirmed,
    /// The stream of an activation ended without its result.
    #[error("the node ended the activation's report before the result")]
    ActivationCutOff,
    /// A node gave an answer that this release can't read.
    #[error("the node's answer can't be read: {what}")]
    AnswerUnreadable {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The state on disk is not what the node has counted.
    #[error("the state in {folder} is damaged: its digest is {recomputed}, it should be {stored}")]
    DigestDiffers {
        /// The store.
        folder: PathBuf,
        /// What the node had counted.
        stored: String,
        /// What the rows give.
        recomputed: String,
    },
    /// A stopped node's store can't be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The records of the audit don't fit together.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The operating system refused something that every program needs.
    #[error("{what}: {cause}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// The reason.
        cause: io::Error,
    },
}

/// The command line lacks something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    /// Neither file nor flag, and nobody to ask.
    #[error("no activation key was given")]
    NoActivationKey,
    /// `join` without its token.
    #[error("no join token was given")]
    NoJoinToken,
    /// `join` without a node to ask.
    #[error("no node of the cluster was named")]
    NoServer,
    /// `--server` without the CA to trust.
    #[error("--server needs the certificate of the cluster's CA")]
    NoCaFile,
    /// A license file is to be checked, and nobody says whose signature counts.
    #[error("no root key to check the license file with was given")]
    NoTrustRoots,
    /// Something is to be confirmed, and nobody is at a terminal.
    #[error("this has to be confirmed, and there is no terminal to ask at")]
    ConfirmationNeeded,
    /// `join --replace` names another node than the configuration.
    #[error("--replace names {replaced}, the configuration says node.name = \"{configured}\"")]
    OtherNodeReplaced {
        /// The node to be replaced.
        replaced: NodeName,
        /// The configured name.
        configured: NodeName,
    },
    /// A token with characters that no token has.
    #[error("the token in {0} holds characters that no token has")]
    TokenUnusable(PathBuf),
}

impl UsageError {
    const fn code(&self) -> &'static str {
        match self {
            UsageError::NoActivationKey => "activation_key_missing",
            UsageError::NoJoinToken => "token_missing",
            UsageError::NoServer => "server_missing",
            UsageError::NoCaFile => "ca_file_missing",
            UsageError::NoTrustRoots => "trust_missing",
            UsageError::ConfirmationNeeded => "confirmation_needed",
            UsageError::OtherNodeReplaced { .. } => "node_name_differs",
            UsageError::TokenUnusable(_) => "token_malformed",
        }
    }

    const fn hint(&self) -> &'static str {
        match self {
            UsageError::NoActivationKey => {
                "Give it by --key-file FILE, or --key-file - to read it from standard input."
            }
            UsageError::NoJoinToken => {
                "Make one by 'quorate token create --role management|spooler' on a Management Server, and give it by --token-file FILE."
            }
            UsageError::NoServer => {
                "Name a Management Server by --server HOST:PORT; its node port is 7400 by default."
            }
            UsageError::NoCaFile => {
                "Copy tls/ca.crt from the data directory of any node, and name it by --ca-file FILE."
            }
            UsageError::NoTrustRoots => {
                "Give the vendor's by --trust ROOT, or set license.trust_roots in the configuration."
            }
            UsageError::ConfirmationNeeded => {
                "Look at what would be done, then repeat the command with --yes."
            }
            UsageError::OtherNodeReplaced { .. } => {
                "A replacement keeps the name: correct node.name, or the name behind --replace."
            }
            UsageError::TokenUnusable(_) => "Copy the token again, as a whole, on one line.",
        }
    }
}

/// What came back instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Answer {
    code: String,
    message: String,
    hint: String,
    exit: Exit,
}

impl Answer {
    /// No answer came in time.
    pub(crate) fn late(seconds: u64) -> Self {
        Answer {
            code: "no_answer".to_owned(),
            message: format!("the node did not answer within {seconds} seconds"),
            hint: "Look at its log, and ask another node; a change may have been made all the same."
                .to_owned(),
            exit: Exit::NoConnection,
        }
    }
}

/// Codes that say: the cluster can't decide anything now.
const UNHEALTHY_CODES: [&str; 6] =
    ["no_leader", "no_quorum", "not_initialized", "outcome_unknown", "node_stopped", "disk_full"];

/// Codes that say: there is no license.
const NOT_LICENSED_CODES: [&str; 3] = ["unlicensed", "not_activated", "not_licensed"];

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        let denied = matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated);
        match status_parts(&status) {
            Some(parts) => {
                let exit = match parts.code.as_str() {
                    _ if denied => Exit::Denied,
                    code if UNHEALTHY_CODES.contains(&code) => Exit::Unhealthy,
                    code if NOT_LICENSED_CODES.contains(&code) => Exit::NotLicensed,
                    _ => Exit::Failed,
                };
                Answer { code: parts.code, message: status.message().to_owned(), hint: parts.hint, exit }
            }
            None => from_transport(&status, denied),
        }
    }
}

/// A status that no face of ours made: the connection broke, or something else listens there.
fn from_transport(status: &Status, denied: bool) -> Answer {
    let (code, hint, exit) = match status.code() {
        _ if denied => ("denied", "Give an administrator's token by --token-file FILE.", Exit::Denied),
        Code::Unimplemented => (
            "not_supported",
            "Update the node: it doesn't know this request. If it is no Quorate node, check the address.",
            Exit::Failed,
        ),
        Code::DeadlineExceeded => return Answer::late(0).with_message(status),
        // The transport's own clock, which may be a moment before this program's.
        Code::Cancelled if status.message() == "Timeout expired" => {
            return Answer::late(0).with_message(status);
        }
        Code::Unavailable | Code::Cancelled | Code::Unknown => (
            "connection_lost",
            "See whether the node still runs, and look before you repeat a change: it may have been made.",
            Exit::NoConnection,
        ),
        _ => ("failed", "Look at the node's log.", Exit::Failed),
    };
    Answer { code: code.to_owned(), message: root_cause(status), hint: hint.to_owned(), exit }
}

impl Answer {
    fn with_message(mut self, status: &Status) -> Self {
        self.message = format!("the node did not answer in time: {}", status.message());
        self
    }
}

/// What is at the bottom of a transport error: "connection reset", not "transport error".
fn root_cause(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, status) {
        return status.message().to_owned();
    }
    format!("the connection to the node broke: {cause}")
}

/// The shape of an error in JSON and YAML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ErrorReport {
    /// Stable code.
    pub(crate) code: String,
    /// What happened, to which thing by name.
    pub(crate) message: String,
    /// What to do now; `null` where there is nothing to say.
    pub(crate) hint: Option<String>,
}

impl CliError {
    /// What is shown.
    pub(crate) fn report(&self) -> ErrorReport {
        let hint = self.hint();
        ErrorReport {
            code: self.code().to_owned(),
            message: self.to_string(),
            hint: (!hint.is_empty()).then_some(hint),
        }
    }

    /// How the program ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            CliError::Usage(_) => Exit::Usage,
            CliError::Connect(error) => error.exit(),
            CliError::Answer(answer) => answer.exit,
            CliError::Setup(SetupError::Unreachable(_)) => Exit::NoConnection,
            CliError::LicenseFile(_) | CliError::NoSupportId => Exit::NotLicensed,
            _ => Exit::Failed,
        }
    }

    fn code(&self) -> &str {
        match self {
            CliError::Usage(error) => error.code(),
            CliError::Config(error) => error.code(),
            CliError::Connect(error) => error.code(),
            CliError::Answer(answer) => &answer.code,
            CliError::Audit(error) => error.code(),
            CliError::Setup(error) => error.code(),
            CliError::App(error) => app_code(error),
            CliError::Identity(_) => "computer_id_unavailable",
            CliError::Pki(_) => "certificate_unusable",
            CliError::ActivationKey(_) => "activation_key_malformed",
            CliError::LicenseFile(refusal) => refusal.code(),
            CliError::File { .. } => "file_unreadable",
            CliError::NodeUnknown { .. } => "node_unknown",
            CliError::NoSupportId => "not_activated",
            CliError::NotConfirmed => "not_confirmed",
            CliError::ActivationCutOff => "outcome_unknown",
            CliError::AnswerUnreadable { .. } => "answer_unreadable",
            CliError::FileUnwritable { .. } => "file_unwritable",
            CliError::LicenseKey(_) => "license_key_malformed",
            CliError::DigestDiffers { .. } => "digest_differs",
            CliError::Store(_) => "store_unusable",
            CliError::System { .. } => "system",
        }
    }

    fn hint(&self) -> String {
        match self {
            CliError::Usage(error) => error.hint().to_owned(),
            CliError::Config(error) => error.hint(),
            CliError::Connect(error) => error.hint(),
            CliError::Answer(answer) => answer.hint.clone(),
            CliError::Audit(error) => error.hint().to_owned(),
            CliError::Setup(SetupError::Refused { hint, .. }) => hint.clone(),
            CliError::Setup(SetupError::Unreachable(_)) => {
                "Check that the server runs and that --server names its node port, 7400 by default.".to_owned()
            }
            CliError::Pki(_) => "Copy tls/ca.crt from the data directory of any node of the cluster.".to_owned(),
            CliError::File { .. } => "Check that the file is there and that you may read it.".to_owned(),
            CliError::NodeUnknown { known, .. } => format!("The nodes are: {}.", known.join(", ")),
            CliError::NoSupportId => {
                "The portal makes it at the first activation: 'quorate license activate --key-file FILE'.".to_owned()
            }
            CliError::NotConfirmed => "Repeat the command and answer yes, or give --yes.".to_owned(),
            CliError::ActivationCutOff => {
                "'quorate license intents' shows how far it came; repeat the command with the same key to finish it."
                    .to_owned()
            }
            CliError::AnswerUnreadable { .. } => "Use the 'quorate' program of the node's own release.".to_owned(),
            CliError::DigestDiffers { .. } => {
                "Keep the data directory for inspection and start no node on it; the other nodes hold everything."
                    .to_owned()
            }
            CliError::Store(_) => "Stop the node first; only a stopped node's store can be opened.".to_owned(),
            CliError::App(AppError::StoreDamaged { name, data_dir, .. }) => {
                let dir = data_dir.display();
                format!(
                    "The other nodes hold everything. Keep this directory for inspection and join the machine again as a new node: `mv {dir} {dir}.damaged`, then `quorate join --replace {name}` with a join token."
                )
            }
            CliError::App(AppError::Listen { .. }) => {
                "Look what else listens there, or change the address in section [listen] of the configuration."
                    .to_owned()
            }
            CliError::FileUnwritable { .. } => "Name a file in a folder that you may write to.".to_owned(),
            // These say in their message what to do.
            CliError::Setup(_)
            | CliError::App(_)
            | CliError::Identity(_)
            | CliError::ActivationKey(_)
            | CliError::LicenseKey(_)
            | CliError::LicenseFile(_)
            | CliError::System { .. } => String::new(),
        }
    }
}

/// Why a node could not start, or stopped by itself.
fn app_code(error: &AppError) -> &'static str {
    match error {
        AppError::DataDir(DataDirError::Unprepared(_)) => "not_prepared",
        AppError::DataDir(DataDirError::Prepared { .. }) => "already_prepared",
        AppError::DataDir(DataDirError::OtherNode { .. }) => "other_node",
        AppError::Removed { .. } => "node_removed",
        AppError::StoreLost { .. } => "store_lost",
        AppError::Outdated { code, .. } => match code.as_str() {
            "data_directory_cloned" => "data_directory_cloned",
            "node_rolled_back" => "node_rolled_back",
            _ => "node_start_outdated",
        },
        AppError::DataDir(DataDirError::InUse(_)) => "data_dir_in_use",
        AppError::DataDir(DataDirError::Damaged { .. }) => "data_dir_damaged",
        AppError::DataDir(DataDirError::NewerFormat { .. }) => "newer_format",
        AppError::DataDir(DataDirError::Io { .. }) => "data_dir",
        AppError::Identity(_) => "computer_id_unavailable",
        AppError::Files(error) => error.code(),
        AppError::Pki(_) => "certificate_unusable",
        AppError::Store(OpenError::NewerFormat { .. }) => "newer_format",
        AppError::Store(_) => "store_unusable",
        AppError::StoreDamaged { .. } => "store_damaged",
        AppError::SnapshotKey { .. } => "snapshot_key",
        AppError::Listen { .. } => "address_unusable",
        _ => "serve_failed",
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
