//! Where the log ended a moment ago: whoever has that keeps up, however many changes are under way.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// A follower that lacks what came within this time keeps up.
const MOMENT: Duration = Duration::from_millis(500);
/// A follower that lacks so few entries keeps up, too.
const FEW: u64 = 64;

/// The ends of the log that were seen lately, in one term.
#[derive(Debug, Default)]
pub(super) struct RecentEnd {
    seen: VecDeque<(Instant, u64)>,
}

impl RecentEnd {
    /// Takes note of where the log ends now, and gives the index that a node must have to keep up.
    pub(super) fn look(&mut self, end: u64, now: Instant) -> u64 {
        self.seen.push_back((now, end));
        // The newest that is old enough stays in front.
        while self.seen.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= MOMENT) {
            self.seen.pop_front();
        }
        let few = end.saturating_sub(FEW);
        match self.seen.front() {
            Some((at, before)) if now.duration_since(*at) >= MOMENT => few.min(*before),
            _ => few,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_what_there_was_half_a_second_ago_keeps_up() {
        let (mut ends, start) = (RecentEnd::default(), Instant::now());
        let mut look = |end, ms| ends.look(end, start + Duration::from_millis(ms));
        assert_eq!(look(1_000, 0), 936);
        assert_eq!(look(2_000, 300), 1_936, "too early to tell of a moment ago");
        assert_eq!(look(3_000, 500), 1_000);
        assert_eq!(look(4_000, 799), 1_000);
        assert_eq!(look(5_000, 800), 2_000);
        assert_eq!(look(5_000, 5_000), 4_936, "a quiet cluster");
        assert_eq!(look(20, 9_000), 0);
    }
}
