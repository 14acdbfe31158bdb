//! `admin init`: the database and the keys, made if they are not there, never replaced.

use std::path::PathBuf;

use quorate_license::{RootPublicKey, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{AdminError, output::Shown};
use crate::{clock, config::Config, keys, store::Store};

pub(super) async fn run(config: &Config) -> Result<Initialized, AdminError> {
    let store = Store::create(&config.database).await?;
    store.close().await;
    let files = &config.keys;
    let made = match (files.root_key_file.exists(), files.issuing_key_file.exists()) {
        (false, false) => {
            keys::make(files, clock::now())?;
            true
        }
        // A root key that is kept elsewhere is the better way.
        (_, true) => false,
        (true, false) => {
            return Err(AdminError::KeyFileMissing {
                present: files.root_key_file.clone(),
                missing: files.issuing_key_file.clone(),
            });
        }
    };
    let public = keys::load_public(files)?;
    Ok(Initialized {
        root_public_key: public.root,
        issuing_key_id: public.certificate.key_id,
        issuing_key_expires_at: public.certificate.expires_at,
        root_key_file: files.root_key_file.clone(),
        issuing_key_file: files.issuing_key_file.clone(),
        database: config.database.to_string(),
        keys_made: made,
    })
}

#[derive(Serialize)]
pub(super) struct Initialized {
    root_public_key: RootPublicKey,
    issuing_key_id: String,
    issuing_key_expires_at: Timestamp,
    root_key_file: PathBuf,
    issuing_key_file: PathBuf,
    database: String,
    keys_made: bool,
}

impl Shown for Initialized {
    fn text(&self) -> String {
        let keys = if self.keys_made { "Made" } else { "Kept" };
        format!(
            "The database {} is ready.\n{keys} the root key {} and the issuing key {}.\n\
             Keep a copy of the root key in a safe place: without it no issuing key can follow this one, \
             which ends at {}.\n\nRoot public key, for agents and products to trust:\n{}",
            self.database,
            self.root_key_file.display(),
            self.issuing_key_file.display(),
            self.issuing_key_expires_at,
            self.root_public_key,
        )
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}
