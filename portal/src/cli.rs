//! The command line of `quorate-portal`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quorate_license::{Entitlement, FeatureName, OrderId, Quantity, SupportId, Timestamp};

use crate::{names::Name, store::orders::OrderKind};

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
    Add(AddOrder),
    /// Show all orders.
    List,
    /// Show one order.
    Show {
        /// Its number.
        order: OrderId,
    },
    /// Take an order back: its activation key no longer works, and the next license is without it.
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
    /// What is licensed, for example devices=50 or scan=unlimited; may be repeated.
    #[arg(long = "feature", value_name = "NAME=QUANTITY", required = true, value_parser = entitlement)]
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
}

/// `admin installation`.
#[derive(Debug, Subcommand)]
pub enum Installation {
    /// Show all installations.
    List,
    /// Show one installation with its nodes and orders.
    Show {
        /// Its Support ID.
        support_id: SupportId,
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

fn entitlement(text: &str) -> Result<Entitlement, String> {
    let (feature, quantity) =
        text.split_once('=').ok_or("write it as NAME=QUANTITY, for example devices=50 or scan=unlimited")?;
    let feature = feature.parse::<FeatureName>().map_err(|error| error.to_string())?;
    let quantity = match quantity.parse::<u64>() {
        _ if quantity == "unlimited" => Quantity::Unlimited,
        Ok(count) if i64::try_from(count).is_ok() => Quantity::Limited(count),
        _ => return Err(format!("'{quantity}' is not a quantity: it is a whole number or 'unlimited'")),
    };
    Ok(Entitlement { feature, quantity })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn quantities_are_numbers_or_unlimited() {
        assert_eq!(entitlement("devices=50").unwrap().quantity, Quantity::Limited(50));
        assert_eq!(entitlement("scan=unlimited").unwrap().quantity, Quantity::Unlimited);
        for wrong in
            ["devices", "devices=", "devices=-1", "Devices=1", "devices=1.5", "devices=99999999999999999999"]
        {
            assert!(entitlement(wrong).is_err(), "{wrong}");
        }
    }
}
