//! A replica that commands are applied to, and the bytes of its state.

use std::collections::BTreeMap;

use quorate_license::{ActivationKind, Timestamp};
use quorate_raft_store::{
    Answer, Applier, Command, Digest, Outcome, Proposal, Refusal, RequestId, State,
    audit::AskedBy,
    codec,
    command::{InitCluster, RaiseFeatureLevel, ReportNode, Tick},
    state::{Cluster, Method, Node, Policy},
};

use crate::sample;

/// The tables that every entry may change: clock, remembered requests and their order, the audit and its anchor.
pub(crate) const BOOKKEEPING: [u8; 5] = [2, 8, 9, 23, 24];

/// Every row of a state, by tag and key.
pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) fn rows(state: &State) -> Rows {
    let mut rows = Rows::new();
    for table in state.tables() {
        let mut each = |key, row| assert_eq!(rows.insert(key, row), None, "one row per key");
        table.rows(&mut each).unwrap();
    }
    rows
}

/// The digest, computed anew from all rows.
pub(crate) fn digest(rows: &Rows) -> Digest {
    let mut digest = Digest::default();
    rows.iter().for_each(|(key, row)| digest.add(key, row));
    digest
}

/// The state of these rows, as a node reads them when it starts.
pub(crate) fn load(rows: &Rows) -> State {
    let mut state = State::default();
    rows.iter().for_each(|(key, row)| state.load(key, row).unwrap());
    state
}

/// An applier with the time and the index of its next entry.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) applier: Applier,
    pub(crate) now: Timestamp,
    /// Who asks for what is applied next.
    pub(crate) asked_by: Option<AskedBy>,
    index: u64,
}

impl Replica {
    /// Nothing was applied yet.
    pub(crate) fn empty() -> Self {
        Replica { applier: Applier::default(), now: sample::start(), asked_by: None, index: 0 }
    }

    /// An initialized cluster with its first node.
    pub(crate) fn initialized_by(init: InitCluster) -> Self {
        let mut replica = Replica::empty();
        replica.accept(Command::InitCluster(init));
        replica
    }

    /// An initialized cluster with the nodes 1 to `nodes`.
    pub(crate) fn with_nodes(nodes: u8) -> Self {
        let mut replica = Replica::initialized_by(sample::init());
        replica.join_up_to(nodes);
        replica
    }

    /// A cluster with the nodes 1 to `nodes`, activated for the first time with nonce 1 and serial 1.
    pub(crate) fn activated(nodes: u8) -> Self {
        let mut replica = Replica::with_nodes(nodes);
        replica.request(1, ActivationKind::Activate, Method::Online);
        replica.accept(Command::InstallLicense(sample::install(1, nodes, 1)));
        replica
    }

    /// The nodes that are not there yet join, up to this one, each with a token of its own.
    pub(crate) fn join_up_to(&mut self, nodes: u8) {
        for index in self.nodes() + 1..=nodes {
            let token = sample::join_token(sample::token_of(index), sample::role(index));
            self.accept(Command::CreateToken(token));
            self.accept(Command::AdmitNode(sample::admit(index)));
        }
    }

    /// Opens an activation and records its request.
    pub(crate) fn request(&mut self, nonce: u8, kind: ActivationKind, method: Method) {
        self.begin(nonce, kind, method);
        self.accept(Command::RecordRequest(sample::record(nonce)));
    }

    /// Opens an activation.
    pub(crate) fn begin(&mut self, nonce: u8, kind: ActivationKind, method: Method) {
        let begin = sample::begin(nonce, kind, method, self.nodes());
        self.accept(Command::BeginActivation(begin));
    }

    /// Another policy, put in place as no command can.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        let mut rows = self.rows();
        let cluster = Cluster { policy, ..self.state().cluster().unwrap().clone() };
        rows.insert(vec![1], codec::encode(&cluster).unwrap());
        self.applier = Applier::resume(load(&rows), digest(&rows));
    }

    /// Another first license node, put in place as no command can.
    pub(crate) fn set_first_license_node(&mut self, index: u8) {
        let mut rows = self.rows();
        let first_license_node = sample::node_id(index);
        let cluster = Cluster { first_license_node, ..self.state().cluster().unwrap().clone() };
        rows.insert(vec![1], codec::encode(&cluster).unwrap());
        self.applier = Applier::resume(load(&rows), digest(&rows));
    }

    /// All members are updated, and the feature level is raised.
    pub(crate) fn raise_level(&mut self, level: u32) {
        let nodes: Vec<Node> = self.state().nodes().values().cloned().collect();
        for node in nodes {
            let index = u8::try_from(node.id.index()).unwrap();
            let start_counter = node.start_counter.max(1);
            let report = ReportNode {
                feature_level: level,
                start_counter,
                build: node.build,
                ..sample::report(index)
            };
            self.accept(Command::ReportNode(report));
        }
        self.accept(Command::RaiseFeatureLevel(RaiseFeatureLevel { level }));
    }

    /// The index of the newest member.
    pub(crate) fn highest(&self) -> u8 {
        let last = self.state().nodes().values().last().unwrap();
        u8::try_from(last.id.index()).unwrap()
    }

    fn nodes(&self) -> u8 {
        u8::try_from(self.state().nodes().len()).unwrap()
    }

    /// Goes on as if this many entries without a proposal had been applied.
    pub(crate) fn skip(&mut self, entries: u64) {
        self.index += entries;
    }

    /// The index of the last applied entry, which is also the id of its request.
    pub(crate) fn last_index(&self) -> u64 {
        self.index
    }

    pub(crate) fn state(&self) -> &State {
        self.applier.state()
    }

    pub(crate) fn rows(&self) -> Rows {
        rows(self.state())
    }

    /// The rows without those that every entry may change.
    pub(crate) fn domain_rows(&self) -> Rows {
        self.rows().into_iter().filter(|(key, _)| !BOOKKEEPING.contains(&key[0])).collect()
    }

    /// Applies a proposal as the next entry.
    pub(crate) fn apply(&mut self, proposal: &Proposal) -> Answer {
        self.index += 1;
        self.applier.apply(self.index, &proposal.encode().unwrap()).unwrap()
    }

    /// Applies a command under a request id of its own.
    pub(crate) fn run(&mut self, command: Command) -> Result<Outcome, Refusal> {
        let request = RequestId(u128::from(self.index) + 1);
        self.apply(&Proposal { request, time: self.now, asked_by: self.asked_by.clone(), command }).result
    }

    /// As `run`, and a refused command has changed nothing.
    pub(crate) fn decide(&mut self, command: Command) -> Result<Outcome, Refusal> {
        let before = self.domain_rows();
        let result = self.run(command);
        if let Err(refusal) = &result {
            let after = self.domain_rows();
            assert_eq!(digest(&after), digest(&before), "{refusal:?} has changed the state");
            assert_eq!(after, before, "{refusal:?} has changed the state");
        }
        result
    }

    /// Applies a command that is not refused.
    pub(crate) fn accept(&mut self, command: Command) -> Outcome {
        let name = command.name();
        self.run(command).unwrap_or_else(|refusal| panic!("{name}: {refusal}"))
    }

    /// Lets the cluster's time pass to `now`.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.now = now;
        self.accept(Command::Tick(Tick {}));
    }
}
