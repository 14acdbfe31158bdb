//! The command line of `quorate-portal`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quorate_license::{ClusterId, Entitlement, FeatureName, OrderId, SupportId, Timestamp};

use crate::{
    names::{self, Name},
    store::orders::OrderKind,
};

/// The vendor's License Portal: orders, activations, signing.
#[derive(Debug, Parser)]
#[command(name = "quorate-portal", version, propagate_version = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "QUORATE_PORTAL_CONFIG",
        default_value = "/etc/quorate-portal/portal.toml"
    )]
    pub config: PathBuf,

    /// How results are written.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs; stable.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the portal until told to stop (SIGTERM, SIGINT).
    Serve,
    /// Look after keys, products, customers, orders and installations.
    #[command(subcommand)]
    Admin(Admin),
}

/// The commands of the vendor's staff.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Prepare the database and make the root and issuing keys. Safe to repeat: nothing is replaced.
    Init,
    /// The signing keys.
    #[command(subcommand)]
    Key(Key),
    /// What is sold.
    #[command(subcommand)]
    Product(Product),
    /// Who buys.
    #[command(subcommand)]
    Customer(Customer),
    /// What was bought, and the activation keys for it.
    #[command(subcommand)]
    Order(Order),
    /// The clusters that were activated.
    #[command(subcommand)]
    Installation(Installation),
    /// The license keys that were issued.
    #[command(subcommand)]
    Activation(Activation),
}

/// `admin key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Show root and issuing key.
    List,
    /// Revoke an issuing key: what it signed is signed anew when it is asked for again, or at the next activation.
    RevokeIssuing {
        /// Its id, as `admin key list` shows it.
        key_id: String,
    },
    /// Make a new issuing key under the root key. A portal that is serving uses it after a restart.
    RotateIssuing,
    /// Print the root public key, which agents and products trust.
    ShowRoot,
}

/// `admin product`.
#[derive(Debug, Subcommand)]
pub enum Product {
    /// Add a product.
    Add(AddProduct),
    /// Show all products.
    List,
}

/// `admin product add`.
#[derive(Debug, Args)]
pub struct AddProduct {
    /// Its name.
    pub name: Name,
    /// A feature that its orders may license; may be repeated.
    #[arg(long = "feature", value_name = "NAME", required = true)]
    pub features: Vec<FeatureName>,
}

/// `admin customer`.
#[derive(Debug, Subcommand)]
pub enum Customer {
    /// Add a customer.
    Add {
        /// The name.
        name: Name,
    },
    /// Show all customers.
    List,
}

/// `admin order`.
#[derive(Debug, Subcommand)]
pub enum Order {
    /// Add an order, and print its activation key: the only time that it is shown.
    #[command(visible_alias = "create")]
    Add(AddOrder),
    /// Show all orders.
    List,
    /// Show one order.
    Show {
        /// Its number.
        order: OrderId,
    },
    /// Give an order further days: at its first use, or from its ends on if it is used. An installation gets
    /// them with its next activation.
    Extend {
        /// Its number.
        order: OrderId,
        /// Further days of its term.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
        /// Further days of support.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        support_days: Option<u32>,
    },
    /// Stop an order for a time: its activation key does not work, and the next license is without it.
    Block {
        /// Its number.
        order: OrderId,
    },
    /// Let a blocked order count again.
    Unblock {
        /// Its number.
        order: OrderId,
    },
    /// Take an order back for good: its activation key no longer works, and the next license is without it.
    Revoke {
        /// Its number.
        order: OrderId,
    },
}

/// `admin order add`.
#[derive(Debug, Args)]
pub struct AddOrder {
    /// Who buys it.
    #[arg(long)]
    pub customer: Name,
    /// What is bought.
    #[arg(long)]
    pub product: Name,
    /// subscription or perpetual.
    #[arg(long)]
    pub kind: OrderKind,
    /// What is licensed, for example devices=50 or scan=unlimited; may be repeated. Left out for a renewal and
    /// for support alone.
    #[arg(long = "feature", value_name = "NAME=QUANTITY", value_parser = names::entitlement)]
    pub features: Vec<Entitlement>,
    /// For a subscription: for how many days from the activation on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: Option<u32>,
    /// For how many days from the activation on it is supported.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub support_days: Option<u32>,
    /// The last moment for its activation, for example 2027-12-31T23:59:59Z.
    #[arg(long, value_name = "TIME")]
    pub activate_by: Option<Timestamp>,
    /// The only installation that it may be used on.
    #[arg(long, value_name = "SUPPORT_ID")]
    pub support_id: Option<SupportId>,
    /// A subscription whose term and support this order's days are added to; may be repeated.
    #[arg(long, value_name = "ORDER")]
    pub renews: Vec<OrderId>,
    /// How many transfers in a year the order allows.
    #[arg(long, value_name = "N")]
    pub transfers: Option<u32>,
}

/// `admin installation`.
#[derive(Debug, Subcommand)]
pub enum Installation {
    /// Show all installations.
    List,
    /// Find the installation that a customer speaks of.
    Find {
        /// What the customer can tell: a node's computer ID, the cluster's id, or the number of a used order.
        what: String,
    },
    /// Show one installation: nodes, orders, history, restores, the last telemetry.
    Show {
        /// Its Support ID.
        support_id: SupportId,
    },
    /// Give an installation no answers for a time. What it has installed stays valid.
    Block {
        /// Its Support ID.
        support_id: SupportId,
    },
    /// Answer a blocked installation again.
    Unblock {
        /// Its Support ID.
        support_id: SupportId,
    },
    /// Let a cluster that asked for it become the installation after a restore from nothing.
    ApproveRestore {
        /// Its Support ID.
        support_id: SupportId,
        /// The cluster, if several asked.
        #[arg(long, value_name = "CLUSTER_ID")]
        cluster: Option<ClusterId>,
    },
}

/// `admin activation`.
#[derive(Debug, Subcommand)]
pub enum Activation {
    /// Show the license keys that were issued.
    List {
        /// Only those of this installation.
        #[arg(short, long)]
        support_id: Option<SupportId>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
