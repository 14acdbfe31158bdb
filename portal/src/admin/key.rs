//! `admin key`: what the portal signs with, and what others trust.

use quorate_license::{RootPublicKey, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    AdminError,
    output::{Shown, or_none, table},
};
use crate::{
    cli, clock,
    config::Config,
    keys::{self, KeySet},
    store::{
        Store, StoreError,
        issuing_keys::{self, RevokedKey},
    },
};

pub(super) async fn run(command: cli::Key, config: &Config) -> Result<Box<dyn Shown>, AdminError> {
    match command {
        cli::Key::RevokeIssuing { key_id } => Ok(Box::new(revoke(key_id, config).await?)),
        cli::Key::List => Ok(Box::new(All::of(keys::load_public(&config.keys)?))),
        cli::Key::RotateIssuing => Ok(Box::new(Rotated(keys::rotate_issuing(&config.keys, clock::now())?))),
        cli::Key::ShowRoot => Ok(Box::new(Root(keys::load_public(&config.keys)?.root))),
    }
}

async fn revoke(key_id: String, config: &Config) -> Result<Revoked, AdminError> {
    if !key_id.starts_with("k4.pid.") {
        return Err(AdminError::Usage("an issuing key's id begins with k4.pid."));
    }
    let store = Store::open(&config.database).await?;
    let revoked_at = clock::now();
    store
        .retrying(async || {
            let mut tx = store.begin().await?;
            issuing_keys::revoke(&mut tx, &key_id, revoked_at).await?;
            tx.commit().await.map_err(StoreError::from)
        })
        .await?;
    let in_use = keys::load_public(&config.keys)?.certificate.key_id == key_id;
    Ok(Revoked(RevokedKey { key_id, revoked_at }, in_use))
}

struct Revoked(RevokedKey, bool);

impl Shown for Revoked {
    fn text(&self) -> String {
        let next = if self.1 {
            "It is the one in use: the portal signs nothing until another one is made by admin key rotate-issuing \
             and the portal is restarted."
        } else {
            "What it signed is signed anew when it is asked for; installed licenses by the next activation of any \
             kind."
        };
        format!("The issuing key {} is revoked. {next}", self.0.key_id)
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        Ok(json!({ "issuing_key_id": self.0.key_id, "revoked_at": self.0.revoked_at, "in_use": self.1 }))
    }
}

/// One line of `admin key list`.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    key_id: String,
    public_key: String,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

struct All(Vec<Line>);

struct Rotated(KeySet);

struct Root(RootPublicKey);

impl All {
    fn of(keys: KeySet) -> Self {
        let KeySet { root, certificate } = keys;
        All(vec![
            Line {
                kind: "root",
                key_id: root.key_id(),
                public_key: root.to_string(),
                not_before: None,
                expires_at: None,
            },
            Line {
                kind: "issuing",
                key_id: certificate.key_id,
                public_key: certificate.key.to_string(),
                not_before: Some(certificate.not_before),
                expires_at: Some(certificate.expires_at),
            },
        ])
    }
}

impl Shown for All {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|line| {
            [
                line.kind.to_owned(),
                line.key_id.clone(),
                line.public_key.clone(),
                or_none(line.not_before),
                or_none(line.expires_at),
            ]
        });
        table(["KIND", "KEY ID", "PUBLIC KEY", "FROM", "UNTIL"], rows)
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}

impl Shown for Rotated {
    fn text(&self) -> String {
        let certificate = &self.0.certificate;
        format!(
            "The issuing key is now {}, until {}. Restart the portal to sign with it.",
            certificate.key_id, certificate.expires_at
        )
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        let certificate = &self.0.certificate;
        Ok(json!({
            "issuing_key_id": certificate.key_id,
            "not_before": certificate.not_before,
            "expires_at": certificate.expires_at,
        }))
    }
}

impl Shown for Root {
    fn text(&self) -> String {
        self.0.to_string()
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        Ok(json!({ "root_public_key": self.0 }))
    }
}
