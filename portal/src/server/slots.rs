//! Places for connections: so many in all, so many for one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::config::Limits;

/// Why a connection gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// All places are taken.
    Full,
    /// This address has its share.
    AddressFull,
}

/// The places.
#[derive(Debug)]
pub(crate) struct Slots {
    most: usize,
    most_per_address: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl NoSlot {
    /// The reason as a metric's label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            NoSlot::Full => "full",
            NoSlot::AddressFull => "address_full",
        }
    }
}

impl Slots {
    /// As many places as the limits say.
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Slots {
            most: limits.max_connections,
            most_per_address: limits.max_connections_per_address,
            taken: Mutex::default(),
        })
    }

    /// Takes a place for a connection from this address.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, NoSlot> {
        let address = neighbourhood(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.most {
            return Err(NoSlot::Full);
        }
        let of_address = taken.entry(address).or_insert(0);
        if *of_address >= self.most_per_address {
            return Err(NoSlot::AddressFull);
        }
        *of_address += 1;
        Ok(Slot { slots: Arc::clone(self), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_address) = taken.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, or the /64 network that one IPv6 customer has.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_by_address() {
        let slots = Arc::new(Slots { most: 3, most_per_address: 2, taken: Mutex::default() });
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let first = slots.take(a).unwrap();
        let _second = slots.take(a).unwrap();
        assert_eq!(slots.take(a).unwrap_err(), NoSlot::AddressFull);
        let third = slots.take(b).unwrap();
        assert_eq!(slots.take(b).unwrap_err(), NoSlot::Full);
        drop(first);
        let _fourth = slots.take(b).unwrap();
        drop(third);
        assert_eq!(slots.taken.lock().unwrap().len(), 2);
    }

    #[test]
    fn one_ipv6_network_counts_as_one_address() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
