//! What can be wrong with the files of a brought certificate, told with what to do.

use std::{io, path::PathBuf};

use quorate_license::{NodeName, NodeRole, Timestamp};

/// Files of a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file is missing, or the agent may not read it.
    #[error(
        "{} ({key}) can't be read by the user {user}: {source}. Put the file there, or correct {key}, or the file's owner \
         and mode",
        path.display()
    )]
    Unreadable {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The agent's user.
        user: u32,
        /// The system's reason.
        source: io::Error,
    },
    /// Everybody may read a private key.
    #[error(
        "{path} ({key}) holds a private key and can be read by everybody (mode {mode:04o}): run `chmod 600 {path}`, and \
         replace the key if somebody may have read it",
        path = path.display()
    )]
    Readable {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file holds something else.
    #[error("{} ({key}) can't be used: {reason}. It has to be a PEM file, as your CA gives it", path.display())]
    NotPem {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key is another certificate's.
    #[error(
        "the key in {} is not the key of the certificate in {}: replace both, or wait if they are being replaced at this \
         moment",
        key.display(), certificate.display()
    )]
    OtherKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// It has ended.
    #[error("the certificate in {} (or a CA above it) has ended; its own end is {not_after}: have it renewed", path.display())]
    Ended {
        /// The certificate's file.
        path: PathBuf,
        /// When.
        not_after: Timestamp,
    },
    /// It has not begun.
    #[error(
        "the certificate in {} is valid from {not_before} on, which is in the future for this host: look at its clock",
        path.display()
    )]
    NotYet {
        /// The certificate's file.
        path: PathBuf,
        /// From when on.
        not_before: Timestamp,
    },
    /// It was made for something else.
    #[error(
        "the certificate in {} may not be shown as a {usage}: have one made with the usages 'server auth' and 'client auth'",
        path.display()
    )]
    Usage {
        /// The certificate's file.
        path: PathBuf,
        /// `server` or `client`.
        usage: &'static str,
    },
    /// It is of a CA that is not trusted.
    #[error(
        "the certificate in {} is not of a CA in {} (tls.ca_file): {reason}. Put the CA's certificate into the one, and \
         certificates between the two into the other",
        path.display(), ca.display()
    )]
    OtherCa {
        /// The certificate's file.
        path: PathBuf,
        /// The CAs'.
        ca: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// It names no node.
    #[error(
        "the certificate in {} names no node: have one made with the URI quorate://DOMAIN/management/NAME (or \
         .../spooler/NAME) among its alternative names",
        path.display()
    )]
    Nameless {
        /// The certificate's file.
        path: PathBuf,
    },
    /// It names another node.
    #[error(
        "the certificate names {names}, and this node is {name}{}: have one made with the URI quorate://DOMAIN/{}/{name} \
         among its alternative names",
        role.map_or(String::new(), |role| format!(", {role}")),
        role.map_or("ROLE".to_owned(), |role| role.to_string())
    )]
    OtherName {
        /// Whom it names.
        names: String,
        /// The node.
        name: NodeName,
        /// Its role, if it is known.
        role: Option<NodeRole>,
    },
}

impl FilesError {
    /// Stable code, for scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            FilesError::Unreadable { .. } => "certificate_unreadable",
            FilesError::Readable { .. } => "certificate_key_readable",
            FilesError::NotPem { .. } => "certificate_unusable",
            FilesError::OtherKey { .. } => "certificate_key_differs",
            FilesError::Ended { .. } => "certificate_ended",
            FilesError::NotYet { .. } => "certificate_not_yet_valid",
            FilesError::Usage { .. } => "certificate_usage",
            FilesError::OtherCa { .. } => "certificate_of_other_ca",
            FilesError::Nameless { .. } => "certificate_names_no_node",
            FilesError::OtherName { .. } => "certificate_names_other_node",
        }
    }
}
