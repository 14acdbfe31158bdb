//! `admin customer`: who buys.

use serde_json::Value;

use super::{
    AdminError,
    output::{Shown, table},
};
use crate::{
    cli, clock,
    names::Name,
    store::{
        Store, StoreError,
        customers::{self, Customer},
    },
};

pub(super) async fn run(command: cli::Customer, store: &Store) -> Result<Box<dyn Shown>, AdminError> {
    match command {
        cli::Customer::Add { name } => Ok(Box::new(Added(add(name, store).await?))),
        cli::Customer::List => {
            let mut tx = store.begin_read().await?;
            Ok(Box::new(All(customers::list(&mut tx).await?)))
        }
    }
}

async fn add(name: Name, store: &Store) -> Result<Customer, AdminError> {
    let customer = Customer { name, created_at: clock::now() };
    let added = store
        .retrying(async || {
            let mut tx = store.begin().await?;
            customers::add(&mut tx, &customer).await?;
            tx.commit().await.map_err(StoreError::from)
        })
        .await;
    match added {
        Ok(()) => Ok(customer),
        Err(StoreError::AlreadyThere) => Err(AdminError::Exists { what: "customer", name: customer.name }),
        Err(error) => Err(error.into()),
    }
}

struct Added(Customer);

struct All(Vec<Customer>);

impl Shown for Added {
    fn text(&self) -> String {
        format!("Added the customer '{}'.", self.0.name)
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}

impl Shown for All {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|customer| [customer.name.to_string(), customer.created_at.to_string()]);
        table(["CUSTOMER", "ADDED"], rows)
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}
