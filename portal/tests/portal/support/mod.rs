//! What the tests stand on: databases, a portal process, a cluster that asks.

mod cluster;
mod database;
mod portal;

pub use cluster::{Cluster, computer_id};
pub use database::Database;
pub use portal::{Portal, admin};
