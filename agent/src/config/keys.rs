//! Every key that a configuration may hold. The example file names the same ones.

/// What a key's value is in the file. A variable of the environment is read as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A whole number, not negative.
    Number,
    /// A list of strings; in a variable, parted by commas.
    List,
}

impl Kind {
    /// In words, for messages.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Kind::Text => "a text in quotes",
            Kind::Number => "a whole number, not negative and without quotes",
            Kind::List => "a list of texts in quotes",
        }
    }
}

/// A key with its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// The table that it stands in.
    pub(super) section: &'static str,
    /// Its name there.
    pub(super) name: &'static str,
    /// What its value is.
    pub(super) kind: Kind,
}

impl Key {
    /// `section.name`, as messages write it.
    pub(super) fn dotted(self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The variable that sets it.
    pub(super) fn variable(self) -> String {
        format!("{PREFIX}{}_{}", self.section, self.name).to_ascii_uppercase()
    }
}

/// What every variable of Quorate begins with.
pub(super) const PREFIX: &str = "QUORATE_";

/// Stands for `log.filter` where `QUORATE_LOG_FILTER` is not set.
pub(super) const LOG_VARIABLE: &str = "QUORATE_LOG";

/// Variables with the same prefix that are no keys: flags of the command line.
pub(super) const FLAG_VARIABLES: [&str; 5] =
    ["QUORATE_CONFIG", "QUORATE_OUTPUT", "QUORATE_TOKEN_FILE", "QUORATE_SERVER", "QUORATE_CA_FILE"];

const fn text(section: &'static str, name: &'static str) -> Key {
    Key { section, name, kind: Kind::Text }
}

const fn number(section: &'static str, name: &'static str) -> Key {
    Key { section, name, kind: Kind::Number }
}

const fn list(section: &'static str, name: &'static str) -> Key {
    Key { section, name, kind: Kind::List }
}

/// All keys, in the order of the example file.
pub(super) const KEYS: [Key; 37] = [
    text("node", "name"),
    text("node", "data_dir"),
    text("listen", "raft"),
    text("listen", "grpc"),
    text("listen", "http"),
    text("listen", "ops"),
    text("listen", "socket"),
    text("listen", "admin_socket"),
    text("advertise", "raft"),
    text("advertise", "http"),
    text("identity", "machine_id_file"),
    text("identity", "source"),
    text("build", "file"),
    text("build", "number"),
    text("portal", "url"),
    text("portal", "ca_file"),
    text("portal", "proxy"),
    number("portal", "timeout_seconds"),
    list("license", "trust_roots"),
    number("cluster", "expected_nodes"),
    text("integrity", "scope"),
    text("tls", "certificate_lifetime"),
    text("tls", "certificate_file"),
    text("tls", "key_file"),
    text("tls", "ca_file"),
    text("tls", "node_certificates"),
    text("tls", "http_certificate_file"),
    text("tls", "http_key_file"),
    number("raft", "heartbeat_ms"),
    number("raft", "election_min_ms"),
    number("raft", "election_max_ms"),
    number("raft", "snapshot_after_entries"),
    number("raft", "snapshot_bytes_per_second"),
    text("raft", "snapshot_key_file"),
    number("raft", "least_free_bytes"),
    text("log", "format"),
    text("log", "filter"),
];

/// The names of all sections, in the order of the example file.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&'static str> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    sections
}

/// The key with this name in this section.
pub(super) fn find(section: &str, name: &str) -> Option<Key> {
    KEYS.into_iter().find(|key| key.section == section && key.name == name)
}
