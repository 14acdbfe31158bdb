//! How often one address may ask, in windows of one minute.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::slots::neighbourhood;

const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered at a time. When there are more, all are forgiven: memory stays
/// bounded, and so do connections.
const MOST_ADDRESSES: usize = 16 * 1024;

/// Counts requests by address.
#[derive(Debug)]
pub struct RateLimit {
    per_window: u32,
    windows: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    requests: u32,
}

impl RateLimit {
    /// Allows so many requests a minute from each address.
    pub fn new(per_minute: u32) -> Self {
        RateLimit { per_window: per_minute, windows: Mutex::default() }
    }

    /// Whether the address has used up its minute, at the time `now`: how long until the next.
    pub fn exhausted(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let windows = self.windows();
        let window = windows.get(&neighbourhood(address))?;
        let age = now.duration_since(window.began);
        (age < WINDOW && window.requests >= self.per_window).then(|| WINDOW.saturating_sub(age))
    }

    /// Counts a request at the time `now`.
    ///
    /// # Errors
    /// The address has used up its minute: how long until the next.
    pub fn count(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = neighbourhood(address);
        let mut windows = self.windows();
        if windows.len() >= MOST_ADDRESSES && !windows.contains_key(&address) {
            windows.retain(|_, window| now.duration_since(window.began) < WINDOW);
            if windows.len() >= MOST_ADDRESSES {
                windows.clear();
            }
        }
        let window = windows.entry(address).or_insert(Window { began: now, requests: 0 });
        let age = now.duration_since(window.began);
        if age >= WINDOW {
            *window = Window { began: now, requests: 0 };
        }
        if window.requests >= self.per_window {
            return Err(WINDOW.saturating_sub(age));
        }
        window.requests += 1;
        Ok(())
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<IpAddr, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_requests_again_after_a_minute() {
        let limit = RateLimit::new(2);
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let start = Instant::now();
        assert_eq!(limit.count(a, start), Ok(()));
        assert_eq!(limit.exhausted(a, start), None);
        assert_eq!(limit.count(a, start), Ok(()));
        assert_eq!(limit.exhausted(a, start + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(limit.count(a, start + Duration::from_secs(20)), Err(Duration::from_secs(40)));
        assert_eq!(limit.count(b, start), Ok(()));
        assert_eq!(limit.exhausted(a, start + WINDOW), None);
        assert_eq!(limit.count(a, start + WINDOW), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let limit = RateLimit::new(1);
        let now = Instant::now();
        for number in 0..(2 * MOST_ADDRESSES as u32) {
            let _ = limit.count(IpAddr::V4(number.into()), now);
        }
        assert!(limit.windows.lock().unwrap().len() <= MOST_ADDRESSES);
    }
}
