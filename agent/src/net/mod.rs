//! Connections: our own listeners, and channels to other nodes.

mod addresses;
mod backoff;
mod channel;
mod limits;
mod link;
mod listener;
mod peers;

pub use addresses::{AddressBook, Announced};
pub use backoff::pauses;
pub use channel::{ChannelOptions, tls_channel};
pub use limits::Limits;
pub use link::Attempts;
pub use listener::{Listener, Members, PeerInfo, bind_unix};
pub use peers::{Peers, Use};
