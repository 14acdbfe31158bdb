//! The life of a license, from the trial to the renewal, on three Management Servers and a Spooler Controller with a
//! real License Portal: once over the network, once by hand through the portal's page in a browser.
//!
//! ```text
//! trial ─ activation ─ upgrades ─ build update ─ everything lost ─ 30, 14, 7, 2 days ─ grace ─ refusal ─ renewal
//! ```
//!
//! Nodes, commands and portal have one time of day, which is moved by libfaketime; a product on every node asks all
//! the time. Beside it, updates that roll over the nodes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod asking;
mod pace;
mod rolling;
mod shown;
mod walk;
mod way;

use walk::Walk;
use way::Way;

#[test]
fn a_license_lives_from_its_trial_to_its_renewal_over_the_network() {
    Walk::start(|_| Way::Online).whole_life();
}

#[test]
fn a_license_lives_from_its_trial_to_its_renewal_by_hand_through_the_portals_page() {
    Walk::start(Way::by_hand).whole_life();
}
