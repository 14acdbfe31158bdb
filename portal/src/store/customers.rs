//! Who buys: customers.

use quorate_license::Timestamp;
use serde::Serialize;

use super::{Conn, StoreError, row};
use crate::names::Name;

/// One customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Customer {
    /// The name, unique.
    pub name: Name,
    /// When the customer was added.
    pub created_at: Timestamp,
}

/// Adds a customer.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if there is a customer of this name.
pub async fn add(conn: &mut Conn, customer: &Customer) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO customers (name, created_at) VALUES ($1, $2)")
        .bind(customer.name.as_str())
        .bind(customer.created_at.as_unix_ms())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// Whether there is a customer of this name.
///
/// # Errors
/// The database fails.
pub async fn exists(conn: &mut Conn, name: &Name) -> Result<bool, StoreError> {
    let found = sqlx::query("SELECT name FROM customers WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    Ok(found.is_some())
}

/// All customers, by name.
///
/// # Errors
/// The database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Customer>, StoreError> {
    let rows =
        sqlx::query("SELECT name, created_at FROM customers ORDER BY name").fetch_all(&mut *conn).await?;
    rows.iter()
        .map(|found| {
            Ok(Customer { name: row::parse(found, "name")?, created_at: row::time(found, "created_at")? })
        })
        .collect()
}
