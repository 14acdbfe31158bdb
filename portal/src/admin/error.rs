//! What an administrative command can fail with: a stable code, a message, a hint.

use std::{io, path::PathBuf};

use quorate_license::{FeatureName, OrderId, SupportId};

use crate::{keys::KeyError, names::Name, store::StoreError};

/// The command failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The command line contradicts itself.
    #[error("{0}")]
    Usage(&'static str),
    /// A product or customer of this name is there.
    #[error("there is a {what} named '{name}' already")]
    Exists {
        /// "product" or "customer".
        what: &'static str,
        /// Its name.
        name: Name,
    },
    /// There is no such product.
    #[error("there is no product named '{0}'")]
    NoProduct(Name),
    /// There is no such customer.
    #[error("there is no customer named '{0}'")]
    NoCustomer(Name),
    /// The product has no such feature.
    #[error("the product '{product}' has no feature '{feature}'; it has {has}")]
    NoFeature {
        /// The product.
        product: Name,
        /// The feature.
        feature: FeatureName,
        /// The features that it has, in words.
        has: String,
    },
    /// There is no such order.
    #[error("there is no order {0}")]
    NoOrder(OrderId),
    /// There is no such installation.
    #[error("there is no installation with the Support ID {0}")]
    NoInstallation(SupportId),
    /// No installation has this computer, cluster or order.
    #[error("no installation has the computer ID, cluster id or order '{0}'")]
    NothingFound(String),
    /// Nobody asked to be this installation.
    #[error("no cluster waits to become the installation {0} after a restore")]
    NoRestore(SupportId),
    /// One of the two key files is missing.
    #[error("{present} is there, but {missing} is not")]
    KeyFileMissing {
        /// The file that is there.
        present: PathBuf,
        /// The one that is not.
        missing: PathBuf,
    },
    /// A signing key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The result can't be written.
    #[error("the result can't be written: {0}")]
    Output(io::Error),
    /// The result can't be put into JSON.
    #[error("the result can't be put into JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl AdminError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            AdminError::Usage(_) => "usage",
            AdminError::Exists { .. } => "already_exists",
            AdminError::NoProduct(_) => "product_unknown",
            AdminError::NoCustomer(_) => "customer_unknown",
            AdminError::NoFeature { .. } => "feature_unknown",
            AdminError::NoOrder(_) => "order_unknown",
            AdminError::NoInstallation(_) | AdminError::NothingFound(_) => "installation_unknown",
            AdminError::NoRestore(_) => "restore_unknown",
            AdminError::KeyFileMissing { .. } => "key_file_missing",
            AdminError::Key(error) => error.code(),
            AdminError::Store(error) => error.code(),
            AdminError::Output(_) | AdminError::Json(_) => "output_failed",
        }
    }

    /// What to do now.
    pub fn hint(&self) -> &'static str {
        match self {
            AdminError::Usage(_) => "See --help of this command.",
            AdminError::Exists { .. } => "Choose another name, or use the one that is there.",
            AdminError::NoProduct(_) => "See admin product list.",
            AdminError::NoCustomer(_) => "See admin customer list.",
            AdminError::NoFeature { .. } => "Check the name of the feature.",
            AdminError::NoOrder(_) => "See admin order list.",
            AdminError::NoInstallation(_) => "See admin installation list.",
            AdminError::NothingFound(_) => {
                "Compare it with what quorate status and quorate node list show. A computer that was bound once, and is no \
                 longer, is not found; an order is found once it is used."
            }
            AdminError::NoRestore(_) => {
                "Let the cluster ask first: quorate license reactivate. See admin installation show."
            }
            AdminError::KeyFileMissing { .. } => {
                "Put the missing file back. If the issuing key is lost, run admin key rotate-issuing."
            }
            AdminError::Key(error) => error.hint(),
            AdminError::Store(error) => error.hint(),
            AdminError::Output(_) | AdminError::Json(_) => "Check where the output goes.",
        }
    }
}
