//! What an offline activation ends with: the integrity key as text, file or QR codes, and what to do with it.

use std::{
    fs::{OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use clap::Args;
use quorate_license::IntegrityKey;
use quorate_proto::v1::OfflineRequest;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::{
    super::{
        Context,
        error::CliError,
        output::{Page, Present},
    },
    qr::{self, Image, QrCode},
};

/// Base64 characters in one code on a terminal: it has 32 lines then.
const ON_A_TERMINAL: usize = 240;
/// Base64 characters in one code of an image, which phones still read.
const IN_AN_IMAGE: usize = 800;

/// Arguments of an offline activation.
#[derive(Debug, Default, Args)]
pub(crate) struct OfflineArgs {
    /// Print an integrity key, which you bring to the portal; `license install` takes what it answers.
    #[arg(long)]
    offline: bool,

    /// Write the integrity key into a file instead of showing it.
    #[arg(long, value_name = "FILE", requires = "offline")]
    file: Option<PathBuf>,

    /// Draw the integrity key as QR codes, too.
    #[arg(long, requires = "offline")]
    qr: bool,

    /// Write the integrity key as QR codes, too: a .png or .svg file, several with numbers if one is too small.
    #[arg(long, value_name = "FILE", requires = "offline", value_parser = image)]
    qr_file: Option<Image>,

    /// Make a new integrity key even if an open activation has one for the same; the older one is superseded.
    #[arg(long, requires = "offline")]
    renew: bool,
}

impl OfflineArgs {
    /// Whether the portal is asked by hand.
    pub(super) fn asked(&self) -> bool {
        self.offline
    }

    /// Whether an open activation gives way.
    pub(super) fn renew(&self) -> bool {
        self.renew
    }
}

fn image(text: &str) -> Result<Image, String> {
    Image::new(Path::new(text)).ok_or_else(|| "its name ends with .png or .svg".to_owned())
}

/// What is shown.
#[derive(Serialize)]
struct Shown {
    nonce: String,
    kind: String,
    portal_page: Option<String>,
    /// Absent when it was written into a file.
    #[serde(serialize_with = "shown_text")]
    integrity_key: Option<Zeroizing<String>>,
    files: Vec<PathBuf>,
    superseded: Vec<String>,
    shown_again: bool,
    #[serde(skip)]
    codes: Vec<QrCode>,
}

fn shown_text<S: Serializer>(text: &Option<Zeroizing<String>>, to: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(to)
}

/// Shows, draws and writes.
pub(super) fn show(context: &Context, request: OfflineRequest, args: &OfflineArgs) -> Result<(), CliError> {
    let text = Zeroizing::new(request.integrity_key);
    let key = IntegrityKey::from_text(&text)
        .map_err(|_| CliError::AnswerUnreadable { what: "the integrity key has an unknown form" })?;
    let mut files = Vec::new();
    if let Some(path) = &args.file {
        write(path, text.as_bytes())?;
        files.push(path.clone());
    }
    if let Some(image) = &args.qr_file {
        for (path, bytes) in image.draw(&key.to_parts(IN_AN_IMAGE))? {
            write(&path, &bytes)?;
            files.push(path);
        }
    }
    let codes = if args.qr { qr::codes(&key.to_parts(ON_A_TERMINAL))? } else { Vec::new() };
    context.output.print(&Shown {
        nonce: request.nonce,
        kind: request.kind,
        portal_page: (!request.page_url.is_empty()).then_some(request.page_url),
        integrity_key: args.file.is_none().then_some(text),
        files,
        superseded: request.superseded,
        shown_again: request.again,
        codes,
    })
}

/// Writes what may hold an activation key: for the user alone.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).and_then(
        |mut file| {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(bytes)?;
            file.sync_all()
        },
    );
    written.map_err(|cause| CliError::FileUnwritable { path: path.to_owned(), cause })
}

impl Present for Shown {
    fn page(&self, page: &mut Page) {
        let again = if self.shown_again { ", made before and shown again" } else { "" };
        page.line(format!("Integrity key of activation {} ({}){again}.", self.nonce, self.kind));
        page.gap();
        let portal = self.portal_page.as_deref().unwrap_or("your vendor's License Portal");
        page.line(format!("1. On a computer or phone with a connection, open {portal}"));
        page.line(format!("2. Give it {} and have it make the license key.", self.what_to_give()));
        page.line("3. Bring the license key to any node and install it there: quorate license install FILE");
        page.line("   (or: quorate license install - , and paste it)");
        page.gap();
        page.line("The activation stays open until then, over days and restarts: quorate license intents");
        page.line("The integrity key may hold your activation key: give it to the portal only.");
        if !self.superseded.is_empty() {
            page.line(format!("Not accepted any more are license keys for: {}", self.superseded.join(", ")));
        }
        for file in &self.files {
            page.line(format!("Written: {}", file.display()));
        }
        for (index, code) in self.codes.iter().enumerate() {
            page.gap();
            page.line(format!("QR code {} of {}", index + 1, self.codes.len()));
            for line in code.lines() {
                page.line(line);
            }
        }
        if let Some(key) = &self.integrity_key {
            page.gap();
            for line in key.lines() {
                page.line(line);
            }
        }
    }
}

impl Shown {
    fn what_to_give(&self) -> String {
        let mut ways = Vec::new();
        match (&self.integrity_key, self.files.first()) {
            (None, Some(file)) => ways.push(format!("the content of {}", file.display())),
            _ => ways.push("the text below, from its first line to its last".to_owned()),
        }
        match self.codes.len() {
            0 => {}
            1 => ways.push("what the QR code below holds".to_owned()),
            count => ways.push(format!("what the {count} QR codes below hold, together")),
        }
        if self.files.len() > usize::from(self.integrity_key.is_none()) {
            ways.push("what the QR codes in the files hold, together".to_owned());
        }
        ways.join(", or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    fn shown() -> Shown {
        Shown {
            nonce: "ab".repeat(16),
            kind: "activate".to_owned(),
            portal_page: Some("https://portal.example.com/activate".to_owned()),
            integrity_key: Some(Zeroizing::new(
                "-----BEGIN QUORATE INTEGRITY KEY-----\nCAEQ\n=5F3A91\n-----END QUORATE INTEGRITY KEY-----\n"
                    .to_owned(),
            )),
            files: Vec::new(),
            superseded: vec!["cd".repeat(16)],
            shown_again: false,
            codes: Vec::new(),
        }
    }

    #[test]
    fn text_files_and_codes_are_shown_with_the_steps() {
        insta::assert_snapshot!(all_forms(&shown()));
        let parts = [Zeroizing::new("(1)".to_owned()), Zeroizing::new("(2)".to_owned())];
        let in_files = Shown {
            integrity_key: None,
            files: vec!["/tmp/key.txt".into(), "/tmp/key-1-of-2.png".into(), "/tmp/key-2-of-2.png".into()],
            portal_page: None,
            shown_again: true,
            superseded: Vec::new(),
            codes: qr::codes(&parts).unwrap(),
            ..shown()
        };
        insta::assert_snapshot!(all_forms(&in_files));
    }

    #[test]
    fn what_is_written_is_for_the_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        std::fs::write(&path, "something longer that was there").unwrap();
        write(&path, b"key").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"key");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = write(&folder.path().join("none/key.txt"), b"key").unwrap_err();
        assert_eq!(error.report().code, "file_unwritable");
    }
}
