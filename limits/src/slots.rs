//! Places for connections: so many in all, so many for one client.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Why a connection gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSlot {
    /// All places are taken.
    Full,
    /// This client has its share.
    ClientFull,
}

/// The places. A client is whatever tells one from another: an address (see [`neighbourhood`]), a user, a node.
#[derive(Debug)]
pub struct Slots<C: Copy + Eq + Hash> {
    most: usize,
    most_per_client: usize,
    taken: Mutex<Taken<C>>,
}

#[derive(Debug)]
struct Taken<C> {
    in_all: usize,
    by_client: HashMap<C, usize>,
}

/// One place, free again when dropped.
#[derive(Debug)]
pub struct Slot<C: Copy + Eq + Hash> {
    slots: Arc<Slots<C>>,
    client: C,
}

impl NoSlot {
    /// The reason as a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            NoSlot::Full => "full",
            NoSlot::ClientFull => "client_full",
        }
    }
}

impl<C: Copy + Eq + Hash> Slots<C> {
    /// So many places in all, and so many for each client.
    pub fn new(most: usize, most_per_client: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken { in_all: 0, by_client: HashMap::new() });
        Arc::new(Slots { most, most_per_client, taken })
    }

    /// Takes a place for a connection from this client.
    ///
    /// # Errors
    /// There is none.
    pub fn take(self: &Arc<Self>, client: C) -> Result<Slot<C>, NoSlot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.in_all >= self.most {
            return Err(NoSlot::Full);
        }
        let of_client = taken.by_client.entry(client).or_insert(0);
        if *of_client >= self.most_per_client {
            return Err(NoSlot::ClientFull);
        }
        *of_client += 1;
        taken.in_all += 1;
        Ok(Slot { slots: Arc::clone(self), client })
    }

    /// Places that are taken now.
    pub fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).in_all
    }
}

impl<C: Copy + Eq + Hash> Drop for Slot<C> {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.in_all -= 1;
        if let Some(of_client) = taken.by_client.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, or the /64 network that one IPv6 customer has.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_by_client() {
        let slots = Slots::new(3, 2);
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let first = slots.take(a).unwrap();
        let _second = slots.take(a).unwrap();
        assert_eq!(slots.take(a).unwrap_err(), NoSlot::ClientFull);
        let third = slots.take(b).unwrap();
        assert_eq!(slots.take(b).unwrap_err(), NoSlot::Full);
        drop(first);
        let _fourth = slots.take(b).unwrap();
        drop(third);
        assert_eq!((slots.taken(), slots.taken.lock().unwrap().by_client.len()), (2, 2));
    }

    #[test]
    fn one_ipv6_network_counts_as_one_address() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
