//! Purchases: orders, what they license, and the activation key that each is given out with.
//!
//! An order is *open* until an activation puts it on an installation, then *used*; it can be
//! *revoked* by the vendor, and *lapses* when it was not activated by a given day.

use std::{fmt, str::FromStr};

use quorate_license::{Entitlement, OrderId, SupportId, TenantId, Timestamp};
use serde::Serialize;
use sqlx::any::AnyRow;

use super::{Conn, StoreError, row};
use crate::names::Name;

/// An order with its key and its place, all that [`read`] needs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT o.order_id, o.customer, o.product, o.kind, o.term_days, o.support_days, o.activate_by, ",
            "o.revoked_at, o.created_at, o.for_support_id, o.blocked_at, o.transfers_per_year, ",
            "k.last5, i.support_id, i.tenant, i.activated_at, i.expires_at, i.support_until ",
            "FROM orders o JOIN activation_keys k ON k.order_id = o.order_id ",
            "LEFT JOIN installation_orders i ON i.order_id = o.order_id ",
            $rest
        )
    };
}
/// How long what was bought may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderKind {
    /// For a number of days from the activation on.
    Subscription,
    /// For ever.
    Perpetual,
}

/// What has become of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// Its activation key waits for its installation.
    Open,
    /// It is on an installation.
    Used,
    /// It was not activated in time.
    Lapsed,
    /// The vendor took it back.
    Revoked,
    /// The vendor stopped it for a time.
    Blocked,
}

/// What a purchase contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// Subscription or perpetual.
    pub kind: OrderKind,
    /// What is licensed, sorted by feature.
    pub entitlements: Vec<Entitlement>,
    /// For how many days from the activation on; `None` for a perpetual order.
    pub term_days: Option<u32>,
    /// For how many days from the activation on the vendor supports it.
    pub support_days: Option<u32>,
    /// The last moment for the first use of the activation key.
    pub activate_by: Option<Timestamp>,
    /// How many transfers in a year it allows; `None` if it says nothing of them.
    pub transfers_per_year: Option<u32>,
    /// The orders whose term and support its days are added to. Such an order licenses nothing itself.
    pub renews: Vec<OrderId>,
}

/// One purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its number.
    pub order_id: OrderId,
    /// Who bought it.
    pub customer: Name,
    /// What was bought.
    pub product: Name,
    /// What it contains.
    #[serde(flatten)]
    pub terms: Terms,
    /// The last five characters of its activation key.
    pub activation_key_last5: String,
    /// The only installation that it may be used on, if it names one.
    pub for_support_id: Option<SupportId>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// Since when it is stopped.
    pub blocked_at: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// Where it is used.
    pub usage: Option<Usage>,
}

/// An order's place on an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The installation.
    pub support_id: SupportId,
    /// The tenant of the installation that it licenses.
    pub tenant: TenantId,
    /// When its activation key was first used.
    pub activated_at: Timestamp,
    /// When its term ends; `None` for a perpetual order.
    pub expires_at: Option<Timestamp>,
    /// Until when the vendor supports it.
    pub support_until: Option<Timestamp>,
}

impl OrderKind {
    /// The kind's name in JSON, flags and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            OrderKind::Subscription => "subscription",
            OrderKind::Perpetual => "perpetual",
        }
    }
}

impl FromStr for OrderKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "subscription" => Ok(OrderKind::Subscription),
            "perpetual" => Ok(OrderKind::Perpetual),
            _ => Err("an order is either subscription or perpetual".to_owned()),
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            OrderStatus::Open => "open",
            OrderStatus::Used => "used",
            OrderStatus::Lapsed => "lapsed",
            OrderStatus::Revoked => "revoked",
            OrderStatus::Blocked => "blocked",
        })
    }
}

impl Order {
    /// What has become of the order at the time `now`.
    pub fn status(&self, now: Timestamp) -> OrderStatus {
        if self.revoked_at.is_some() {
            OrderStatus::Revoked
        } else if self.blocked_at.is_some() {
            OrderStatus::Blocked
        } else if self.usage.is_some() {
            OrderStatus::Used
        } else if self.terms.activate_by.is_some_and(|last| now > last) {
            OrderStatus::Lapsed
        } else {
            OrderStatus::Open
        }
    }
}

/// The number for the next order.
///
/// # Errors
/// The database fails.
pub async fn next_id(conn: &mut Conn) -> Result<OrderId, StoreError> {
    let number: i64 =
        sqlx::query_scalar("UPDATE counters SET value = value + 1 WHERE name = 'order' RETURNING value")
            .fetch_one(conn)
            .await?;
    let text = format!("QO-{number:06}");
    text.parse().map_err(|_| StoreError::Unreadable { what: "order number", value: text })
}

/// Adds an order with the hash of its activation key.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if the id or the activation key is taken.
pub async fn add(conn: &mut Conn, order: &Order, key_hash: &[u8; 32]) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO orders (order_id, customer, product, kind, term_days, support_days, activate_by, created_at, \
         for_support_id, transfers_per_year) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(order.order_id.as_str())
    .bind(order.customer.as_str())
    .bind(order.product.as_str())
    .bind(order.terms.kind.as_str())
    .bind(order.terms.term_days.map(i64::from))
    .bind(order.terms.support_days.map(i64::from))
    .bind(order.terms.activate_by.map(Timestamp::as_unix_ms))
    .bind(order.created_at.as_unix_ms())
    .bind(order.for_support_id.as_ref().map(|id| id.as_str().to_owned()))
    .bind(order.terms.transfers_per_year.map(i64::from))
    .execute(&mut *conn)
    .await?;
    for renewed in &order.terms.renews {
        sqlx::query("INSERT INTO order_renewals (order_id, renewed_order_id) VALUES ($1, $2)")
            .bind(order.order_id.as_str())
            .bind(renewed.as_str())
            .execute(&mut *conn)
            .await?;
    }
    for entitlement in &order.terms.entitlements {
        let quantity = row::quantity(entitlement.quantity)?;
        sqlx::query("INSERT INTO order_entitlements (order_id, feature, quantity) VALUES ($1, $2, $3)")
            .bind(order.order_id.as_str())
            .bind(entitlement.feature.as_str())
            .bind(quantity)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query("INSERT INTO activation_keys (key_hash, last5, order_id) VALUES ($1, $2, $3)")
        .bind(key_hash.as_slice())
        .bind(order.activation_key_last5.as_str())
        .bind(order.order_id.as_str())
        .execute(&mut *conn)
        .await?;
    Ok(())
}

/// The order with this number.
///
/// # Errors
/// The database fails.
pub async fn find(conn: &mut Conn, order_id: &OrderId) -> Result<Option<Order>, StoreError> {
    let found = sqlx::query(select!("WHERE o.order_id = $1"))
        .bind(order_id.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    match found {
        Some(found) => Ok(Some(read(conn, &found).await?)),
        None => Ok(None),
    }
}

/// The order that was given out with the activation key of this hash.
///
/// # Errors
/// The database fails.
pub async fn find_by_key(conn: &mut Conn, key_hash: &[u8; 32]) -> Result<Option<Order>, StoreError> {
    let found = sqlx::query(select!("WHERE k.key_hash = $1"))
        .bind(key_hash.as_slice())
        .fetch_optional(&mut *conn)
        .await?;
    match found {
        Some(found) => Ok(Some(read(conn, &found).await?)),
        None => Ok(None),
    }
}

/// All orders, by number.
///
/// # Errors
/// The database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Order>, StoreError> {
    let rows = sqlx::query(select!("ORDER BY o.created_at, o.order_id")).fetch_all(&mut *conn).await?;
    read_all(conn, &rows).await
}

/// The orders on an installation, by number.
///
/// # Errors
/// The database fails.
pub async fn of_installation(conn: &mut Conn, support_id: &SupportId) -> Result<Vec<Order>, StoreError> {
    let rows = sqlx::query(select!("WHERE i.support_id = $1 ORDER BY o.order_id"))
        .bind(support_id.as_str())
        .fetch_all(&mut *conn)
        .await?;
    read_all(conn, &rows).await
}

/// The orders that license one tenant of an installation, by number.
///
/// # Errors
/// The database fails.
pub async fn of_tenant(
    conn: &mut Conn,
    support_id: &SupportId,
    tenant: &TenantId,
) -> Result<Vec<Order>, StoreError> {
    let rows = sqlx::query(select!("WHERE i.support_id = $1 AND i.tenant = $2 ORDER BY o.order_id"))
        .bind(support_id.as_str())
        .bind(tenant.as_str())
        .fetch_all(&mut *conn)
        .await?;
    read_all(conn, &rows).await
}

/// Puts an order on an installation.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if the order is on an installation.
pub async fn put_on_installation(
    conn: &mut Conn,
    order_id: &OrderId,
    usage: &Usage,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO installation_orders (order_id, support_id, tenant, activated_at, expires_at, support_until) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(order_id.as_str())
    .bind(usage.support_id.as_str())
    .bind(usage.tenant.as_str())
    .bind(usage.activated_at.as_unix_ms())
    .bind(usage.expires_at.map(Timestamp::as_unix_ms))
    .bind(usage.support_until.map(Timestamp::as_unix_ms))
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes an order back: it can't be activated, and is left out when its installation activates again.
///
/// # Errors
/// The database fails.
pub async fn revoke(conn: &mut Conn, order_id: &OrderId, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE orders SET revoked_at = $2 WHERE order_id = $1 AND revoked_at IS NULL")
        .bind(order_id.as_str())
        .bind(at.as_unix_ms())
        .execute(conn)
        .await?;
    Ok(())
}

/// Stops an order from `at` on, or with `None` no longer.
///
/// # Errors
/// The database fails.
pub async fn block(conn: &mut Conn, order_id: &OrderId, at: Option<Timestamp>) -> Result<(), StoreError> {
    sqlx::query("UPDATE orders SET blocked_at = $2 WHERE order_id = $1")
        .bind(order_id.as_str())
        .bind(at.map(Timestamp::as_unix_ms))
        .execute(conn)
        .await?;
    Ok(())
}

/// Gives an order other days, for its first use.
///
/// # Errors
/// The database fails.
pub async fn set_days(
    conn: &mut Conn,
    order_id: &OrderId,
    term_days: Option<u32>,
    support_days: Option<u32>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE orders SET term_days = $2, support_days = $3 WHERE order_id = $1")
        .bind(order_id.as_str())
        .bind(term_days.map(i64::from))
        .bind(support_days.map(i64::from))
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves the ends of an order that is on an installation.
///
/// # Errors
/// The database fails.
pub async fn set_ends(
    conn: &mut Conn,
    order_id: &OrderId,
    expires_at: Option<Timestamp>,
    support_until: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE installation_orders SET expires_at = $2, support_until = $3 WHERE order_id = $1")
        .bind(order_id.as_str())
        .bind(expires_at.map(Timestamp::as_unix_ms))
        .bind(support_until.map(Timestamp::as_unix_ms))
        .execute(conn)
        .await?;
    Ok(())
}

async fn read_all(conn: &mut Conn, rows: &[AnyRow]) -> Result<Vec<Order>, StoreError> {
    let mut orders = Vec::with_capacity(rows.len());
    for found in rows {
        orders.push(read(conn, found).await?);
    }
    Ok(orders)
}

async fn read(conn: &mut Conn, found: &AnyRow) -> Result<Order, StoreError> {
    let order_id: OrderId = row::parse(found, "order_id")?;
    let usage = match row::parse_opt::<SupportId>(found, "support_id")? {
        Some(support_id) => Some(Usage {
            support_id,
            tenant: row::parse(found, "tenant")?,
            activated_at: row::time(found, "activated_at")?,
            expires_at: row::time_opt(found, "expires_at")?,
            support_until: row::time_opt(found, "support_until")?,
        }),
        None => None,
    };
    Ok(Order {
        customer: row::parse(found, "customer")?,
        product: row::parse(found, "product")?,
        terms: Terms {
            kind: row::parse(found, "kind")?,
            entitlements: entitlements(conn, &order_id).await?,
            term_days: row::number_opt(found, "term_days")?,
            support_days: row::number_opt(found, "support_days")?,
            activate_by: row::time_opt(found, "activate_by")?,
            transfers_per_year: row::number_opt(found, "transfers_per_year")?,
            renews: renewed(conn, &order_id).await?,
        },
        activation_key_last5: row::get(found, "last5")?,
        for_support_id: row::parse_opt(found, "for_support_id")?,
        revoked_at: row::time_opt(found, "revoked_at")?,
        blocked_at: row::time_opt(found, "blocked_at")?,
        created_at: row::time(found, "created_at")?,
        usage,
        order_id,
    })
}

async fn renewed(conn: &mut Conn, order_id: &OrderId) -> Result<Vec<OrderId>, StoreError> {
    let rows = sqlx::query(
        "SELECT renewed_order_id FROM order_renewals WHERE order_id = $1 ORDER BY renewed_order_id",
    )
    .bind(order_id.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|found| row::parse(found, "renewed_order_id")).collect()
}

async fn entitlements(conn: &mut Conn, order_id: &OrderId) -> Result<Vec<Entitlement>, StoreError> {
    let rows =
        sqlx::query("SELECT feature, quantity FROM order_entitlements WHERE order_id = $1 ORDER BY feature")
            .bind(order_id.as_str())
            .fetch_all(conn)
            .await?;
    rows.iter().map(row::entitlement).collect()
}
