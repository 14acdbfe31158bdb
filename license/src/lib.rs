//! The vocabulary of licensing: ids, integrity key, binding, license, signing, verifying, status.
//!
//! No I/O, no clock, no randomness, no async: callers bring bytes, time and entropy.

mod activation;
mod activation_key;
mod armour;
mod binding;
mod computer_id;
mod crockford;
mod entitlement;
mod id;
mod integrity_key;
mod license;
mod license_file;
mod license_key;
mod node_key;
mod node_row;
#[cfg(test)]
mod samples;
mod signing;
mod statement;
mod status;
mod time;
mod wire;

pub use activation::ActivationKind;
pub use activation_key::{ActivationKey, ParseActivationKeyError};
pub use armour::{ArmourError, Place};
pub use binding::{Binding, BoundNode};
pub use computer_id::{ComputerId, ComputerIdSource, MachineId, MachineIdError, ParseComputerIdError};
pub use crockford::CrockfordError;
pub use entitlement::{Entitlement, Quantity};
pub use id::{
    BuildNumber, ClusterId, Epoch, EpochId, FeatureName, Fence, NodeId, NodeName, NodeRole, Nonce, OrderId,
    ParseIdError, Serial, SupportId, TenantId,
};
pub use integrity_key::{IntegrityKey, IntegrityKeyError, IntegrityKeyRefusal, ManagementSignature};
pub use license::{Graces, License, LicenseKind};
pub use license_file::{
    FileRefusal, LicenseFile, Receipt, ReceiptMismatch, SignedReceipt, VerifiedLicense, VerifyInput,
    verify_file,
};
pub use license_key::{AnswerRefusal, Expected, LicenseKey, LicenseKeyError, VerifiedAnswer};
pub use node_key::{BadSignature, NodeKey, NodePublicKey, NodeSignature, SignatureDomain};
pub use node_row::NodeRow;
pub use signing::{
    Claims, IssuingCertificate, IssuingKey, IssuingPublicKey, IssuingSecret, MAX_TOKEN_BYTES, ParseKeyError,
    RootKey, RootPublicKey, SignError, Signed, TokenError, TrustRoots,
};
pub use statement::{NodeStatement, StatementContext};
pub use status::{
    ANNOUNCED_DAYS, CheckInput, CheckReason, Decision, Ending, EndingKind, IntegrityScope, InvalidReason,
    LicenseStatus, NextStep, ReactivationReason, RegisteredNode, StatusInput, StatusReport, UnboundNode,
    check, endings, evaluate, of_removed_node,
};
pub use time::{DAY_MS, ParseTimestampError, Timestamp};
