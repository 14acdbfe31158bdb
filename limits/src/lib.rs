//! Bounds of what others can use up, for every program here that listens on a port.
//!
//! ```text
//! accept -> a Slot (or closed at once) -> request -> RateLimit (or refused with the time to wait) -> work
//! ```
//!
//! Both remember a bounded number of clients, and neither reads a clock: callers pass the time.

mod rate;
mod slots;

pub use rate::RateLimit;
pub use slots::{NoSlot, Slot, Slots, neighbourhood};
