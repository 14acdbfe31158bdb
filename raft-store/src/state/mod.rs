//! The replicated state: what every node agrees on. Changed by apply alone.
//!
//! All maps are ordered and every row has one encoding, so the same log gives the same bytes on
//! every node; a digest of them is compared.

mod activation;
mod audit;
mod authority;
mod change;
mod cluster;
mod history;
mod license;
mod node;
mod pending_join;
mod reactivation;
pub(crate) mod request;
mod start;
mod table;
mod time;
mod token;
mod tombstone;

use quorate_license::{NodeId, NodeName, Nonce, TenantId, Timestamp};

pub use activation::{Activation, ActivationState, Method};
pub use audit::{AuditAnchor, AuditRecord};
pub use authority::{CaFingerprint, CaPhase, CaRotation, NextCa, NodeCertificate, PreviousCa};
pub(crate) use change::{CHANGES_LEVEL, keep_change, standings};
pub use change::{ChangedLicense, LicenseChange};
pub use cluster::{Clock, Cluster, Policy};
pub(crate) use history::remember;
pub use history::{HistoricLicense, HistoricNode, LicenseHistoryEntry};
pub use license::{InstalledBinding, InstalledLicense};
pub use node::{Addresses, HostReport, Node};
pub use pending_join::{JoinDecision, PendingJoin};
pub(crate) use reactivation::refresh_reactivation;
pub use request::AnsweredRequest;
pub use start::{NodeStart, ParseStartIdError, StartId};
pub use table::{AnyTable, Change, Key, Only, Table};
pub use time::{AgreedTime, ClockOffset, HELD_FOR_MS, HeldJump, JUMP_MS, SAME_CLOCK_MS};
pub(crate) use time::{Reading, judge};
pub use token::{Token, TokenId, TokenPurpose, TokenState};
pub(crate) use tombstone::bury;
pub use tombstone::{RemovalReason, Tombstone};

use crate::{codec::CodecError, proposal::RequestId};

/// The replicated state of one cluster.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) cluster: Table<Only, Cluster>,
    pub(crate) clock: Table<Only, Clock>,
    pub(crate) nodes: Table<NodeId, Node>,
    pub(crate) tokens: Table<TokenId, Token>,
    pub(crate) activations: Table<Nonce, Activation>,
    pub(crate) binding: Table<Only, InstalledBinding>,
    pub(crate) licenses: Table<TenantId, InstalledLicense>,
    pub(crate) requests: Table<RequestId, AnsweredRequest>,
    pub(crate) request_order: Table<u64, RequestId>,
    pub(crate) tombstones: Table<NodeId, Tombstone>,
    pub(crate) starts: Table<NodeId, NodeStart>,
    pub(crate) ca_rotation: Table<Only, CaRotation>,
    pub(crate) certificates: Table<NodeId, NodeCertificate>,
    pub(crate) pending_joins: Table<TokenId, PendingJoin>,
    pub(crate) audit: Table<u64, AuditRecord>,
    pub(crate) audit_anchor: Table<Only, AuditAnchor>,
    pub(crate) license_history: Table<u64, LicenseHistoryEntry>,
    pub(crate) agreed_time: Table<Only, AgreedTime>,
    pub(crate) license_changes: Table<u64, LicenseChange>,
}

impl Default for State {
    fn default() -> Self {
        // The tags are the tables' names on disk: never change or reuse one.
        State {
            cluster: Table::new(1),
            clock: Table::new(2),
            nodes: Table::new(3),
            tokens: Table::new(4),
            activations: Table::new(5),
            binding: Table::new(6),
            licenses: Table::new(7),
            requests: Table::new(8),
            request_order: Table::new(9),
            tombstones: Table::new(10),
            starts: Table::new(11),
            ca_rotation: Table::new(20),
            certificates: Table::new(21),
            pending_joins: Table::new(22),
            audit: Table::new(23),
            audit_anchor: Table::new(24),
            license_history: Table::new(25),
            agreed_time: Table::new(26),
            license_changes: Table::new(27),
        }
    }
}

impl State {
    /// The cluster's own row; none before it is initialized.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.get(&Only)
    }

    /// Whether every member reads this feature level.
    pub(crate) fn reads(&self, level: u32) -> bool {
        self.cluster().is_some_and(|cluster| cluster.feature_level >= level)
    }

    /// The cluster's time: the latest that apply has seen.
    pub fn time(&self) -> Timestamp {
        self.clock.get(&Only).map_or(Timestamp::ZERO, |clock| clock.time)
    }

    /// What the clocks of the nodes said when the cluster agreed on its time last; none before feature level 4.
    pub fn agreed_time(&self) -> Option<&AgreedTime> {
        self.agreed_time.get(&Only)
    }

    /// The members by id.
    pub fn nodes(&self) -> &Table<NodeId, Node> {
        &self.nodes
    }

    /// The member of this name.
    pub fn node_named(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.values().find(|node| node.name == *name)
    }

    /// Nodes that were taken out, by id; the oldest are forgotten.
    pub fn tombstones(&self) -> &Table<NodeId, Tombstone> {
        &self.tombstones
    }

    /// Where a node is reached, or was when it was taken out: what it has to hear of its end still goes there.
    pub fn addresses_of(&self, node: NodeId) -> Option<&Addresses> {
        let member = self.nodes.get(&node).map(|node| &node.addresses);
        member.or_else(|| self.tombstones.get(&node).map(|gone| &gone.addresses))
    }

    /// The last start that each member has reported.
    pub fn starts(&self) -> &Table<NodeId, NodeStart> {
        &self.starts
    }

    /// Whether the id was given to a node that is a member no more. True even when its tombstone is
    /// forgotten; false for an id that this state has not seen given yet.
    pub fn is_gone(&self, node: NodeId) -> bool {
        let given = self.cluster().is_some_and(|cluster| {
            node.epoch_number() == cluster.epoch.number && node.index() < cluster.next_node_index
        });
        given && self.nodes.get(&node).is_none()
    }

    /// Requests to join that an administrator decides on, by the token that was shown.
    pub fn pending_joins(&self) -> &Table<TokenId, PendingJoin> {
        &self.pending_joins
    }

    /// Join tokens and administrators' tokens.
    pub fn tokens(&self) -> &Table<TokenId, Token> {
        &self.tokens
    }

    /// Activations, open and closed.
    pub fn activations(&self) -> &Table<Nonce, Activation> {
        &self.activations
    }

    /// The activation that is under way, if one is.
    pub fn open_activation(&self) -> Option<&Activation> {
        self.activations.values().find(|activation| activation.is_open())
    }

    /// The installation's binding.
    pub fn binding(&self) -> Option<&InstalledBinding> {
        self.binding.get(&Only)
    }

    /// The current license of each tenant.
    pub fn licenses(&self) -> &Table<TenantId, InstalledLicense> {
        &self.licenses
    }

    /// What was asked for and what came of it, by number: the newest records.
    pub fn audit(&self) -> &Table<u64, AuditRecord> {
        &self.audit
    }

    /// What the first record of the audit that is still kept follows on.
    pub fn audit_anchor(&self) -> AuditAnchor {
        self.audit_anchor.get(&Only).copied().unwrap_or_default()
    }

    /// What each answer of the portal brought, by the binding's serial; the oldest are forgotten.
    pub fn license_history(&self) -> &Table<u64, LicenseHistoryEntry> {
        &self.license_history
    }

    /// Every change of what licenses are worth, by the log entry that made it; the oldest are forgotten. Kept from
    /// feature level 5 on.
    pub fn license_changes(&self) -> &Table<u64, LicenseChange> {
        &self.license_changes
    }

    /// The answer that a request got before, while it is remembered.
    pub fn answered(&self, request: RequestId) -> Option<&AnsweredRequest> {
        self.requests.get(&request)
    }

    /// A copy for readers: all but the remembered requests, which apply alone looks at.
    ///
    /// What readers hold is copied when apply changes it, piece by piece. The keys of requests are random, so nearly
    /// every change would copy a piece of its own, for nobody.
    pub fn for_readers(&self) -> State {
        let none = State::default();
        State { requests: none.requests, request_order: none.request_order, ..self.clone() }
    }

    /// How many rows there are, in all tables: what a snapshot has to write.
    pub fn row_count(&self) -> u64 {
        self.tables().iter().map(|table| table.count() as u64).sum()
    }

    /// All tables, in the order of their tags.
    pub fn tables(&self) -> [&dyn AnyTable; 19] {
        [
            &self.cluster,
            &self.clock,
            &self.nodes,
            &self.tokens,
            &self.activations,
            &self.binding,
            &self.licenses,
            &self.requests,
            &self.request_order,
            &self.tombstones,
            &self.starts,
            &self.ca_rotation,
            &self.certificates,
            &self.pending_joins,
            &self.audit,
            &self.audit_anchor,
            &self.license_history,
            &self.agreed_time,
            &self.license_changes,
        ]
    }

    fn tables_mut(&mut self) -> [&mut dyn AnyTable; 19] {
        [
            &mut self.cluster,
            &mut self.clock,
            &mut self.nodes,
            &mut self.tokens,
            &mut self.activations,
            &mut self.binding,
            &mut self.licenses,
            &mut self.requests,
            &mut self.request_order,
            &mut self.tombstones,
            &mut self.starts,
            &mut self.ca_rotation,
            &mut self.certificates,
            &mut self.pending_joins,
            &mut self.audit,
            &mut self.audit_anchor,
            &mut self.license_history,
            &mut self.agreed_time,
            &mut self.license_changes,
        ]
    }

    /// Reads one row, tag and key in front.
    ///
    /// # Errors
    /// If no table has this tag, or the row is damaged.
    pub fn load(&mut self, key: &[u8], row: &[u8]) -> Result<(), CodecError> {
        let (&tag, key) = key.split_first().ok_or(CodecError::Empty)?;
        match self.tables_mut().into_iter().find(|table| table.tag() == tag) {
            Some(table) => table.load(key, row),
            None => Err(CodecError::Damaged(format!("no table has the tag {tag}"))),
        }
    }

    /// What was changed since the last call.
    ///
    /// # Errors
    /// If a row can't be encoded, which no row type gives.
    pub fn take_changes(&mut self) -> Result<Vec<Change>, CodecError> {
        let mut changes = Vec::new();
        for table in self.tables_mut() {
            table.take_changes(&mut changes)?;
        }
        Ok(changes)
    }
}
