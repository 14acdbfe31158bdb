//! `admin product`: what is sold.

use serde_json::Value;

use super::{
    AdminError,
    output::{Shown, table},
};
use crate::{
    cli, clock,
    store::{
        Store, StoreError,
        products::{self, Product},
    },
};

pub(super) async fn run(command: cli::Product, store: &Store) -> Result<Box<dyn Shown>, AdminError> {
    match command {
        cli::Product::Add(args) => Ok(Box::new(Added(add(args, store).await?))),
        cli::Product::List => {
            let mut tx = store.begin_read().await?;
            Ok(Box::new(All(products::list(&mut tx).await?)))
        }
    }
}

async fn add(args: cli::AddProduct, store: &Store) -> Result<Product, AdminError> {
    let cli::AddProduct { name, mut features } = args;
    features.sort();
    features.dedup();
    let product = Product { name, features, created_at: clock::now() };
    let added = store
        .retrying(async || {
            let mut tx = store.begin().await?;
            products::add(&mut tx, &product).await?;
            tx.commit().await.map_err(StoreError::from)
        })
        .await;
    match added {
        Ok(()) => Ok(product),
        Err(StoreError::AlreadyThere) => Err(AdminError::Exists { what: "product", name: product.name }),
        Err(error) => Err(error.into()),
    }
}

struct Added(Product);

struct All(Vec<Product>);

impl Shown for Added {
    fn text(&self) -> String {
        format!("Added the product '{}' with the features {}.", self.0.name, features(&self.0))
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}

impl Shown for All {
    fn text(&self) -> String {
        let rows = self
            .0
            .iter()
            .map(|product| [product.name.to_string(), features(product), product.created_at.to_string()]);
        table(["PRODUCT", "FEATURES", "ADDED"], rows)
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}

/// The names of a product's features, in words.
pub(super) fn features(product: &Product) -> String {
    product.features.iter().map(|feature| feature.as_str()).collect::<Vec<_>>().join(", ")
}
