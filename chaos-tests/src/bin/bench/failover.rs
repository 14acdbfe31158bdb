//! `make bench ARGS=failover`: how long changes stand still when the leader goes, beside etcd.
//!
//! ```text
//! killed    SIGKILL of the leader, until a survivor has the first change acknowledged       median of many
//! stopped   SIGTERM of the leader under a constant stream of changes: failures, longest gap
//! ```
//!
//! Both are asked the same way: a change at a survivor, given up after a moment and asked for again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use quorate_chaos_tests::{
    Cluster, Failure, Result, Stage,
    client::{admin_client, channel, request, runtime},
    interrupt,
    wait::{self, PATIENCE, Seen},
};
use quorate_proto::v1::CreateTokenRequest;
use serde::Serialize;
use tonic::Status;

use crate::{etcd::Etcd, report};

/// One attempt after the leader was killed.
const ATTEMPT: Duration = Duration::from_millis(200);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a change may take while the leader stops.
const DEADLINE: Duration = Duration::from_secs(10);
/// Writers while the leader stops.
const WRITERS: usize = 4;
/// How long they write before it is asked to stop, and afterwards.
const AROUND: Duration = Duration::from_secs(3);

/// Both measurements of one side.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failover {
    /// From the kill to the first acknowledged change, in milliseconds, in order of size.
    pub(crate) killed_ms: Vec<f64>,
    /// While the leader stopped.
    pub(crate) stopped: Vec<Stopped>,
}

/// One graceful stop of the leader.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Stopped {
    /// Changes that were acknowledged.
    pub(crate) changes: usize,
    /// Changes that failed.
    pub(crate) failed: usize,
    /// The longest time without an acknowledged change, in milliseconds.
    pub(crate) longest_gap_ms: f64,
}

/// Makes one change at a node, and gives it up after this time.
pub(crate) type Client = Arc<dyn Fn(Duration) -> Call + Send + Sync>;

/// A system whose leader can be taken away.
pub(crate) trait System {
    /// Which node leads.
    fn leader(&mut self) -> Result<usize>;
    /// A client of a node.
    fn client(&self, node: usize) -> Result<Client>;
    /// Kills a node, as `kill -9` does.
    fn kill(&mut self, node: usize) -> Result<()>;
    /// Asks a node to stop, and waits until it has.
    fn stop(&mut self, node: usize) -> Result<()>;
    /// Starts it again, and waits until all three take part.
    fn restore(&mut self, node: usize) -> Result<()>;
}

/// A call under way.
pub(crate) type Call = std::pin::Pin<Box<dyn Future<Output = std::result::Result<(), Status>> + Send>>;

/// Takes turns with both.
pub(crate) fn measure(
    stage: &mut Stage,
    etcd: &mut Etcd,
    kills: usize,
    stops: usize,
) -> Result<[Failover; 2]> {
    let none = || Failover { killed_ms: Vec::new(), stopped: Vec::new() };
    let (mut ours, mut theirs) = (none(), none());
    for round in 1..=kills {
        report::progress(&format!("the leader is killed, {round} of {kills}"));
        ours.killed_ms.push(killed(&mut stage.cluster)?);
        theirs.killed_ms.push(killed(etcd)?);
    }
    for round in 1..=stops {
        report::progress(&format!("the leader is stopped, {round} of {stops}"));
        ours.stopped.push(stopped(&mut stage.cluster)?);
        theirs.stopped.push(stopped(etcd)?);
    }
    for side in [&mut ours, &mut theirs] {
        side.killed_ms.sort_by(f64::total_cmp);
    }
    Ok([ours, theirs])
}

fn not_interrupted() -> Result<()> {
    if interrupt::requested() { Err(Failure::Interrupted) } else { Ok(()) }
}

fn killed(system: &mut impl System) -> Result<f64> {
    not_interrupted()?;
    let leader = system.leader()?;
    let survivor = (leader + 1) % 3;
    let change = system.client(survivor)?;
    // The client's connection is there before.
    runtime().block_on(change(DEADLINE)).map_err(|status| Failure::wrong(format!("a change: {status}")))?;
    system.kill(leader)?;
    let begun = Instant::now();
    runtime().block_on(async {
        while !matches!(tokio::time::timeout(ATTEMPT, change(ATTEMPT)).await, Ok(Ok(()))) {
            if begun.elapsed() > PATIENCE {
                return Err(Failure::wrong("no change after the leader was killed"));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    })?;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    system.restore(leader)?;
    Ok(took)
}

fn stopped(system: &mut impl System) -> Result<Stopped> {
    not_interrupted()?;
    let leader = system.leader()?;
    let clients = [system.client((leader + 1) % 3)?, system.client((leader + 2) % 3)?];
    let end = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (change, end, times) =
                (clients[writer % clients.len()].clone(), end.clone(), acknowledged.clone());
            runtime().spawn(async move {
                let mut failed = 0;
                while !end.load(Ordering::Relaxed) {
                    match change(DEADLINE).await {
                        Ok(()) => times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now()),
                        Err(_) => {
                            failed += 1;
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                    // A stream, not a flood: whoever competes for two cores measures the scheduler.
                    tokio::time::sleep(PAUSE).await;
                }
                failed
            })
        })
        .collect();
    let around = || runtime().block_on(async { tokio::time::sleep(AROUND).await });
    around();
    let stopping = Instant::now();
    system.stop(leader)?;
    around();
    end.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for writer in writers {
        failed += runtime().block_on(writer).map_err(|cause| Failure::wrong(cause.to_string()))?;
    }
    system.restore(leader)?;
    let times = std::mem::take(&mut *acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
    let gap = times
        .windows(2)
        .filter(|pair| pair[1] >= stopping)
        .map(|pair| pair[1].saturating_duration_since(pair[0]))
        .max()
        .unwrap_or(PATIENCE);
    Ok(Stopped { changes: times.len(), failed, longest_gap_ms: gap.as_secs_f64() * 1000.0 })
}

impl System for Cluster {
    fn leader(&mut self) -> Result<usize> {
        Cluster::leader(self)
    }

    fn client(&self, node: usize) -> Result<Client> {
        let client = admin_client(channel(&self.nodes[node].admin_socket));
        Ok(Arc::new(move |deadline| {
            let mut client = client.clone();
            let message = CreateTokenRequest {
                label: "bench-failover".to_owned(),
                ttl_seconds: 3600,
                request_id: rand::random::<[u8; 16]>().to_vec(),
                ..Default::default()
            };
            Box::pin(async move { client.create_token(request(message, deadline)).await.map(|_| ()) })
        }))
    }

    fn kill(&mut self, node: usize) -> Result<()> {
        self.nodes[node].kill()
    }

    fn stop(&mut self, node: usize) -> Result<()> {
        self.nodes[node].stop().map(|_| ())
    }

    fn restore(&mut self, node: usize) -> Result<()> {
        self.nodes[node].serve()?;
        self.wait_for_members(3)
    }
}

impl System for Etcd {
    fn leader(&mut self) -> Result<usize> {
        self.leader_now()
    }

    fn client(&self, node: usize) -> Result<Client> {
        self.putting(node)
    }

    fn kill(&mut self, node: usize) -> Result<()> {
        self.processes[node].kill()
    }

    fn stop(&mut self, node: usize) -> Result<()> {
        self.processes[node].stop(Duration::from_secs(20)).map(|_| ())
    }

    fn restore(&mut self, node: usize) -> Result<()> {
        self.start_again(node)?;
        let change = self.putting(node)?;
        wait::until("etcd to be complete", PATIENCE, || {
            let put = runtime().block_on(change(DEADLINE));
            Ok(Seen::when(put.is_ok(), || "the restarted node takes no changes".to_owned()))
        })
    }
}
