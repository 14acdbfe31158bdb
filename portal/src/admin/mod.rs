//! `quorate-portal admin`: one file per kind of thing, here only the dispatch.

mod activation;
mod customer;
mod error;
mod find;
mod history;
mod init;
mod installation;
mod key;
mod order;
mod order_change;
mod output;
mod product;

pub use error::AdminError;

use crate::{
    cli::{Admin, Format},
    config::Config,
    store::Store,
};
use output::Shown;

/// Carries out a command and prints its result.
///
/// # Errors
/// The command failed; nothing has changed.
pub async fn run(command: Admin, config: &Config, format: Format) -> Result<(), AdminError> {
    let shown: Box<dyn Shown> = match command {
        Admin::Init => Box::new(init::run(config).await?),
        Admin::Key(command) => key::run(command, config).await?,
        Admin::Product(command) => product::run(command, &open(config).await?).await?,
        Admin::Customer(command) => customer::run(command, &open(config).await?).await?,
        Admin::Order(command) => order::run(command, &open(config).await?).await?,
        Admin::Installation(command) => installation::run(command, config, &open(config).await?).await?,
        Admin::Activation(command) => activation::run(command, &open(config).await?).await?,
    };
    output::print(shown.as_ref(), format)
}

async fn open(config: &Config) -> Result<Store, AdminError> {
    Ok(Store::open(&config.database).await?)
}
