//! The command line: flags that every command takes, and the commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{
    audit::AuditCommand, ca::CaCommand, cert::CertCommand, cluster::ClusterCommand,
    completion::CompletionArgs, config::ConfigCommand, debug::DebugCommand, init::InitArgs, join::JoinArgs,
    license::LicenseCommand, node::NodeCommand, output::Format, serve::ServeArgs,
    telemetry::TelemetryCommand, token::TokenCommand,
};

/// Where a node's configuration is if nothing else is said.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/quorate/quorate.toml";

const EXIT_CODES: &str = "\
Exit codes:
  0  done                        4  denied
  1  failed                      5  the cluster is unhealthy
  2  wrong usage                 6  not licensed
  3  no connection to a node     7  something of it ends within 30 days

With -o json or yaml, errors are {code, message, hint} on standard error.";

/// Keeps the license of an on-premises cluster: on every node, durable, readable without quorum.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, max_term_width = 100, after_long_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The node's configuration file.
    #[arg(long, global = true, env = "QUORATE_CONFIG", value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,

    /// The form of what is printed.
    #[arg(
        short = 'o',
        long,
        global = true,
        env = "QUORATE_OUTPUT",
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(crate) output: Format,

    /// A file with a token, - for standard input: the administrator's; for join, the join token.
    #[arg(long, global = true, env = "QUORATE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Ask another node, at its node port, instead of the one on this host. Several, parted by commas,
    /// are tried one after the other. Needs --ca-file and --token-file.
    #[arg(
        long,
        global = true,
        env = "QUORATE_SERVER",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        value_parser = host_and_port
    )]
    pub(crate) server: Vec<String>,

    /// The certificate of the cluster's CA, for --server: tls/ca.crt in any node's data directory.
    #[arg(long, global = true, env = "QUORATE_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the node until it is stopped.
    Serve(ServeArgs),
    /// Prepare this host as the first node of a new cluster.
    Init(InitArgs),
    /// Prepare this host as a further node of a cluster.
    Join(JoinArgs),
    /// Show the cluster, its nodes and the license.
    Status,
    /// Activate and show the license.
    #[command(subcommand)]
    License(LicenseCommand),
    /// Print the installation's Support ID.
    SupportId,
    /// Show what the vendor hears of this installation, and decide whether it does.
    #[command(subcommand)]
    Telemetry(TelemetryCommand),
    /// Show nodes, and this host's computer ID.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Create, list and revoke tokens for nodes and administrators.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show, export and verify who asked for what.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Look after the cluster itself.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Show and rotate the nodes' certificates.
    #[command(subcommand)]
    Cert(CertCommand),
    /// Show and rotate the cluster's CA.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Check and show this node's configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    Completion(CompletionArgs),
    /// Help for support.
    #[command(subcommand)]
    Debug(DebugCommand),
}

/// Checks the form of `host:port` only; whether anybody listens there shows when it is called.
fn host_and_port(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && !text.contains('/') && port.parse::<u16>().is_ok_and(|p| p > 0) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("it is host:port, like ms-1.example.com:7400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_promise_is_there() {
        for line in [
            "serve",
            "init --expected-nodes 4 --scope management",
            "join --token-file - --server ms-1:7400 --role spooler",
            "status",
            "license activate --key-file - --yes",
            "license activate --offline --key-file - --file key.txt --qr --qr-file key.png --yes",
            "license upgrade --key-file -",
            "license trial --offline --qr-file key.svg",
            "license reactivate --offline --renew --yes",
            "license install -",
            "license history",
            "telemetry show",
            "telemetry enable",
            "telemetry disable",
            "license show",
            "license inspect FILE --trust k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI",
            "license entitlements",
            "license intents",
            "support-id",
            "node list",
            "node show ms-1",
            "node pending",
            "node accept sc-1",
            "node refuse sc-1",
            "token create --role spooler --approval",
            "join --token-file - --server ms-1:7400 --wait 2h",
            "node id",
            "token create --role management --name ms-2 --ttl 30m",
            "token create --admin backup",
            "token list",
            "token revoke 0123456789abcdef",
            "token create --admin reports --access viewer",
            "audit list --since 2026-11-21T12:00:00Z --limit 5 --actor anna --command CreateToken",
            "audit export",
            "audit verify",
            "audit verify FILE",
            "cluster health",
            "cluster transfer-leader --to ms-2",
            "cert list",
            "cert rotate",
            "cert rotate ms-2",
            "cert rotate --all",
            "ca status",
            "ca rotate --no-wait",
            "config check",
            "config show",
            "completion bash",
            "debug bundle --file FILE --log FILE",
            "debug digest",
            "debug failpoints",
        ] {
            let words = std::iter::once("quorate").chain(line.split(' '));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for line in [
            "",
            "license",
            "serve --server ms-1",
            "status --server https://ms-1:7400",
            "token create",
            "token create --role management --admin me",
            "token create --role printer",
            "token create --admin me --name ms-2",
            "token create --admin me --approval",
            "token create --admin me --access root",
            "token create --role spooler --access viewer",
            "audit list --limit 0",
            "token create --role spooler --ttl 5",
            "init --expected-nodes 0",
            "cert rotate ms-2 --all",
            "join --token x --token-file y",
            "license activate --key a --key-file b",
            "license activate --key a --file key.txt",
            "license trial --key a",
            "license trial --offline --qr-file key.jpg",
            "license install",
            "license inspect FILE --trust k4.public.short",
        ] {
            let words = std::iter::once("quorate").chain(line.split(' ').filter(|word| !word.is_empty()));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for line in ["quorate -o json --config /c status", "quorate status -o json --config /c"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((cli.global.output, cli.global.config), (Format::Json, PathBuf::from("/c")));
        }
    }
}
