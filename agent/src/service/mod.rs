//! Use cases. A service authorizes nothing and knows no wire format: it decides, proposes, reads.

mod activation;
mod admission;
mod certificates;
mod computer;
mod health;
mod history;
pub mod licensing;
mod removal;
mod rename;
mod report;
mod signing;
mod status;
mod telemetry;
mod time;
mod tokens;

pub use activation::{
    ActivationRequest, Activations, Event, Installed, InstalledKey, IntegrityKeyText, Offline, Plan,
    PlannedNode,
};
pub use admission::{Admission, Admitted, Joiner};
pub use certificates::{
    CaStatus, CaSummary, CaWait, Certificates, CertificatesOptions, Signer, ca_status, certificate_warnings,
    keep_rotation, rotate_ca, stands_beside, trusted,
};
pub use computer::watch_computer;
pub use health::{Condition, Health, NodeHealth, even_voters, health};
pub use history::{HistoryItem, license_history, quantity};
pub use removal::{Removed, remove_node};
pub use rename::rename_node;
pub use report::{OwnReport, report_node};
pub use signing::Signing;
pub use status::{ClusterStatus, NodeStatus, cluster_status, default_serial};
pub use telemetry::{Report, Telemetry, next_report};
pub use time::{ClockStatus, Held, TimeStatus, confirm_time, keep_time, time_status, time_warnings};
pub use tokens::{NewToken, create_token, revoke_token};
