//! What the vendor sells: products and the features that an order of them may license.

use quorate_license::{FeatureName, Timestamp};
use serde::Serialize;

use super::{Conn, StoreError, row};
use crate::names::Name;

/// One product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Its name, unique.
    pub name: Name,
    /// The features that its orders may license, sorted.
    pub features: Vec<FeatureName>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// Adds a product.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if there is a product of this name.
pub async fn add(conn: &mut Conn, product: &Product) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO products (name, created_at) VALUES ($1, $2)")
        .bind(product.name.as_str())
        .bind(product.created_at.as_unix_ms())
        .execute(&mut *conn)
        .await?;
    for feature in &product.features {
        sqlx::query("INSERT INTO product_features (product, feature) VALUES ($1, $2)")
            .bind(product.name.as_str())
            .bind(feature.as_str())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// The product of this name.
///
/// # Errors
/// The database fails.
pub async fn find(conn: &mut Conn, name: &Name) -> Result<Option<Product>, StoreError> {
    let found = sqlx::query("SELECT name, created_at FROM products WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(found) = found else { return Ok(None) };
    let features = features(conn, name).await?;
    Ok(Some(Product {
        name: row::parse(&found, "name")?,
        features,
        created_at: row::time(&found, "created_at")?,
    }))
}

/// All products, by name.
///
/// # Errors
/// The database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Product>, StoreError> {
    let rows =
        sqlx::query("SELECT name, created_at FROM products ORDER BY name").fetch_all(&mut *conn).await?;
    let mut products = Vec::with_capacity(rows.len());
    for found in &rows {
        let name: Name = row::parse(found, "name")?;
        let features = features(conn, &name).await?;
        products.push(Product { name, features, created_at: row::time(found, "created_at")? });
    }
    Ok(products)
}

/// Every feature of any product, sorted, each once.
///
/// # Errors
/// The database fails.
pub async fn all_features(conn: &mut Conn) -> Result<Vec<FeatureName>, StoreError> {
    let rows =
        sqlx::query("SELECT DISTINCT feature FROM product_features ORDER BY feature").fetch_all(conn).await?;
    rows.iter().map(|found| row::parse(found, "feature")).collect()
}

async fn features(conn: &mut Conn, product: &Name) -> Result<Vec<FeatureName>, StoreError> {
    let rows = sqlx::query("SELECT feature FROM product_features WHERE product = $1 ORDER BY feature")
        .bind(product.as_str())
        .fetch_all(&mut *conn)
        .await?;
    rows.iter().map(|found| row::parse(found, "feature")).collect()
}
