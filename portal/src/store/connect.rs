//! Opening the database, and beginning transactions in it.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use sqlx::{
    AnyPool, Executor,
    any::AnyPoolOptions,
    migrate::{MigrateError, Migrator},
};

use super::{Conn, Retryable, StoreError};
use crate::entropy;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// How often work is tried again when other transactions come first.
const ATTEMPTS: u32 = 12;
/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A transaction that is rolled back when dropped.
pub type Tx = sqlx::Transaction<'static, sqlx::Any>;

/// Which database holds the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A file on this host.
    Sqlite(PathBuf),
    /// A server.
    Postgres,
}

/// Where the database is. Prints without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    backend: Backend,
}

/// The text does not say where a database is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is neither sqlite:///absolute/path.db nor postgres://user@host/name")]
pub struct DatabaseUrlError;

/// The opened database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    backend: Backend,
}

impl DatabaseUrl {
    /// Which database it names.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let backend = if let Some(path) = text.strip_prefix("sqlite://") {
            if !path.starts_with('/') || path.len() < 2 || path.contains(['?', '#', '%']) {
                return Err(DatabaseUrlError);
            }
            Backend::Sqlite(PathBuf::from(path))
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Backend::Postgres
        } else {
            return Err(DatabaseUrlError);
        };
        Ok(DatabaseUrl { text: text.to_owned(), backend })
    }
}

impl fmt::Display for DatabaseUrl {
    /// The address without what stands between `://` and `@` behind a user's name, and without options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.split('?').next().unwrap_or_default();
        match (text.split_once("://"), text.rsplit_once('@')) {
            (Some((scheme, rest)), Some((_, host))) => {
                let user = rest.split([':', '@']).next().unwrap_or_default();
                write!(f, "{scheme}://{user}@{host}")
            }
            _ => f.write_str(text),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

impl Store {
    /// Makes the database file where there is none (SQLite), and brings the tables to this version.
    ///
    /// # Errors
    /// The database can't be reached or written, or is of a newer version.
    pub async fn create(url: &DatabaseUrl) -> Result<Self, StoreError> {
        if let Backend::Sqlite(path) = &url.backend {
            create_private_file(path)
                .map_err(|cause| StoreError::Unavailable(format!("{}: {cause}", path.display())))?;
        }
        let store = Self::connect(url).await?;
        store.migrator().run(&store.pool).await.map_err(migration_failed)?;
        Ok(store)
    }

    /// Opens a database that [`Store::create`] has prepared.
    ///
    /// # Errors
    /// The database can't be reached, or its tables are not of this version.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let store = Self::connect(url).await?;
        store.check_version().await?;
        Ok(store)
    }

    /// Which database holds the records.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Begins a transaction that sees, and makes, all of its changes at one point in time.
    ///
    /// # Errors
    /// The database can't be reached or is busy for too long.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let statement = match self.backend {
            Backend::Sqlite(_) => "BEGIN IMMEDIATE",
            Backend::Postgres => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        Ok(self.pool.begin_with(statement).await?)
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    /// The database can't be reached.
    pub async fn begin_read(&self) -> Result<Tx, StoreError> {
        let statement = match self.backend {
            Backend::Sqlite(_) => "BEGIN DEFERRED",
            Backend::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Ok(self.pool.begin_with(statement).await?)
    }

    /// Does `work`, and does it again, after a short random pause, as long as other transactions
    /// come first; gives up after twelve attempts.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn retrying<T, E, F>(&self, mut work: impl FnMut() -> F) -> Result<T, E>
    where
        E: Retryable,
        F: Future<Output = Result<T, E>>,
    {
        let mut attempt = 1;
        loop {
            match work().await {
                Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                    let longest_ms = (4u64 << attempt).min(250);
                    tokio::time::sleep(Duration::from_millis(1 + entropy::below(longest_ms))).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// The database can't be reached.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections, after the transactions on them have ended.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn connect(url: &DatabaseUrl) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let sqlite = matches!(url.backend, Backend::Sqlite(_));
        let pool = AnyPoolOptions::new()
            .max_connections(if sqlite { 4 } else { 8 })
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |conn, _| {
                Box::pin(async move {
                    if sqlite { prepare_sqlite(conn).await } else { prepare_postgres(conn).await }
                })
            })
            .connect(&url.text)
            .await?;
        Ok(Store { pool, backend: url.backend.clone() })
    }

    fn migrator(&self) -> &'static Migrator {
        match self.backend {
            Backend::Sqlite(_) => &SQLITE,
            Backend::Postgres => &POSTGRES,
        }
    }

    async fn check_version(&self) -> Result<(), StoreError> {
        let wanted = self.migrator().iter().map(|migration| migration.version).max().unwrap_or(0);
        let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
            .fetch_one(&self.pool)
            .await
            .map_err(|error| match StoreError::from(error) {
                StoreError::Failed(_) => StoreError::NotPrepared("it has no tables".to_owned()),
                other => other,
            })?;
        match found {
            Some(found) if found == wanted => Ok(()),
            Some(found) => {
                Err(StoreError::NotPrepared(format!("its tables are of version {found}, wanted is {wanted}")))
            }
            None => Err(StoreError::NotPrepared("it has no tables".to_owned())),
        }
    }
}

/// Readers beside one writer, every commit synced, references checked, five seconds' patience.
async fn prepare_sqlite(conn: &mut Conn) -> Result<(), sqlx::Error> {
    conn.execute("PRAGMA busy_timeout = 5000").await?;
    conn.execute("PRAGMA journal_mode = WAL").await?;
    conn.execute("PRAGMA synchronous = FULL").await?;
    conn.execute("PRAGMA foreign_keys = ON").await?;
    Ok(())
}

/// A server may have been told not to sync commits: an answer that is then lost would be issued
/// again under the same serial.
async fn prepare_postgres(conn: &mut Conn) -> Result<(), sqlx::Error> {
    conn.execute(
        "SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') = 'off'",
    )
    .await?;
    Ok(())
}

fn create_private_file(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    Ok(())
}

fn migration_failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::NotPrepared(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_addresses_print_without_the_password() {
        let url: DatabaseUrl = "postgres://portal:se@cret@db.example/portal?sslkey=x".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://portal@db.example/portal");
        assert_eq!(format!("{url:?}"), "DatabaseUrl(postgres://portal@db.example/portal)");
        let url: DatabaseUrl = "sqlite:///var/lib/quorate-portal/portal.db".parse().unwrap();
        assert_eq!(url.to_string(), "sqlite:///var/lib/quorate-portal/portal.db");
    }

    #[test]
    fn other_databases_and_relative_files_are_refused() {
        for wrong in
            ["", "mysql://a/b", "sqlite://portal.db", "sqlite::memory:", "sqlite:///a?mode=ro", "/a.db"]
        {
            assert_eq!(wrong.parse::<DatabaseUrl>(), Err(DatabaseUrlError), "{wrong}");
        }
    }
}
