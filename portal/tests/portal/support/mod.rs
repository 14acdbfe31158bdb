//! What the tests stand on: databases, a portal process, a cluster that asks.

mod cluster;
mod database;
mod portal;

pub(crate) use cluster::{Cluster, computer_id, later, without_key};
pub(crate) use database::Database;
pub(crate) use portal::{Portal, admin};
