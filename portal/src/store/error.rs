//! What can go wrong between the portal and its database.

use sqlx::error::ErrorKind;

/// The database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another transaction was first: the same work, done again, can succeed.
    #[error("another change to the database came first")]
    Busy,
    /// A unique index holds a row of the same key already.
    #[error("the database holds such a row already")]
    AlreadyThere,
    /// The database can't be reached, or answers too late.
    #[error("the database can't be reached: {0}")]
    Unavailable(String),
    /// The database has no tables of the portal, or older ones.
    #[error("the database is not prepared for this version of the portal: {0}")]
    NotPrepared(String),
    /// A stored value is not what this code has written.
    #[error("the database holds a {what} that can't be read: '{value}'")]
    Unreadable {
        /// What the value should be.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// Any other error of the database.
    #[error("the database failed: {0}")]
    Failed(#[source] sqlx::Error),
}

impl StoreError {
    /// The stable code, of a command that ends with it.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Unavailable(_) | StoreError::Busy | StoreError::AlreadyThere => {
                "database_unavailable"
            }
            StoreError::NotPrepared(_) => "database_not_prepared",
            StoreError::Unreadable { .. } | StoreError::Failed(_) => "database_failed",
        }
    }

    /// What to do now.
    pub fn hint(&self) -> &'static str {
        match self {
            StoreError::NotPrepared(_) => "Run quorate-portal admin init.",
            _ => "Check the database and its address in the configuration.",
        }
    }
}

/// Whether the same work, done again, can succeed.
pub trait Retryable {
    /// True when another transaction was first.
    fn is_retryable(&self) -> bool;
}

impl Retryable for StoreError {
    fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Busy)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) => {
                if cause.kind() == ErrorKind::UniqueViolation {
                    return StoreError::AlreadyThere;
                }
                match cause.code().as_deref() {
                    Some(code) if means_busy(code) => StoreError::Busy,
                    Some(code) if means_unavailable(code) => {
                        StoreError::Unavailable(cause.message().to_owned())
                    }
                    _ => StoreError::Failed(error),
                }
            }
            // A server that goes away in the middle of a conversation breaks the protocol.
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => StoreError::Unavailable(error.to_string()),
            _ => StoreError::Failed(error),
        }
    }
}

/// PostgreSQL: serialization failure, deadlock. SQLite: BUSY, LOCKED and their extended codes
/// (the low byte is the primary code).
fn means_busy(code: &str) -> bool {
    match code {
        "40001" | "40P01" => true,
        _ => code.len() <= 4 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
    }
}

/// PostgreSQL: connection exceptions (08), too many connections (53300), starting or stopping (57P).
/// SQLite: can't open, disk full, disk I/O error.
fn means_unavailable(code: &str) -> bool {
    match code {
        "53300" => true,
        _ if code.len() == 5 => code.starts_with("08") || code.starts_with("57P"),
        _ => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 10 | 13 | 14)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_that_mean_try_again_are_known() {
        for code in ["40001", "40P01", "5", "6", "261", "517"] {
            assert!(means_busy(code), "{code}");
        }
        for code in ["23505", "2067", "1", "08006", "57P01"] {
            assert!(!means_busy(code), "{code}");
        }
        for code in ["08006", "57P01", "57P03", "53300", "14", "13"] {
            assert!(means_unavailable(code), "{code}");
        }
        assert!(!means_unavailable("23505"));
    }
}
