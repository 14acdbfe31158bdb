//! Between database values and domain types.

use std::str::FromStr;

use quorate_license::{Entitlement, Quantity, Timestamp};
use sqlx::{Decode, Row, Type, any::AnyRow};

use super::StoreError;

/// The column as the database's own type.
pub(super) fn get<'r, T>(row: &'r AnyRow, column: &'static str) -> Result<T, StoreError>
where
    T: Decode<'r, sqlx::Any> + Type<sqlx::Any>,
{
    Ok(row.try_get(column)?)
}

/// The text column as a type that is parsed from text.
pub(super) fn parse<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    let text: String = get(row, column)?;
    text.parse().map_err(|_| StoreError::Unreadable { what: column, value: text })
}

/// The text column, which may be NULL, as a type that is parsed from text.
pub(super) fn parse_opt<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let text: Option<String> = get(row, column)?;
    text.map(|text| text.parse().map_err(|_| StoreError::Unreadable { what: column, value: text }))
        .transpose()
}

/// The number column as an unsigned number.
pub(super) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    narrow(get(row, column)?, column)
}

/// The number column, which may be NULL, as an unsigned number.
pub(super) fn number_opt<T: TryFrom<i64>>(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    get::<Option<i64>>(row, column)?.map(|value| narrow(value, column)).transpose()
}

/// The number column as a time.
pub(super) fn time(row: &AnyRow, column: &'static str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_unix_ms(get(row, column)?))
}

/// The number column, which may be NULL, as a time.
pub(super) fn time_opt(row: &AnyRow, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp::from_unix_ms))
}

/// The number as the database holds it.
pub(super) fn stored(value: u64, what: &'static str) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Unreadable { what, value: value.to_string() })
}

/// The columns `feature` and `quantity` as an entitlement: NULL is unlimited.
pub(super) fn entitlement(row: &AnyRow) -> Result<Entitlement, StoreError> {
    let quantity = number_opt(row, "quantity")?.map_or(Quantity::Unlimited, Quantity::Limited);
    Ok(Entitlement { feature: parse(row, "feature")?, quantity })
}

/// A quantity as the database holds it.
pub(super) fn quantity(quantity: Quantity) -> Result<Option<i64>, StoreError> {
    match quantity {
        Quantity::Limited(count) => stored(count, "quantity").map(Some),
        Quantity::Unlimited => Ok(None),
    }
}

fn narrow<T: TryFrom<i64>>(value: i64, what: &'static str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Unreadable { what, value: value.to_string() })
}
