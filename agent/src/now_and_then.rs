//! What a flood makes happen thousands of times is told now and then.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_secs(10);

/// Says whether something is told: so many times in ten seconds, and the next time of how many others nothing was
/// told.
#[derive(Debug)]
pub struct NowAndThen {
    most: u64,
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    told: u64,
    others: u64,
}

impl NowAndThen {
    /// So many times in ten seconds.
    pub fn new(most: u64) -> Self {
        NowAndThen { most, window: Mutex::default() }
    }

    /// How many others there were; none if this one is not told either.
    pub fn now(&self) -> Option<u64> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        match window.as_mut() {
            Some(window) if now.duration_since(window.began) < WINDOW => {
                if window.told < self.most {
                    window.told += 1;
                    Some(0)
                } else {
                    window.others += 1;
                    None
                }
            }
            _ => {
                let before = window.replace(Window { began: now, told: 1, others: 0 });
                Some(before.map_or(0, |before| before.others))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_told_in_ten_seconds_and_then_the_number_of_others() {
        let (told, start) = (NowAndThen::new(2), Instant::now());
        let after = |seconds| told.at(start + Duration::from_secs(seconds));
        assert_eq!([after(0), after(1), after(1), after(9)], [Some(0), Some(0), None, None]);
        assert_eq!([after(10), after(11), after(12)], [Some(2), Some(0), None]);
        assert_eq!(after(30), Some(1));
    }
}
