//! The certificates of the nodes and the CA: issuing, renewing by themselves, and the rotation of the CA.
//!
//! ```text
//! node:  two thirds of its life over, another CA issues, or an order ─> new key ─> request, signed by the node key
//!          ─> a Management Server signs ─> tls/node.pem ─> shown in new handshakes ─> ReportCertificate
//! CA:    RotateCa ─> nodes trust both ─> AdvanceCa ─> nodes renew ─> AdvanceCa ─> nodes forget the old one
//! ```
//!
//! What nodes have told stands in the replicated state, and the leader goes by that alone; so whoever leads can go on
//! where another one left off.

mod ask;
mod keep;
mod rotation;
mod sign;
mod warnings;

pub use keep::{Certificates, CertificatesOptions, stands_beside};
pub use rotation::{CaStatus, CaSummary, CaWait, ca_status, keep_rotation, rotate_ca};
pub(super) use sign::MAX_CHAIN_BYTES;
pub use sign::{Signer, trusted};
pub use warnings::certificate_warnings;
