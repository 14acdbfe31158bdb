//! The product's questions meanwhile.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use quorate_chaos_tests::Node;

/// Between two questions at one node: a product, not a flood.
const PAUSE: Duration = Duration::from_millis(2);

/// What was answered, and how fast.
pub(crate) struct Checks {
    times: Histogram<u64>,
    pub(crate) refused: u64,
}

impl Checks {
    /// Lets a product ask at each node while something happens.
    pub(crate) fn during(nodes: &[Node], happens: impl FnOnce()) -> Checks {
        let stop = Arc::new(AtomicBool::new(false));
        let products: Vec<_> = nodes
            .iter()
            .map(|node| {
                let (product, stop) = (node.product(), stop.clone());
                thread::spawn(move || {
                    let mut checks =
                        Checks { times: Histogram::new_with_bounds(1, 60_000_000, 3).unwrap(), refused: 0 };
                    while !stop.load(Ordering::Relaxed) {
                        let asked = Instant::now();
                        if !product.check("", 0).is_ok_and(|answer| answer.allowed) {
                            checks.refused += 1;
                        }
                        let took = u64::try_from(asked.elapsed().as_micros()).unwrap();
                        checks.times.saturating_record(took);
                        thread::sleep(PAUSE);
                    }
                    checks
                })
            })
            .collect();
        happens();
        stop.store(true, Ordering::Relaxed);
        let mut checks = products.into_iter().map(|product| product.join().unwrap());
        let mut all = checks.next().unwrap();
        for of_node in checks {
            all.times.add(&of_node.times).unwrap();
            all.refused += of_node.refused;
        }
        all
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |quantile| self.times.value_at_quantile(quantile);
        write!(
            f,
            "{} answers, {} refused, p50 {} us, p99 {} us, longest {} us",
            self.times.len(),
            self.refused,
            at(0.5),
            at(0.99),
            self.times.max()
        )
    }
}
