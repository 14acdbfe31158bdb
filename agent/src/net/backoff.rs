//! Pauses between attempts: they double, have a limit, and differ from node to node.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
/// The longest pause. A node that is back waits no longer than this until it is called.
const LONGEST: Duration = Duration::from_millis(1500);

/// How long to wait after so many failures in a row: half of the doubled pause, and up to as much
/// again by chance, so that many nodes don't call one that comes back all at once.
pub(super) fn pause_after(failures: u32) -> Duration {
    pause(failures, chance())
}

/// The pauses after the first, second, ... failure, without end.
pub fn pauses() -> impl Iterator<Item = Duration> + Send + 'static {
    (1..).map(pause_after)
}

fn pause(failures: u32, chance: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    doubled.mul_f64(0.5 + chance / 2.0)
}

/// Something between 0 and 1. Without randomness, which every system of ours has, it is one half.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ_by_half() {
        let milliseconds = |failures, chance| pause(failures, chance).as_millis();
        let longest: Vec<_> = (1..9).map(|failures| milliseconds(failures, 1.0)).collect();
        assert_eq!(longest, [50, 100, 200, 400, 800, 1500, 1500, 1500]);
        let shortest: Vec<_> = (1..9).map(|failures| milliseconds(failures, 0.0)).collect();
        assert_eq!(shortest, [25, 50, 100, 200, 400, 750, 750, 750]);
        assert_eq!(pause(u32::MAX, 1.0), LONGEST);
        assert!(pauses().take(100).all(|pause| pause <= LONGEST && pause >= FIRST / 2));
    }
}
