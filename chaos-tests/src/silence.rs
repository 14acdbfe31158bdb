//! How long followers waited for a word of the leader, as their metrics tell.

use crate::{Node, Result, http};

const METRIC: &str = "quorate_server_leader_silence_seconds_bucket{le=\"";

/// The silences that each of some nodes has counted so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Silences(Vec<Buckets>);

/// Bounds in seconds, and how often a node heard from the leader after that long at most.
type Buckets = Vec<(f64, f64)>;

impl Silences {
    /// Asks the nodes.
    ///
    /// # Errors
    /// One does not answer.
    pub fn of(nodes: &[Node]) -> Result<Self> {
        let of_node = |node: &Node| Ok(parse(&http::get(node.ops, "/metrics")?.body));
        nodes.iter().map(of_node).collect::<Result<_>>().map(Silences)
    }

    /// The bound, in seconds, below which every silence is that came since, at every node.
    pub fn longest_until(&self, later: &Silences) -> f64 {
        self.0.iter().zip(&later.0).map(|(before, after)| longest(before, after)).fold(0.0, f64::max)
    }
}

fn parse(metrics: &str) -> Buckets {
    let bucket = |line: &str| {
        let (bound, count) = line.strip_prefix(METRIC)?.split_once("\"} ")?;
        Some((bound.parse().ok()?, count.trim().parse().ok()?))
    };
    metrics.lines().filter_map(bucket).collect()
}

fn longest(before: &Buckets, after: &Buckets) -> f64 {
    let came: Vec<f64> = before.iter().zip(after).map(|(before, after)| after.1 - before.1).collect();
    let all = came.last().copied().unwrap_or(0.0);
    came.iter().zip(after).find(|(came, _)| **came >= all).map_or(0.0, |(_, bucket)| bucket.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_is_the_bucket_that_has_them_all() {
        let page =
            |a, b, c| format!("{METRIC}0.1\"}} {a}\n{METRIC}0.5\"}} {b}\n{METRIC}+Inf\"}} {c}\nother 7\n");
        let [start, short, long] =
            [page(5, 6, 6), page(15, 16, 16), page(15, 17, 18)].map(|page| Silences(vec![parse(&page)]));
        assert_eq!(start.longest_until(&short), 0.1);
        assert_eq!(short.longest_until(&long), f64::INFINITY);
        assert_eq!(start.longest_until(&start), 0.1, "nothing came");
    }
}
