//! A constant stream of changes, made by clients that count what fails.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use quorate_proto::v1::CreateTokenRequest;
use tokio::task::JoinHandle;

use crate::{
    Failure, Node, Result,
    client::{admin_client, channel, request, runtime, stable_code},
};

/// How long one change may take: as long as a node tries by itself.
const DEADLINE: Duration = Duration::from_secs(11);
/// Between two changes of one client: a stream, not a flood.
const PAUSE: Duration = Duration::from_millis(4);

/// Clients that make changes until they are told to stop.
pub struct Changes {
    end: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Made>>,
}

/// What they did.
#[derive(Debug, Default)]
pub struct Made {
    /// When each acknowledged change was acknowledged, in order of time.
    pub acknowledged: Vec<Instant>,
    /// What was said of those that failed.
    pub failed: Vec<String>,
}

impl Changes {
    /// Two clients at each of these nodes' administrator sockets.
    pub fn start<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let sockets = nodes.into_iter().flat_map(|node| vec![node.admin_socket.clone(); 2]);
        let clients = sockets.map(|socket| runtime().spawn(make(socket, end.clone()))).collect();
        Changes { end, clients }
    }

    /// Ends them and tells what they did.
    ///
    /// # Errors
    /// A client panicked.
    pub fn finish(self) -> Result<Made> {
        self.end.store(true, Ordering::Relaxed);
        let mut all = Made::default();
        for client in self.clients {
            let made = runtime().block_on(client).map_err(|cause| Failure::wrong(cause.to_string()))?;
            all.acknowledged.extend(made.acknowledged);
            all.failed.extend(made.failed);
        }
        all.acknowledged.sort();
        Ok(all)
    }
}

impl Made {
    /// The longest time without an acknowledged change.
    pub fn longest_gap(&self) -> Duration {
        let gaps = self.acknowledged.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0]));
        gaps.max().unwrap_or(Duration::MAX)
    }
}

async fn make(socket: PathBuf, end: Arc<AtomicBool>) -> Made {
    let mut client = admin_client(channel(&socket));
    let mut made = Made::default();
    while !end.load(Ordering::Relaxed) {
        let message = CreateTokenRequest {
            label: "stream".to_owned(),
            ttl_seconds: 3600,
            request_id: rand::random::<[u8; 16]>().to_vec(),
            ..Default::default()
        };
        match client.create_token(request(message, DEADLINE)).await {
            Ok(_) => made.acknowledged.push(Instant::now()),
            Err(status) => {
                let code = stable_code(&status).unwrap_or_else(|| format!("{:?}", status.code()));
                made.failed.push(format!("{code}: {}", status.message()));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    made
}
