//! Clients that ask again and again, and the times that their answers took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use quorate_chaos_tests::{Failure, Result, client::runtime};
use serde::Serialize;
use tonic::Status;

/// The longest answer time that is told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// What one measurement gave.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Answers in a second.
    pub(crate) per_second: f64,
    /// Half of them took at most this long, in microseconds.
    pub(crate) p50_us: u64,
    /// 99 of 100 took at most this long, in microseconds.
    pub(crate) p99_us: u64,
    /// The longest took this long, in microseconds.
    pub(crate) longest_us: u64,
    /// How many answers there were.
    pub(crate) answers: u64,
}

/// Lets `clients` ask for `duration`, or until `most` answers. `client` makes the client with this number; `ask`
/// asks once.
pub(crate) fn run<C, F>(
    clients: usize,
    duration: Duration,
    most: u64,
    client: impl Fn(usize) -> C,
    ask: impl Fn(C, u64) -> F + Send + Sync + 'static,
) -> Result<Sample>
where
    C: Clone + Send + Sync + 'static,
    F: Future<Output = std::result::Result<(), Status>> + Send + 'static,
{
    let (ask, number) = (Arc::new(ask), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|index| {
            let (client, ask, number) = (client(index), Arc::clone(&ask), Arc::clone(&number));
            runtime().spawn(async move {
                let mut times = histogram()?;
                while begun.elapsed() < duration {
                    let this = number.fetch_add(1, Ordering::Relaxed);
                    if this >= most {
                        break;
                    }
                    let asked = Instant::now();
                    ask(client.clone(), this).await.map_err(refused)?;
                    let took = u64::try_from(asked.elapsed().as_micros()).unwrap_or(LONGEST_US);
                    times.saturating_record(took.max(1));
                }
                Ok::<_, Failure>(times)
            })
        })
        .collect();
    let mut times = histogram()?;
    runtime().block_on(async {
        for task in tasks {
            let of_client =
                task.await.map_err(|cause| Failure::wrong(format!("a client failed: {cause}")))??;
            times
                .add(&of_client)
                .map_err(|cause| Failure::wrong(format!("times can't be added: {cause}")))?;
        }
        Ok::<_, Failure>(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Sample {
        per_second: times.len() as f64 / seconds,
        p50_us: times.value_at_quantile(0.5),
        p99_us: times.value_at_quantile(0.99),
        longest_us: times.max(),
        answers: times.len(),
    })
}

/// The sample with the median rate.
pub(crate) fn median(mut samples: Vec<Sample>) -> Result<Sample> {
    samples.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    samples.get(samples.len() / 2).copied().ok_or_else(|| Failure::wrong("nothing was measured"))
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST_US, 3)
        .map_err(|cause| Failure::wrong(format!("no histogram can be made: {cause}")))
}

fn refused(status: Status) -> Failure {
    Failure::wrong(format!("a call failed while it was measured: {:?}, {}", status.code(), status.message()))
}
