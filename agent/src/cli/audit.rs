//! `quorate audit`: what was asked for, by whom, and what came of it; and that nothing of it was changed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use quorate_license::{NodeId, Timestamp};
use quorate_proto::v1 as proto;
use quorate_raft_store::{
    Revision,
    audit::{Actor, Face, Verifier},
    state::{AuditAnchor, AuditRecord},
};
use serde::{Deserialize, Serialize};

use super::{
    Context, Exit,
    client::{Admin, DEADLINE, call, within},
    error::CliError,
    output::{Page, Present},
};

/// Commands about the audit.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List the newest records: who asked for what, when, from where, and what came of it.
    List(ListArgs),
    /// Print every record that is kept as a line of JSON, with its hash, to be kept and verified elsewhere.
    Export,
    /// Check that no record was changed, left out or put in: of the cluster, or of an exported file.
    Verify {
        /// What `audit export` has printed; without it, the cluster's own records.
        file: Option<PathBuf>,
    },
}

/// Arguments of `audit list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only from this time on, as 2026-11-21T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,

    /// Only before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,

    /// The most records.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,

    /// Only of askers whose description holds this text: a token's label or id, or a node's name.
    #[arg(long, value_name = "TEXT")]
    actor: Option<String>,

    /// Only of this command, as CreateToken.
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
}

/// One record, as it is printed and exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    number: u64,
    at: Timestamp,
    epoch: u32,
    index: u64,
    actor: String,
    actor_detail: String,
    who: String,
    node: u64,
    node_name: String,
    face: String,
    address: Option<String>,
    command: String,
    /// Pairs of name and value, in their order, which the hash covers.
    particulars: Vec<(String, String)>,
    /// `ok`, or the refusal's code.
    outcome: String,
    hash: String,
}

/// The first line of an export: what the first record follows on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Anchor {
    cluster: String,
    anchor_number: u64,
    anchor_hash: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct List(Vec<Record>);

/// What a verified chain is.
#[derive(Debug, Serialize)]
struct Verified {
    records: u64,
    first: u64,
    last: u64,
    hash: String,
}

/// Why records can't be verified.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    /// A line is no record.
    #[error("line {line} is no record of the audit: {reason}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A record does not fit.
    #[error("{0}")]
    Broken(String),
    /// Records were dropped while they were read.
    #[error("the oldest records were dropped while they were read")]
    Dropped,
}

impl AuditError {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            AuditError::Line { .. } => "audit_malformed",
            AuditError::Broken(_) => "audit_broken",
            AuditError::Dropped => "audit_moved_on",
        }
    }

    pub(super) const fn hint(&self) -> &'static str {
        match self {
            AuditError::Line { .. } => "give a whole file, as audit export has printed it",
            AuditError::Broken(_) => "what follows can't be trusted; compare it with an older export",
            AuditError::Dropped => "run the command again",
        }
    }
}

pub(super) async fn run(context: &Context, command: AuditCommand) -> Result<Exit, CliError> {
    match command {
        AuditCommand::List(args) => list(context, args).await?,
        AuditCommand::Export => export(context).await?,
        AuditCommand::Verify { file: Some(file) } => context.output.print(&verify_file(&file)?)?,
        AuditCommand::Verify { file: None } => {
            let (anchor, records) = everything(&mut context.connect().await?).await?;
            context.output.print(&verify(&anchor, &records)?)?;
        }
    }
    Ok(Exit::Ok)
}

async fn list(context: &Context, args: ListArgs) -> Result<(), CliError> {
    let request = proto::ListAuditRequest {
        after: 0,
        limit: args.limit,
        since_ms: args.since.map(Timestamp::as_unix_ms),
        until_ms: args.until.map(Timestamp::as_unix_ms),
        actor: args.actor.unwrap_or_default(),
        command: args.command.unwrap_or_default(),
        newest: true,
    };
    let mut admin = context.connect().await?;
    let answer = call(DEADLINE, admin.list_audit(within(DEADLINE, request))).await?;
    context.output.print(&List(answer.records.into_iter().map(Record::from).collect()))
}

async fn export(context: &Context) -> Result<(), CliError> {
    let (anchor, records) = everything(&mut context.connect().await?).await?;
    let mut text = line(&anchor)?;
    for record in &records {
        text.push_str(&line(record)?);
    }
    context.output.write(&text)
}

fn line(value: &impl Serialize) -> Result<String, CliError> {
    let line = serde_json::to_string(value)
        .map_err(|error| AuditError::Line { line: 0, reason: error.to_string() })?;
    Ok(line + "\n")
}

/// All records that are kept, page by page.
async fn everything(admin: &mut Admin) -> Result<(Anchor, Vec<Record>), CliError> {
    let mut after = 0;
    let mut all: Option<(Anchor, Vec<Record>)> = None;
    loop {
        let request = proto::ListAuditRequest { after, ..Default::default() };
        let page = call(DEADLINE, admin.list_audit(within(DEADLINE, request))).await?;
        let (anchor, records) = all.get_or_insert_with(|| {
            let anchor = Anchor {
                cluster: page.cluster_id.clone(),
                anchor_number: page.anchor_number,
                anchor_hash: hex(&page.anchor_hash),
            };
            (anchor, Vec::new())
        });
        let expected = records.last().map_or(anchor.anchor_number, |record: &Record| record.number) + 1;
        if page.records.first().is_some_and(|first| first.number > expected) && page.anchor_number >= expected
        {
            return Err(AuditError::Dropped.into());
        }
        records.extend(page.records.into_iter().map(Record::from));
        after = records.last().map_or(after, |record| record.number);
        if !page.more {
            return Ok(all.unwrap_or_else(|| (Anchor::default(), Vec::new())));
        }
    }
}

fn verify_file(file: &Path) -> Result<Verified, CliError> {
    let text = std::fs::read_to_string(file).map_err(|cause| CliError::File {
        what: "exported audit",
        path: file.to_owned(),
        cause,
    })?;
    verify_text(&text).map_err(CliError::from)
}

fn verify_text(text: &str) -> Result<Verified, AuditError> {
    fn parse<'a, T: Deserialize<'a>>(line: usize, text: &'a str) -> Result<T, AuditError> {
        serde_json::from_str(text).map_err(|error| AuditError::Line { line, reason: error.to_string() })
    }
    let mut lines = text.lines().zip(1..);
    let (first, number) = lines.next().unwrap_or(("", 1));
    let anchor: Anchor = parse(number, first)?;
    let records: Result<Vec<Record>, AuditError> = lines.map(|(text, number)| parse(number, text)).collect();
    verify(&anchor, &records?)
}

fn verify(anchor: &Anchor, records: &[Record]) -> Result<Verified, AuditError> {
    let start = AuditAnchor { number: anchor.anchor_number, hash: unhex(&anchor.anchor_hash, "the anchor")? };
    let mut verifier = Verifier::from_anchor(start);
    for record in records {
        verifier.take(&record.row()?).map_err(|broken| AuditError::Broken(broken.to_string()))?;
    }
    let head = verifier.head();
    Ok(Verified {
        records: records.len() as u64,
        first: records.first().map_or(0, |record| record.number),
        last: records.last().map_or(0, |record| record.number),
        hash: hex(&head.hash),
    })
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn unhex(text: &str, of: &str) -> Result<[u8; 32], AuditError> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    hash.ok_or_else(|| AuditError::Broken(format!("the hash of {of} is not one")))
}

impl Default for Anchor {
    fn default() -> Self {
        Anchor { cluster: String::new(), anchor_number: 0, anchor_hash: hex(&[0; 32]) }
    }
}

impl Record {
    /// The row that was hashed.
    fn row(&self) -> Result<AuditRecord, AuditError> {
        let broken = |what: &str| AuditError::Broken(format!("record {} has no known {what}", self.number));
        let token = || self.actor_detail.parse().map_err(|_| broken("token id"));
        let actor = match (self.actor.as_str(), self.actor_detail.as_str()) {
            ("unstated", _) => Actor::Unstated,
            ("node", _) => Actor::Node,
            ("local", "") => Actor::Local { uid: None },
            ("local", uid) => Actor::Local { uid: Some(uid.parse().map_err(|_| broken("user id"))?) },
            ("token", _) => Actor::Token(token()?),
            ("joiner", _) => Actor::Joiner(token()?),
            _ => return Err(broken("actor")),
        };
        let face =
            Face::ALL.into_iter().find(|face| face.as_str() == self.face).ok_or_else(|| broken("face"))?;
        Ok(AuditRecord {
            number: self.number,
            at: self.at,
            revision: Revision { epoch: self.epoch, index: self.index },
            actor,
            who: self.who.clone(),
            node: NodeId(self.node),
            node_name: self.node_name.clone(),
            face,
            address: self.address.clone(),
            command: self.command.clone(),
            particulars: self.particulars.clone(),
            refusal: Some(self.outcome.clone()).filter(|outcome| outcome != "ok"),
            hash: unhex(&self.hash, &format!("record {}", self.number))?,
        })
    }

    fn place(&self) -> String {
        let at = format!("{}, {}", self.node_name, self.face.replace('_', " "));
        match &self.address {
            Some(address) => format!("{at}, {address}"),
            None => at,
        }
    }
}

impl From<proto::AuditRecord> for Record {
    fn from(record: proto::AuditRecord) -> Self {
        Record {
            number: record.number,
            at: Timestamp::from_unix_ms(record.at_ms),
            epoch: record.epoch,
            index: record.index,
            actor: record.actor,
            actor_detail: record.actor_detail,
            who: record.who,
            node: record.node,
            node_name: record.node_name,
            face: record.face,
            address: record.address,
            command: record.command,
            particulars: record.particulars.into_iter().map(|one| (one.name, one.value)).collect(),
            outcome: record.refusal.unwrap_or_else(|| "ok".to_owned()),
            hash: hex(&record.hash),
        }
    }
}

impl Present for List {
    fn page(&self, page: &mut Page) {
        let header = ["NO", "TIME", "WHO", "FROM", "COMMAND", "WHAT", "OUTCOME"];
        let row = |record: &Record| {
            let what: Vec<String> =
                record.particulars.iter().map(|(name, value)| format!("{name}={value}")).collect();
            vec![
                record.number.to_string(),
                record.at.to_string(),
                record.who.clone(),
                record.place(),
                record.command.clone(),
                what.join(" "),
                record.outcome.clone(),
            ]
        };
        page.table(&header, self.0.iter().map(row).collect(), "There are no such records.");
    }
}

impl Present for Verified {
    fn page(&self, page: &mut Page) {
        if self.records == 0 {
            page.line("There are no records.");
            return;
        }
        page.line(format!("{} records fit, from {} to {}.", self.records, self.first, self.last));
        page.line(format!("The hash of the last one is {}.", self.hash));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export() -> String {
        let mut verifier = Verifier::from_anchor(AuditAnchor { number: 6, hash: [7; 32] });
        let anchor = Anchor { cluster: "c".to_owned(), anchor_number: 6, anchor_hash: hex(&[7; 32]) };
        let mut text = line(&anchor).unwrap();
        for number in 7..=9 {
            let mut record = Record {
                number,
                at: Timestamp::from_unix_ms(1_763_751_600_000),
                epoch: 1,
                index: 40 + number,
                actor: "local".to_owned(),
                actor_detail: "0".to_owned(),
                who: "local administrator on ms-1".to_owned(),
                node: 1,
                node_name: "ms-1".to_owned(),
                face: "admin_socket".to_owned(),
                address: None,
                command: "RevokeToken".to_owned(),
                particulars: vec![("token".to_owned(), "00000000000000a1".to_owned())],
                outcome: if number == 8 { "token_unknown" } else { "ok" }.to_owned(),
                hash: hex(&[0; 32]),
            };
            let mut row = record.row().unwrap();
            row.hash = quorate_raft_store::audit::hash(&verifier.head().hash, &row);
            record.hash = hex(&row.hash);
            verifier.take(&row).unwrap();
            text.push_str(&line(&record).unwrap());
        }
        text
    }

    #[test]
    fn an_export_is_verified_without_a_cluster() {
        let verified = verify_text(&export()).unwrap();
        assert_eq!((verified.records, verified.first, verified.last), (3, 7, 9));
    }

    #[test]
    fn the_first_line_that_does_not_fit_is_named() {
        let text = export();
        for (from, to, message) in [
            ("token_unknown", "ok", "record 8 was changed"),
            ("\"number\":9", "\"number\":10", "record 9 is missing"),
            ("0707", "0808", "record 7 was changed"),
        ] {
            let error = verify_text(&text.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
            assert_eq!(error.code(), "audit_broken");
        }
        let without: Vec<&str> =
            text.lines().enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| line).collect();
        assert!(verify_text(&without.join("\n")).unwrap_err().to_string().starts_with("record 8 is missing"));
        let cut = &text[..text.len() - 10];
        assert_eq!(verify_text(cut).unwrap_err().code(), "audit_malformed");
        assert_eq!(verify_text("").unwrap_err().code(), "audit_malformed");
    }
}
