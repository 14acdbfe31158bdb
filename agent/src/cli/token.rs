//! `quorate token`: what nodes join with, and what administrators show.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use quorate_license::{NodeName, NodeRole, Timestamp};
use quorate_proto::v1::{
    CreateTokenRequest, CreateTokenResponse, ListTokensRequest, RevokeTokenRequest, TokenSummary,
};
use serde::Serialize;

use super::{
    Context, Exit,
    client::{DEADLINE, call, within},
    duration,
    error::CliError,
    output::{Page, Present, or_dash},
    wire,
};

/// How long a join token is good for if nothing else is said: it is made when it is needed.
const JOIN_TTL: Duration = Duration::from_secs(60 * 60);

/// How long an administrator's token is good for if nothing else is said.
const ADMIN_TTL: Duration = Duration::from_secs(90 * 24 * 60 * 60);

const MIN_TTL: Duration = Duration::from_secs(60);
const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Commands about tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token, and print it: it is shown this once.
    Create(CreateArgs),
    /// List tokens. Their secrets are nowhere to be seen.
    List,
    /// Revoke a token.
    Revoke {
        /// The token's id, as `token list` shows it.
        id: String,
    },
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("purpose").required(true).args(["role", "admin"]))]
pub(crate) struct CreateArgs {
    /// For a new node of this role: management or spooler. It is good for one node.
    #[arg(long, value_name = "ROLE")]
    role: Option<NodeRole>,

    /// For an administrator: whose token it is, or what for.
    #[arg(long, value_name = "LABEL", value_parser = label)]
    admin: Option<String>,

    /// What an administrator's token lets its bearer do: admin, everything; viewer, read.
    #[arg(long, value_name = "ACCESS", default_value = "admin", conflicts_with = "role")]
    access: Access,

    /// The only node name that may join with it.
    #[arg(long, value_name = "NODE", conflicts_with = "admin")]
    name: Option<NodeName>,

    /// The node waits until an administrator accepts it (quorate node accept).
    #[arg(long, conflicts_with = "admin")]
    approval: bool,

    /// How long it is good for, as 30m, 12h or 7d. By default 1h for a node, 90d for an administrator.
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    ttl: Option<Duration>,
}

/// What the bearer of an administrator's token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Access {
    /// Everything.
    Admin,
    /// Read.
    Viewer,
}

/// A token that was made. Secret.
#[derive(Serialize)]
struct Created {
    id: String,
    token: Option<String>,
    expires_at: Option<Timestamp>,
    role: Option<NodeRole>,
    label: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct TokenList(Vec<Token>);

#[derive(Serialize)]
struct Token {
    id: String,
    purpose: String,
    role: Option<String>,
    node_name: Option<String>,
    label: Option<String>,
    state: String,
    created_at: Option<Timestamp>,
    created_by: Option<String>,
    expires_at: Option<Timestamp>,
    used_by: Option<u64>,
}

#[derive(Serialize)]
struct Revoked {
    id: String,
    state: &'static str,
}

pub(super) async fn run(context: &Context, command: TokenCommand) -> Result<Exit, CliError> {
    match command {
        TokenCommand::Create(args) => create(context, args).await,
        TokenCommand::List => list(context).await,
        TokenCommand::Revoke { id } => revoke(context, id).await,
    }
}

async fn create(context: &Context, args: CreateArgs) -> Result<Exit, CliError> {
    let mut request_id = vec![0; 16];
    getrandom::fill(&mut request_id).map_err(|error| CliError::System {
        what: "the system gives no random bytes",
        cause: std::io::Error::other(error.to_string()),
    })?;
    let default_ttl = if args.role.is_some() { JOIN_TTL } else { ADMIN_TTL };
    let request = CreateTokenRequest {
        role: args.role.map(|role| role.to_string()).unwrap_or_default(),
        node_name: args.name.map(|name| name.to_string()).unwrap_or_default(),
        label: args.admin.clone().unwrap_or_default(),
        ttl_seconds: args.ttl.unwrap_or(default_ttl).as_secs(),
        request_id,
        approval: args.approval,
        access: match args.access {
            Access::Viewer => "viewer".to_owned(),
            Access::Admin => String::new(),
        },
    };
    let mut admin = context.connect().await?;
    let answer = call(DEADLINE, admin.create_token(within(DEADLINE, request))).await?;
    context.output.print(&Created::new(answer, args.role, args.admin))?;
    Ok(Exit::Ok)
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let answer = call(DEADLINE, admin.list_tokens(within(DEADLINE, ListTokensRequest {}))).await?;
    context.output.print(&TokenList(answer.tokens.into_iter().map(Token::from).collect()))?;
    Ok(Exit::Ok)
}

async fn revoke(context: &Context, id: String) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let request = RevokeTokenRequest { id: id.clone() };
    call(DEADLINE, admin.revoke_token(within(DEADLINE, request))).await?;
    context.output.print(&Revoked { id, state: "revoked" })?;
    Ok(Exit::Ok)
}

/// A time as [`duration::parse`] reads it, within the bounds of a token's.
fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration::parse(text)?;
    if (MIN_TTL..=MAX_TTL).contains(&ttl) { Ok(ttl) } else { Err("it is between 1m and 366d".to_owned()) }
}

/// Whose token it is: shown in lists, so short and of one line.
fn label(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("it has 1 to 64 characters, all on one line".to_owned())
    }
}

impl Created {
    fn new(answer: CreateTokenResponse, role: Option<NodeRole>, label: Option<String>) -> Self {
        Created {
            id: answer.id,
            token: wire::text(answer.token),
            expires_at: wire::time(answer.expires_at_ms),
            role,
            label,
        }
    }
}

impl From<TokenSummary> for Token {
    fn from(token: TokenSummary) -> Self {
        Token {
            id: token.id,
            purpose: token.purpose,
            role: wire::text(token.role),
            node_name: wire::text(token.node_name),
            label: wire::text(token.label),
            state: token.state,
            created_at: wire::time(token.created_at_ms),
            created_by: wire::text(token.created_by),
            expires_at: wire::time(token.expires_at_ms),
            used_by: token.used_by,
        }
    }
}

impl Present for Created {
    fn page(&self, page: &mut Page) {
        let Some(token) = &self.token else {
            page.line(format!(
                "The token {} was made before, and its secret was shown then. Revoke it and create another one.",
                self.id
            ));
            return;
        };
        page.line(token);
        page.gap();
        let until = or_dash(self.expires_at);
        match self.role {
            Some(role) => {
                page.line(format!(
                    "One {role} node can join with it until {until}. It is shown this once; its id is {}.",
                    self.id
                ));
                page.line("Save it in a file on the new node, and run there:");
                page.line("  quorate join --token-file FILE --server HOST:PORT");
            }
            None => {
                page.line(format!(
                    "Who has it may administer the cluster until {until}. It is shown this once; its id is {}.",
                    self.id
                ));
                page.line("Save it in a file that only its owner can read, and use it by --token-file FILE.");
            }
        }
    }
}

impl Present for TokenList {
    fn page(&self, page: &mut Page) {
        let header = ["ID", "PURPOSE", "ROLE", "NODE", "LABEL", "STATE", "EXPIRES", "CREATED BY", "USED BY"];
        let row = |token: &Token| {
            vec![
                token.id.clone(),
                token.purpose.clone(),
                or_dash(token.role.as_ref()),
                or_dash(token.node_name.as_ref()),
                or_dash(token.label.as_ref()),
                token.state.clone(),
                or_dash(token.expires_at),
                or_dash(token.created_by.as_ref()),
                or_dash(token.used_by),
            ]
        };
        page.table(&header, self.0.iter().map(row).collect(), "There are no tokens.");
    }
}

impl Present for Revoked {
    fn page(&self, page: &mut Page) {
        page.line(format!("The token {} is revoked: nobody is let in with it any more.", self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    const EXPIRES_MS: i64 = 1_763_751_600_000;

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, seconds) in [("60s", 60), ("30m", 1800), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600)]
        {
            assert_eq!(ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "5",
            "h",
            "1y",
            "-1h",
            "59s",
            "367d",
            "1.5h",
            "99999999999999999999d",
            "18446744073709551615w",
        ] {
            assert!(ttl(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_printed_once_with_what_to_do() {
        let answer = CreateTokenResponse {
            id: "00000000000000a1".to_owned(),
            token: "qj1-secret".to_owned(),
            expires_at_ms: EXPIRES_MS,
        };
        let again = CreateTokenResponse { token: String::new(), ..answer.clone() };
        let join = Created::new(answer.clone(), Some(NodeRole::Spooler), None);
        insta::assert_snapshot!(all_forms(&join));
        insta::assert_snapshot!(all_forms(&Created::new(answer, None, Some("backup".to_owned()))));
        insta::assert_snapshot!(all_forms(&Created::new(again, Some(NodeRole::Management), None)));
    }

    #[test]
    fn tokens_are_listed_in_every_form() {
        let token = |id: &str| TokenSummary {
            id: id.to_owned(),
            purpose: "join".to_owned(),
            role: "spooler".to_owned(),
            node_name: "sc-1".to_owned(),
            label: String::new(),
            state: "used".to_owned(),
            created_at_ms: EXPIRES_MS - 3_600_000,
            created_by: "local administrator on ms-1".to_owned(),
            expires_at_ms: EXPIRES_MS,
            used_by: Some((1 << 40) + 4),
        };
        let admin = TokenSummary {
            purpose: "admin".to_owned(),
            role: String::new(),
            node_name: String::new(),
            label: "init".to_owned(),
            state: "open".to_owned(),
            used_by: None,
            ..token("00000000000000a2")
        };
        let tokens = vec![Token::from(token("00000000000000a1")), Token::from(admin)];
        insta::assert_snapshot!(all_forms(&TokenList(tokens)));
        insta::assert_snapshot!(all_forms(&TokenList(Vec::new())));
        insta::assert_snapshot!(all_forms(&Revoked { id: "00000000000000a1".to_owned(), state: "revoked" }));
    }
}
