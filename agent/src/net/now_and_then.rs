//! What a flood makes happen thousands of times is told now and then.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_secs(10);

/// Says whether something is told now, and of how many others nothing was told since the last time.
#[derive(Debug, Default)]
pub(super) struct NowAndThen {
    since: Mutex<Option<(Instant, u64)>>,
}

impl NowAndThen {
    /// How many others there were; none if it is too early to tell again.
    pub(super) fn now(&self) -> Option<u64> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<u64> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match since.as_mut() {
            Some((told, others)) if now.duration_since(*told) < PAUSE => {
                *others += 1;
                None
            }
            _ => since.replace((now, 0)).map_or(Some(0), |(_, others)| Some(others)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_one_every_ten_seconds_with_the_number_of_others() {
        let (told, start) = (NowAndThen::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(told.at(start), Some(0));
        assert_eq!([told.at(start), told.at(after(9))], [None, None]);
        assert_eq!(told.at(after(10)), Some(2));
        assert_eq!(told.at(after(11)), None);
    }
}
