//! How often one client may ask, in windows of one minute.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_secs(60);
/// Clients that are remembered at a time. When there are more, all are forgiven: memory stays
/// bounded, and so do connections.
const MOST_CLIENTS: usize = 16 * 1024;

/// Counts requests by client: whatever tells one from another, an address (see
/// [`neighbourhood`](crate::neighbourhood)) or a node.
#[derive(Debug)]
pub struct RateLimit<C: Copy + Eq + Hash> {
    per_window: u32,
    windows: Mutex<HashMap<C, Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    requests: u32,
}

impl<C: Copy + Eq + Hash> RateLimit<C> {
    /// Allows so many requests a minute from each client.
    pub fn new(per_minute: u32) -> Self {
        RateLimit { per_window: per_minute, windows: Mutex::default() }
    }

    /// Whether the client has used up its minute, at the time `now`: how long until the next.
    pub fn exhausted(&self, client: C, now: Instant) -> Option<Duration> {
        let windows = self.windows();
        let window = windows.get(&client)?;
        let age = now.duration_since(window.began);
        (age < WINDOW && window.requests >= self.per_window).then(|| WINDOW.saturating_sub(age))
    }

    /// Counts a request at the time `now`.
    ///
    /// # Errors
    /// The client has used up its minute: how long until the next.
    pub fn count(&self, client: C, now: Instant) -> Result<(), Duration> {
        let mut windows = self.windows();
        if windows.len() >= MOST_CLIENTS && !windows.contains_key(&client) {
            windows.retain(|_, window| now.duration_since(window.began) < WINDOW);
            if windows.len() >= MOST_CLIENTS {
                windows.clear();
            }
        }
        let window = windows.entry(client).or_insert(Window { began: now, requests: 0 });
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

    fn windows(&self) -> MutexGuard<'_, HashMap<C, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_requests_again_after_a_minute() {
        let limit = RateLimit::new(2);
        let [a, b] = [1, 2];
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
        for number in 0..(2 * MOST_CLIENTS as u32) {
            let _ = limit.count(number, now);
        }
        assert!(limit.windows.lock().unwrap().len() <= MOST_CLIENTS);
    }
}
