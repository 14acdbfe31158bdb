//! Connections: our own listeners, and channels to other nodes.

mod addresses;
mod channel;
mod listener;
mod peers;

pub use addresses::{AddressBook, Announced};
pub use channel::{ChannelOptions, tls_channel};
pub use listener::{Limits, Listener, PeerInfo, bind_unix};
pub use peers::{Peers, Use};
