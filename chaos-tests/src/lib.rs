//! Drives real Quorate clusters from outside, as an administrator, a product and a vendor would.
//!
//! ```text
//! Network (127.a.b.0/24 of its own)
//!   ├─ Portal   quorate-portal admin ..., serve
//!   └─ Cluster  quorate init, join, serve; one folder and one machine id for each node
//!        └─ Node  Cli (the command line) · Admin, Product (gRPC over Unix sockets) · http (operations port)
//! ```
//!
//! Only public faces are used: the two programs, gRPC, HTTP and files. Processes are real and are ended by
//! their id; what a test waits for is a condition with a deadline ([`wait`]), never a length of time.

pub mod binaries;
pub mod browser;
pub mod by_hand;
pub mod changes;
pub mod checker;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod cluster_file;
pub mod error;
pub mod fake_portal;
pub mod fake_time;
pub mod files;
pub mod http;
pub mod inspection;
pub mod interrupt;
pub mod network;
pub mod node;
pub mod peer_network;
pub mod portal;
pub mod process;
pub mod silence;
pub mod stage;
pub mod tls_client;
pub mod tls_server;
pub mod usage;
pub mod wait;
pub mod wire;

pub use binaries::Binaries;
pub use browser::Browser;
pub use cluster::{Cluster, Plan};
pub use error::Failure;
pub use fake_time::FakeTime;
pub use inspection::Inspection;
pub use network::Network;
pub use node::{Node, Role};
pub use peer_network::PeerNetwork;
pub use portal::Portal;
pub use silence::Silences;
pub use stage::Stage;
pub use wire::{Wire, WireProxy};

/// What a driving step gives.
pub type Result<T> = std::result::Result<T, Failure>;
