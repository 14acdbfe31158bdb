//! The rows of the page: every code that the source gives, with its text and the way out.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::IntoResponse;
use tonic::Status;

use super::{
    lexer::Word,
    source::{Arm, Call, File, arms, files, names, shown, texts},
};
use crate::{
    api::{ApiError, ErrorKind, http::HttpError},
    cli::{
        Exit,
        error::{Answer, CliError},
    },
};

/// One code with one of its texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) code: String,
    /// gRPC's code and HTTP's status, or nothing where no call brings it.
    pub(super) over: Option<String>,
    pub(super) exit: u8,
    pub(super) text: String,
    pub(super) way_out: String,
}

/// Where `ApiError::new` gets a code that is not written there, and how often. What brings it is read below; a code
/// that is passed on was given by another node, or by the portal.
const CODES_FROM_ELSEWHERE: [(&str, &str); 15] = [
    ("agent/src/api/admin.rs", "code"),
    ("agent/src/api/auth.rs", "flaw.code()"),
    ("agent/src/api/auth.rs", "&code"),
    ("agent/src/api/certificates.rs", "&parts.code"),
    ("agent/src/api/cluster.rs", "&format!(\"{what}_malformed\")"),
    ("agent/src/api/error.rs", "refusal.code()"),
    ("agent/src/api/error.rs", "code"),
    ("agent/src/api/joins.rs", "code"),
    ("agent/src/api/license.rs", "code"),
    ("agent/src/cluster/alarms.rs", "&first.code"),
    ("agent/src/cluster/clones.rs", "&alarm.code"),
    ("agent/src/service/activation/install.rs", "code"),
    ("agent/src/service/activation/portal.rs", "&code"),
    ("agent/src/service/certificates/sign.rs", "flaw.code()"),
    ("agent/src/service/removal.rs", "code"),
];

/// Every function that gives codes, with what it is a function of. A new one has to be read below, too.
const CODE_FUNCTIONS: [(&str, &str); 12] = [
    ("agent/src/cli/audit.rs", "code"),
    ("agent/src/cli/client.rs", "code"),
    ("agent/src/cli/error.rs", "app_code"),
    ("agent/src/cli/error.rs", "code"),
    ("agent/src/config/error.rs", "code"),
    ("agent/src/pki/brought/error.rs", "code"),
    ("agent/src/pki/brought/judge.rs", "code"),
    ("agent/src/setup/error.rs", "code"),
    ("license/src/license_file/refusal.rs", "code"),
    ("license/src/license_key.rs", "code"),
    ("license/src/status/check.rs", "code"),
    ("raft-store/src/refusal.rs", "code"),
];

/// The sources, read once.
pub(super) struct Sources {
    files: Vec<File>,
}

impl Sources {
    pub(super) fn read() -> Self {
        let folders = ["agent/src", "license/src", "raft-store/src"];
        Sources { files: folders.iter().flat_map(|folder| files(folder)).collect() }
    }

    fn file(&self, path: &str) -> &File {
        self.files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("there is no {path}"))
    }

    fn agent(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.starts_with("agent/"))
    }

    /// The texts of an enum's variants, wherever it is.
    fn variants(&self, name: &str) -> BTreeMap<String, Option<String>> {
        let is_here =
            |file: &&File| file.words.windows(2).any(|pair| pair[0].is_name("enum") && pair[1].is_name(name));
        self.files.iter().find(is_here).map_or_else(BTreeMap::new, |file| file.variants(name))
    }

    /// That nothing gives codes but what is read here.
    pub(super) fn check_completeness(&self) {
        let mut elsewhere = BTreeSet::new();
        for call in self.agent().flat_map(|file| file.calls("ApiError::new")) {
            if !matches!(call.arguments[1], [Word::Text(_)]) {
                elsewhere.insert((call.file.path.clone(), spelled(call.arguments[1])));
            }
        }
        let known = CODES_FROM_ELSEWHERE.iter();
        let known: BTreeSet<_> = known.map(|(path, code)| ((*path).to_owned(), (*code).to_owned())).collect();
        assert_eq!(
            elsewhere, known,
            "codes that ApiError::new gets from elsewhere: read them in this file, too"
        );

        let mut functions = BTreeSet::new();
        for file in &self.files {
            for pair in file.words.windows(2).filter(|pair| pair[0].is_name("fn")) {
                let name = pair[1].name().unwrap_or_default();
                let body = || file.function(None, name);
                if name.ends_with("code") && !texts(body()).is_empty() {
                    functions.insert((file.path.as_str(), name));
                }
            }
        }
        assert_eq!(
            functions,
            CODE_FUNCTIONS.into(),
            "functions that give codes: read them in this file, too"
        );
    }

    /// What a node answers.
    pub(super) fn answers(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for call in self.agent().flat_map(|file| file.calls("ApiError::new")) {
            if let [Word::Text(code)] = call.arguments[1] {
                let hint = call.text(3).or_else(|| self.alarm_hint(code));
                rows.push(answer(kind(&call), code, call.text(2), hint));
            }
        }
        rows.extend(self.wrapped());
        rows.extend(self.refusals());
        rows.extend(self.flaws());
        rows.extend(self.alarms());
        let unusable = self.file("agent/src/service/activation/install.rs").function(None, "unusable");
        for arm in arms(unusable, 0) {
            let [code, hint] = texts(arm.body)[..] else { panic!("a code and a hint") };
            rows.push(answer(ErrorKind::Invalid, code, None, Some(hint.to_owned())));
        }
        let proposing = self.variants("ProposeError");
        for arm in arms(self.file("agent/src/api/error.rs").function(Some("ProposeError"), "from"), 0) {
            let [code, hint] = texts(arm.body)[..] else { panic!("a code and a hint") };
            for (_, variant) in arm.variants() {
                rows.push(answer(
                    ErrorKind::Unavailable,
                    code,
                    proposing[&variant].clone(),
                    Some(hint.to_owned()),
                ));
            }
        }
        rows
    }

    /// Codes that functions and closures in between are given.
    fn wrapped(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let correct = || Some("correct it and ask again".to_owned());
        for file in self.agent().filter(|file| file.path.starts_with("agent/src/api/")) {
            let (at, end) = match file.path.as_str() {
                "agent/src/api/license.rs" => ("parse", ""),
                "agent/src/api/cluster.rs" => ("invalid", "_malformed"),
                _ => ("invalid", ""),
            };
            for call in file.calls(at) {
                let code = if at == "parse" { call.arguments.get(1) } else { call.arguments.first() };
                let Some([Word::Text(code)]) = code else { continue };
                let text = if at == "parse" { None } else { call.text(1) };
                rows.push(answer(ErrorKind::Invalid, &format!("{code}{end}"), text, correct()));
            }
        }
        for path in ["agent/src/api/joins.rs", "agent/src/service/removal.rs"] {
            for call in self.file(path).calls("refused") {
                let [Word::Text(code)] = call.arguments[0] else { panic!("{path} gives a code") };
                rows.push(answer(ErrorKind::Refused, code, call.text(1), call.text(2)));
            }
        }
        rows.push(answer(
            ErrorKind::Denied,
            "stranger",
            None,
            Some("ask without a node certificate, by a token".to_owned()),
        ));
        rows
    }

    /// What the replicated state refuses.
    fn refusals(&self) -> Vec<Row> {
        let error = self.file("agent/src/api/error.rs");
        let from = error.function(Some("Refusal"), "from");
        // The arms of the second match name those that are denied.
        let denied: Vec<(String, String)> = arms(from, 1).iter().flat_map(Arm::variants).collect();
        let kind =
            |variant: &Variant| if denied.contains(variant) { ErrorKind::Denied } else { ErrorKind::Refused };
        let mut rows = Vec::new();
        for (of, path, hints) in [
            ("Refusal", "raft-store/src/refusal.rs", from),
            ("AnswerRefusal", "license/src/license_key.rs", error.function(None, "answer_hint")),
        ] {
            let (said, hints) = (self.variants(of), by_variant(&arms(hints, 0)));
            for (variant, code) in codes(self.file(path).function(Some(of), "code")) {
                let hint = hints.get(&variant).cloned();
                rows.push(answer(kind(&variant), &code, said[&variant.1].clone(), hint));
            }
        }
        rows
    }

    /// Certificates of an organisation that do not count.
    fn flaws(&self) -> Vec<Row> {
        let file = self.file("agent/src/pki/brought/judge.rs");
        let (said, hints) =
            (self.variants("Flaw"), by_variant(&arms(file.function(Some("Flaw"), "hint"), 0)));
        let rows = codes(file.function(Some("Flaw"), "code")).into_iter();
        rows.map(|(variant, code)| {
            answer(ErrorKind::Denied, &code, said[&variant.1].clone(), hints.get(&variant).cloned())
        })
        .collect()
    }

    /// Doubts about who is who; they stop an activation.
    fn alarms(&self) -> Vec<Row> {
        let file = self.file("agent/src/cluster/alarms.rs");
        let start = file.words.iter().position(|word| word.is_name("ALARM_CODES")).unwrap();
        // The type, and then the list.
        let codes = texts(file.words[start..].split(|word| word.is(';')).nth(1).unwrap());
        assert!(codes.len() > 4, "{codes:?}");
        codes.into_iter().map(|code| answer(ErrorKind::Refused, code, None, self.alarm_hint(code))).collect()
    }

    fn alarm_hint(&self, code: &str) -> Option<String> {
        let hints = arms(self.file("agent/src/cluster/alarms.rs").function(None, "alarm_hint"), 0);
        let arm = hints.iter().find(|arm| texts(arm.pattern).contains(&code)).or(hints.last())?;
        shown(arm.body)
    }

    /// What the command says by itself.
    pub(super) fn commands(&self) -> Vec<Row> {
        let error = self.file("agent/src/cli/error.rs");
        let hints = by_variant(&arms(error.function(Some("CliError"), "hint"), 0));
        let exits = by_variant_exit(&arms(error.function(Some("CliError"), "exit"), 0));
        let mut rows = Vec::new();
        for (of, path, function) in [
            ("UsageError", "agent/src/cli/error.rs", "code"),
            ("ConnectError", "agent/src/cli/client.rs", "code"),
            ("ConfigError", "agent/src/config/error.rs", "code"),
            ("AuditError", "agent/src/cli/audit.rs", "code"),
            ("CliError", "agent/src/cli/error.rs", "code"),
            ("SetupError", "agent/src/setup/error.rs", "code"),
            ("AppError", "agent/src/cli/error.rs", "app_code"),
            ("FilesError", "agent/src/pki/brought/error.rs", "code"),
            ("FileRefusal", "license/src/license_file/refusal.rs", "code"),
        ] {
            let file = self.file(path);
            let body = file.function((function == "code").then_some(of), function);
            let own = matches!(of, "UsageError" | "ConnectError" | "ConfigError" | "AuditError");
            let hints =
                if own { by_variant(&arms(file.function(Some(of), "hint"), 0)) } else { hints.clone() };
            let own_exits =
                (of == "ConnectError").then(|| by_variant_exit(&arms(file.function(Some(of), "exit"), 0)));
            for (variant, code) in codes(body) {
                let exit = match of {
                    "UsageError" => Exit::Usage,
                    "FileRefusal" => Exit::NotLicensed,
                    "ConnectError" => {
                        own_exits.as_ref().unwrap().get(&variant).copied().unwrap_or(Exit::NoConnection)
                    }
                    _ => exits.get(&variant).copied().unwrap_or(Exit::Failed),
                };
                let text = self.variants(&variant.0).get(&variant.1).cloned().flatten();
                rows.push(command(&code, exit, text, hints.get(&variant).cloned()));
            }
        }
        for arm in arms(error.function(None, "from_transport"), 0) {
            if let [code, hint] = texts(arm.body)[..] {
                let exit = exit_named(names(arm.body).last().copied().unwrap_or_default());
                rows.push(command(code, exit.unwrap_or(Exit::Failed), None, Some(hint.to_owned())));
            }
        }
        let [code, text, hint] = texts(error.function(None, "late"))[..] else { panic!("three texts") };
        rows.push(command(code, Exit::NoConnection, Some(text.to_owned()), Some(hint.to_owned())));
        let rejected = texts(self.file("agent/src/setup/join.rs").function(None, "rejected"));
        for of_one in rejected.chunks(3) {
            let [code, text, hint] = of_one[..] else { panic!("three texts each") };
            rows.push(command(code, Exit::Failed, Some(text.to_owned()), Some(hint.to_owned())));
        }
        let usage = texts(self.file("agent/src/cli/usage.rs").function(None, "report"));
        let [_, code, hint] = usage[..] else { panic!("three texts") };
        rows.push(command(code, Exit::Usage, None, Some(hint.to_owned())));
        rows
    }

    /// What `Check` gives as its reason.
    pub(super) fn reasons(&self) -> Vec<(String, String)> {
        let file = self.file("license/src/status/check.rs");
        let words: BTreeMap<(String, String), String> = arms(file.words_of_display("CheckReason"), 0)
            .iter()
            .flat_map(|arm| {
                let text = texts(arm.body).first().copied().unwrap_or_default().to_owned();
                arm.variants().into_iter().map(move |variant| (variant, text.clone()))
            })
            .collect();
        let codes = codes(file.function(Some("CheckReason"), "code")).into_iter();
        codes.map(|(variant, code)| (code, words[&variant].clone())).collect()
    }
}

fn kind(call: &Call<'_>) -> ErrorKind {
    match names(call.arguments[0]).last().copied() {
        Some("Invalid") => ErrorKind::Invalid,
        Some("Refused") => ErrorKind::Refused,
        Some("Denied") => ErrorKind::Denied,
        Some("Unauthenticated") => ErrorKind::Unauthenticated,
        Some("Unavailable") => ErrorKind::Unavailable,
        Some("Busy") => ErrorKind::Busy,
        Some("Gone") => ErrorKind::Gone,
        Some("Internal") => ErrorKind::Internal,
        other => panic!("{}: the kind {other:?}", call.file.path),
    }
}

fn answer(kind: ErrorKind, code: &str, text: Option<String>, hint: Option<String>) -> Row {
    let error = ApiError::new(kind, code, "", "");
    let http = HttpError(error.clone()).into_response().status().as_u16();
    let status = Status::from(error);
    let over = format!("{:?}, {http}", status.code());
    Row { over: Some(over), ..command(code, CliError::from(Answer::from(status)).exit(), text, hint) }
}

fn command(code: &str, exit: Exit, text: Option<String>, hint: Option<String>) -> Row {
    let text =
        text.filter(|text| !text.starts_with("{0}") && !text.starts_with("{source}") && text != "{message}");
    Row {
        code: code.to_owned(),
        over: None,
        exit: exit as u8,
        text: text.unwrap_or_else(|| "(what is wrong, in words)".to_owned()),
        way_out: hint.filter(|hint| !hint.is_empty()).unwrap_or_else(|| "(in the text)".to_owned()),
    }
}

type Variant = (String, String);

/// The code of each variant; an arm that asks another error for it is left out.
fn codes(body: &[Word]) -> Vec<(Variant, String)> {
    let mut found = Vec::new();
    for arm in arms(body, 0) {
        for code in texts(arm.body) {
            found.extend(arm.variants().into_iter().map(|variant| (variant, code.to_owned())));
            if arm.variants().is_empty() {
                found.push(((String::new(), String::new()), code.to_owned()));
            }
        }
    }
    found
}

/// The text of each variant; several if they depend on its fields.
fn by_variant(arms: &[Arm<'_>]) -> BTreeMap<Variant, String> {
    let mut found: BTreeMap<Variant, String> = BTreeMap::new();
    for arm in arms {
        let Some(text) = texts(arm.body).last().copied() else { continue };
        for variant in arm.variants() {
            let known = found.entry(variant).or_default();
            if !known.is_empty() {
                known.push_str(" / ");
            }
            known.push_str(text);
        }
    }
    found
}

fn by_variant_exit(arms: &[Arm<'_>]) -> BTreeMap<Variant, Exit> {
    let mut found = BTreeMap::new();
    for arm in arms {
        let Some(exit) = exit_named(names(arm.body).last().copied().unwrap_or_default()) else { continue };
        found.extend(arm.variants().into_iter().map(|variant| (variant, exit)));
    }
    found
}

fn exit_named(name: &str) -> Option<Exit> {
    Some(match name {
        "Failed" => Exit::Failed,
        "Usage" => Exit::Usage,
        "NoConnection" => Exit::NoConnection,
        "Denied" => Exit::Denied,
        "Unhealthy" => Exit::Unhealthy,
        "NotLicensed" => Exit::NotLicensed,
        _ => return None,
    })
}

/// The words as they are written, without spaces.
fn spelled(words: &[Word]) -> String {
    words
        .iter()
        .map(|word| match word {
            Word::Name(name) => name.clone(),
            Word::Text(text) => format!("\"{text}\""),
            Word::Sign(sign) => sign.to_string(),
        })
        .collect()
}
