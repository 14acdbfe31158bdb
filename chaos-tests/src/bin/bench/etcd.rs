//! The yardstick: Debian's etcd as a cluster of three, asked over gRPC.
//!
//! The few messages that are needed are written down here, with the numbers of etcd's `rpc.proto`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_chaos_tests::{
    Failure, Network, Result,
    client::runtime,
    files,
    process::{Process, Start},
    wait::{self, PATIENCE, Seen},
};
use tonic::{
    Request, Status,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    failover::Client,
    load::{self, Sample},
    ours::{CONNECTIONS, FILLERS},
};

const NODES: u8 = 3;

/// About what a token's record has.
const VALUE_BYTES: usize = 128;

/// A key that is read.
const READ_KEY: &[u8] = b"license/default";

/// A running cluster.
pub(crate) struct Etcd {
    leader: SocketAddr,
    follower: SocketAddr,
    pub(crate) processes: Vec<Process>,
    clients: Vec<SocketAddr>,
    hosts: Vec<Ipv4Addr>,
    members: String,
    folder: PathBuf,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    /// Answered by the node that is asked, without the others.
    #[prost(bool, tag = "7")]
    serializable: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

impl Etcd {
    /// Starts three nodes in this network and waits for a leader.
    pub(crate) fn start(network: &Network, folder: &Path) -> Result<Self> {
        files::make_folder(folder)?;
        let hosts: Vec<Ipv4Addr> = (1..=NODES).map(|number| network.host(150 + number)).collect();
        let members: Vec<String> =
            hosts.iter().enumerate().map(|(index, host)| format!("e{index}=http://{host}:2380")).collect();
        let processes = hosts
            .iter()
            .enumerate()
            .map(|(index, host)| Self::node(index, *host, &members.join(","), folder))
            .collect::<Result<Vec<_>>>()?;
        let clients: Vec<SocketAddr> = hosts.iter().map(|host| SocketAddr::from((*host, 2379))).collect();
        let leader = clients[leader_among(&clients)?];
        let follower = clients.iter().copied().find(|address| *address != leader).unwrap_or(leader);
        let (members, folder) = (members.join(","), folder.to_owned());
        let etcd = Etcd { leader, follower, processes, clients, hosts, members, folder };
        let put = PutRequest { key: READ_KEY.to_vec(), value: vec![b'v'; VALUE_BYTES] };
        let channel = etcd.channels(etcd.leader, 1)?.remove(0);
        runtime()
            .block_on(call::<_, PutResponse>(channel, "/etcdserverpb.KV/Put", put))
            .map_err(|status| said(&status))?;
        Ok(etcd)
    }

    /// Changes: each puts a key of its own.
    pub(crate) fn puts(&self, writers: usize, duration: Duration) -> Result<Sample> {
        let channels = self.channels(self.leader, writers)?;
        load::run(
            writers,
            duration,
            u64::MAX,
            |index| channels[index % channels.len()].clone(),
            |channel, number| async move {
                let key = format!("bench/{number:08}").into_bytes();
                let put = PutRequest { key, value: vec![b'v'; VALUE_BYTES] };
                call::<_, PutResponse>(channel, "/etcdserverpb.KV/Put", put).await.map(|_| ())
            },
        )
    }

    /// Puts so many keys.
    pub(crate) fn fill(&self, keys: u64) -> Result<()> {
        let channels = self.channels(self.leader, CONNECTIONS)?;
        let channel = |index: usize| channels[index % channels.len()].clone();
        let for_ever = Duration::from_secs(3600);
        load::run(FILLERS, for_ever, keys, channel, |channel, number| async move {
            let key = format!("object/{number:08}").into_bytes();
            let put = PutRequest { key, value: vec![b'v'; VALUE_BYTES] };
            call::<_, PutResponse>(channel, "/etcdserverpb.KV/Put", put).await.map(|_| ())
        })
        .map(|_| ())
    }

    /// Reads of one key, each answered by a follower alone.
    pub(crate) fn gets(&self, readers: usize, duration: Duration) -> Result<Sample> {
        let channels = self.channels(self.follower, readers)?;
        load::run(
            readers,
            duration,
            u64::MAX,
            |index| channels[index % channels.len()].clone(),
            |channel, _| async move {
                let range = RangeRequest { key: READ_KEY.to_vec(), serializable: true };
                let found: RangeResponse = call(channel, "/etcdserverpb.KV/Range", range).await?;
                let whole = found.kvs.first().is_some_and(|kv| kv.value.len() == VALUE_BYTES);
                if whole { Ok(()) } else { Err(Status::not_found("the key is not there")) }
            },
        )
    }

    /// Process and data directory of a follower.
    pub(crate) fn follower_process(&self) -> (u32, PathBuf) {
        let follower = self.clients.iter().position(|address| *address == self.follower).unwrap_or(0);
        (self.processes[follower].pid(), self.folder.join(format!("e{follower}")))
    }

    /// Which node leads; waits for an election to end.
    pub(crate) fn leader_now(&self) -> Result<usize> {
        leader_among(&self.clients)
    }

    /// Starts a node that has ended.
    pub(crate) fn start_again(&mut self, node: usize) -> Result<()> {
        self.processes[node] = Self::node(node, self.hosts[node], &self.members, &self.folder)?;
        Ok(())
    }

    /// A client that puts a key of its own at this node, again and again.
    pub(crate) fn putting(&self, node: usize) -> Result<Client> {
        let channel = channel(self.clients[node])?;
        let number = AtomicU64::new(0);
        Ok(Arc::new(move |deadline| {
            let key = format!("failover/{node}/{}", number.fetch_add(1, Ordering::Relaxed)).into_bytes();
            let put = PutRequest { key, value: vec![b'v'; VALUE_BYTES] };
            let call = call::<_, PutResponse>(channel.clone(), "/etcdserverpb.KV/Put", put);
            Box::pin(async move {
                let answered = tokio::time::timeout(deadline, call).await;
                answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))).map(|_| ())
            })
        }))
    }

    fn node(index: usize, host: Ipv4Addr, members: &str, folder: &Path) -> Result<Process> {
        let (peer, client) = (format!("http://{host}:2380"), format!("http://{host}:2379"));
        let arguments = [
            format!("--name=e{index}"),
            format!("--data-dir={}", folder.join(format!("e{index}")).display()),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--initial-cluster={members}"),
            "--initial-cluster-state=new".to_owned(),
            "--logger=zap".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        Process::start(&Start {
            name: format!("etcd e{index}"),
            program: "etcd".into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            log: folder.join(format!("e{index}.log")),
            own_group: true,
            ..Start::default()
        })
        .map_err(|failure| Failure::wrong(format!("{failure}; is Debian's package etcd-server installed?")))
    }

    fn channels(&self, address: SocketAddr, clients: usize) -> Result<Vec<Channel>> {
        (0..clients.min(CONNECTIONS)).map(|_| channel(address)).collect()
    }
}

/// Which of these leads; waits for an election to end.
fn leader_among(clients: &[SocketAddr]) -> Result<usize> {
    wait::until("etcd to have a leader", PATIENCE, || {
        let found = clients.iter().position(|address| leads(*address).unwrap_or(false));
        Ok(found.map_or_else(|| Seen::not_yet("none says that it leads"), Seen::Done))
    })
}

fn channel(address: SocketAddr) -> Result<Channel> {
    let _context = runtime().enter();
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|cause| Failure::wrong(format!("etcd's address: {cause}")))?;
    Ok(endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true).connect_lazy())
}

fn leads(address: SocketAddr) -> Result<bool> {
    let asked =
        call::<_, StatusResponse>(channel(address)?, "/etcdserverpb.Maintenance/Status", StatusRequest {});
    let status = runtime().block_on(asked).map_err(|status| said(&status))?;
    Ok(status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader))
}

async fn call<Q, A>(channel: Channel, path: &'static str, message: Q) -> std::result::Result<A, Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|cause| Status::unavailable(cause.to_string()))?;
    let codec = ProstCodec::<Q, A>::default();
    let answer = client.unary(Request::new(message), PathAndQuery::from_static(path), codec).await?;
    Ok(answer.into_inner())
}

fn said(status: &Status) -> Failure {
    Failure::wrong(format!("etcd: {:?}, {}", status.code(), status.message()))
}
