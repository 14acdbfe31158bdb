//! `admin activation`: the license keys that were issued.

use serde_json::Value;

use super::{
    AdminError,
    output::{Shown, or_none, table},
};
use crate::{
    cli,
    store::{
        Store,
        activations::{self, Activation},
    },
};

pub(super) async fn run(command: cli::Activation, store: &Store) -> Result<Box<dyn Shown>, AdminError> {
    let cli::Activation::List { support_id } = command;
    let mut tx = store.begin_read().await?;
    Ok(Box::new(All(activations::list(&mut tx, support_id.as_ref()).await?)))
}

struct All(Vec<Activation>);

impl Shown for All {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|activation| {
            [
                activation.at.to_string(),
                activation.support_id.to_string(),
                activation.kind.to_string(),
                activation.tenant.to_string(),
                or_none(activation.order_id.as_ref()),
                activation.serial.to_string(),
                activation.fence.to_string(),
                activation.outcome.as_str().to_owned(),
            ]
        });
        table(["ISSUED", "SUPPORT ID", "KIND", "TENANT", "ORDER", "SERIAL", "FENCE", "OUTCOME"], rows)
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}
