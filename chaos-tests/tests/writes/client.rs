//! The outside client: it asks for a change until that is acknowledged, under one request id, and remembers it.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quorate_chaos_tests::{
    Cluster, Role,
    client::{admin_client, channel, request, runtime},
};
use quorate_proto::v1::CreateTokenRequest;
use tokio::task::JoinHandle;

/// What every label begins with.
pub(crate) const PREFIX: &str = "chaos-";

const WRITERS: usize = 16;

/// About as long as an election takes; then another node is asked.
const DEADLINE: Duration = Duration::from_millis(1500);

/// Writers that go on until there are enough changes and they are told to finish.
pub(crate) struct Writers {
    acknowledged: Arc<AtomicUsize>,
    stop: tokio::sync::watch::Sender<bool>,
    tasks: Vec<JoinHandle<BTreeSet<String>>>,
}

impl Writers {
    /// Starts them on the administrator's sockets of all Management Servers.
    pub(crate) fn start(cluster: &Cluster, enough: usize) -> Self {
        let managements = cluster.nodes.iter().filter(|node| node.role == Role::Management);
        let sockets: Arc<Vec<PathBuf>> =
            Arc::new(managements.map(|node| node.admin_socket.clone()).collect());
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let tasks = (0..WRITERS)
            .map(|writer| {
                let (sockets, count, stopped) =
                    (Arc::clone(&sockets), Arc::clone(&acknowledged), stopped.clone());
                runtime().spawn(async move { write(writer, &sockets, &count, enough, &stopped).await })
            })
            .collect();
        Writers { acknowledged, stop, tasks }
    }

    /// How many changes were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Lets every writer finish the change that it is at, and gives the labels of all acknowledged changes.
    pub(crate) fn finish(self) -> BTreeSet<String> {
        self.stop.send_replace(true);
        runtime().block_on(async {
            let mut all = BTreeSet::new();
            for task in self.tasks {
                all.extend(task.await.expect("a writer goes on whatever happens"));
            }
            all
        })
    }
}

async fn write(
    writer: usize,
    sockets: &[PathBuf],
    count: &AtomicUsize,
    enough: usize,
    stopped: &tokio::sync::watch::Receiver<bool>,
) -> BTreeSet<String> {
    let clients: Vec<_> = sockets.iter().map(|socket| admin_client(channel(socket))).collect();
    let mut done = BTreeSet::new();
    let mut at = writer;
    // The list of tokens is bounded: once there are enough, a slow trickle goes on under the last kills.
    while !*stopped.borrow() {
        if count.load(Ordering::SeqCst) >= enough * 2 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let label = format!("{PREFIX}{writer}-{}", done.len());
        let message = CreateTokenRequest {
            label: label.clone(),
            ttl_seconds: 24 * 3600,
            request_id: rand::random::<[u8; 16]>().to_vec(),
            ..Default::default()
        };
        loop {
            let mut client = clients[at % clients.len()].clone();
            let answer =
                tokio::time::timeout(DEADLINE, client.create_token(request(message.clone(), DEADLINE))).await;
            if matches!(answer, Ok(Ok(_))) {
                break;
            }
            // Killed, without a leader, or unknown whether it was done: the same request to the next node.
            at += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        done.insert(label);
        count.fetch_add(1, Ordering::SeqCst);
    }
    done
}
