//! The portal from outside: the real binary, real TLS, real SQLite and real PostgreSQL.
//!
//! Every test that touches the records runs on both databases ([`on_both_databases`]). PostgreSQL is
//! started from Debian's package `postgresql`, once for the whole run, in a folder and on a port of
//! its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is tests, helpers included")]
#![allow(
    clippy::disallowed_methods,
    reason = "the tests wait for processes, and some block their worker on purpose"
)]

/// Declares each test twice: `sqlite::name` and `postgres::name`.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            use crate::support::Database;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(Database::sqlite()).await;
            })+
        }
        mod postgres {
            use crate::support::Database;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(Database::postgres()).await;
            })+
        }
    };
}

mod activation;
mod admin;
mod commands;
mod crash;
mod examples;
mod kinds;
#[allow(clippy::print_stdout, reason = "a test tells its seed")]
#[path = "../../../license/tests/mangled/mangle.rs"]
mod mangle;
mod protocol;
mod records;
mod refusals;
mod seldom;
mod serving;
mod support;
mod table;
mod takeover;
