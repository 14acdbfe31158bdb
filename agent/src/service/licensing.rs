//! What the license is worth now, and whether the product may: answered from memory.
//!
//! ```text
//! View (replicated rows) ─┐
//! trust roots ────────────┼─> status, check     no quorum, no portal, no disk
//! time ───────────────────┘
//! ```
//!
//! A token counts only if this node's own trust roots verify it; that is done once per installed row. A
//! status is kept until the next applied entry, for a second at most, because comparing hundreds of nodes
//! with the binding costs more than a `Check` should.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use quorate_license::{
    CheckInput, CheckReason, Claims, Decision, Ending, FeatureName, InvalidReason, LicenseStatus, NodeId,
    Nonce, Quantity, RegisteredNode, Serial, Signed, StatusInput, StatusReport, TenantId, Timestamp,
    TokenError, TrustRoots,
};
use quorate_raft_store::{
    State, View, Views,
    state::{InstalledBinding, InstalledLicense, Node},
};

use tokio::sync::watch;

use crate::{clock::ClusterClock, cluster::Expelled, host::HostComputer};

/// How long a status is kept while no entry is applied, in milliseconds.
const KEEP_MS: i64 = 1000;

/// Answers what the licenses are worth on this node. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Licensing {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    views: Arc<Views>,
    clock: ClusterClock,
    node: NodeId,
    roots: Arc<TrustRoots>,
    /// Which computer this node is on, if somebody looks.
    computer: Option<Arc<HostComputer>>,
    /// What the cluster says of this node, if somebody listens.
    standing: OnceLock<watch::Receiver<Option<Arc<Expelled>>>>,
    known: RwLock<HashMap<TenantId, Arc<Known>>>,
}

/// One tenant's status as of one applied entry.
#[derive(Debug)]
struct Known {
    rows: Rows,
    refusal: Option<TokenError>,
    applied_index: u64,
    at: Timestamp,
    report: StatusReport,
}

/// Which rows are installed: a row that replaces another one has another identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    license: Option<RowIdentity>,
    binding: Option<RowIdentity>,
}

type RowIdentity = (Nonce, Serial, Timestamp);

/// A tenant's license, and what it is worth, at one time.
#[derive(Debug, Clone)]
pub struct Standing {
    tenant: TenantId,
    node: NodeId,
    view: Arc<View>,
    known: Arc<Known>,
}

/// The answer to the product's `Check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it may, why, and for how long.
    pub decision: Decision,
    /// The reason in words.
    pub message: String,
    /// Name of the license status.
    pub status: &'static str,
    /// How much of the feature the license holds; `None` if it doesn't, or without limit.
    pub licensed_quantity: Option<u64>,
    /// Serial of the license that the answer rests on; 0 without one.
    pub serial: Serial,
}

impl Licensing {
    /// Answers for `node` from `views`, trusting what `roots` verify.
    pub fn new(views: Arc<Views>, node: NodeId, roots: Arc<TrustRoots>) -> Self {
        let clock = ClusterClock::new(views.clone());
        let shared = Shared {
            views,
            clock,
            node,
            roots,
            computer: None,
            standing: OnceLock::new(),
            known: RwLock::default(),
        };
        Licensing { shared: Arc::new(shared) }
    }

    /// The same on a host whose computer is looked at: while it is another one than the cluster has registered, this
    /// node is judged as one that is not bound.
    pub fn on_computer(
        views: Arc<Views>,
        clock: ClusterClock,
        node: NodeId,
        roots: Arc<TrustRoots>,
        computer: Arc<HostComputer>,
    ) -> Self {
        let computer = Some(computer);
        let (standing, known) = (OnceLock::new(), RwLock::default());
        let shared = Shared { views, clock, node, roots, computer, standing, known };
        Licensing { shared: Arc::new(shared) }
    }

    /// The time by which licenses are judged here.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.judging_time()
    }

    /// From now on also hears what other nodes say of this one, which may be earlier than its own log. Called once.
    pub fn listen(&self, standing: watch::Receiver<Option<Arc<Expelled>>>) {
        // A process is in one cluster: a second one is the same.
        let _ = self.shared.standing.set(standing);
    }

    /// The views that it answers from.
    pub fn views(&self) -> &Arc<Views> {
        &self.shared.views
    }

    /// The root keys that this node trusts.
    pub fn roots(&self) -> &Arc<TrustRoots> {
        &self.shared.roots
    }

    /// What the tenant's license is worth now.
    pub fn status(&self, tenant: &TenantId) -> Standing {
        self.status_in(tenant, self.shared.views.current())
    }

    /// What the tenant's license in this view is worth now.
    pub fn status_in(&self, tenant: &TenantId, view: Arc<View>) -> Standing {
        let now = self.now();
        self.standing(tenant, view, now)
    }

    /// Whether the tenant may use `quantity` of `feature` on this node now; without a feature, whether
    /// the product may run at all.
    pub fn check(&self, tenant: &TenantId, feature: Option<&FeatureName>, quantity: u64) -> Answer {
        let view = self.shared.views.current();
        let now = self.now();
        self.standing(tenant, view, now).check(self.shared.node, feature, quantity, now)
    }

    /// Whether this node was taken out of the cluster, by its own log or by what another node has told it.
    pub fn is_removed(&self, state: &State) -> bool {
        let told = |standing: &watch::Receiver<Option<Arc<Expelled>>>| {
            standing.borrow().as_ref().is_some_and(|expelled| expelled.is_removed())
        };
        state.is_gone(self.shared.node) || self.shared.standing.get().is_some_and(told)
    }

    fn standing(&self, tenant: &TenantId, view: Arc<View>, now: Timestamp) -> Standing {
        let known = self.known(tenant);
        let fresh = |known: &Known| {
            known.applied_index == view.applied_index() && (0..KEEP_MS).contains(&now.ms_since(known.at))
        };
        let known = match known {
            Some(known) if fresh(&known) => known,
            before => self.evaluate(tenant, &view, now, before.as_deref()),
        };
        Standing { tenant: tenant.clone(), node: self.shared.node, view, known }
    }

    fn known(&self, tenant: &TenantId) -> Option<Arc<Known>> {
        self.shared.known.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    fn evaluate(&self, tenant: &TenantId, view: &View, now: Timestamp, before: Option<&Known>) -> Arc<Known> {
        let state = &view.state;
        let (license, binding) = (state.licenses().get(tenant), state.binding());
        let rows = Rows::of(license, binding);
        let refusal = match before {
            Some(before) if before.rows == rows => before.refusal.clone(),
            _ => self.verify(tenant, license, binding),
        };
        let known = Arc::new(Known {
            report: self.report(state, license, binding.filter(|_| refusal.is_none()), now),
            rows,
            refusal,
            applied_index: view.applied_index(),
            at: now,
        });
        // Somebody may ask for any number of tenants that there are not.
        if rows.license.is_some() {
            let mut all = self.shared.known.write().unwrap_or_else(PoisonError::into_inner);
            all.insert(tenant.clone(), known.clone());
        }
        known
    }

    /// The status by the replicated rows. A license without a binding that is trusted is invalid.
    fn report(
        &self,
        state: &State,
        license: Option<&InstalledLicense>,
        binding: Option<&InstalledBinding>,
        now: Timestamp,
    ) -> StatusReport {
        if self.is_removed(state) {
            return quorate_license::of_removed_node();
        }
        let mut nodes: Vec<RegisteredNode> = match license {
            Some(_) => state.nodes().values().map(Node::registered).collect(),
            None => Vec::new(),
        };
        // A computer that nobody has accepted is none that was bound: it has the time of a new node.
        if let Some(changed) = self.shared.computer.as_ref().and_then(|computer| computer.changed())
            && let Some(own) = nodes.iter_mut().find(|node| node.id == self.shared.node)
            && own.computer_id == changed.registered
        {
            own.computer_id = changed.found;
            own.joined_at = own.joined_at.max(changed.since);
        }
        let (cluster, binding) = (state.cluster(), binding.map(|installed| &installed.binding.claims));
        quorate_license::evaluate(&StatusInput {
            license: license.map(|installed| &installed.license.claims),
            binding,
            nodes: &nodes,
            scope: cluster.map(|cluster| cluster.policy.integrity_scope).unwrap_or_default(),
            // A restored or recovered cluster lives in another epoch than the one that was activated.
            restored: matches!((cluster, binding), (Some(cluster), Some(binding)) if cluster.epoch != binding.epoch),
            reactivation_required_since: license.and_then(|installed| installed.reactivation_required_since),
            now,
        })
    }

    /// Why the tenant's license can't be trusted here, if it can't.
    fn verify(
        &self,
        tenant: &TenantId,
        license: Option<&InstalledLicense>,
        binding: Option<&InstalledBinding>,
    ) -> Option<TokenError> {
        let refusal = license
            .and_then(|installed| self.refuse(&installed.license))
            .or_else(|| binding.and_then(|installed| self.refuse(&installed.binding)));
        if let Some(refusal) = &refusal {
            tracing::error!(%tenant, error = %refusal, "the installed license is not trusted by this node");
        }
        refusal
    }

    /// Why a stored token isn't good for the claims that are stored with it, if it isn't.
    fn refuse<T: Claims + PartialEq>(&self, stored: &Signed<T>) -> Option<TokenError> {
        match self.shared.roots.verify::<T>(&stored.token) {
            Ok(verified) if verified.claims == stored.claims => None,
            Ok(_) => Some(TokenError::Claims {
                what: T::WHAT,
                reason: "what is stored of it differs from what is signed".to_owned(),
            }),
            Err(refusal) => Some(refusal),
        }
    }
}

impl Rows {
    pub(crate) fn of(license: Option<&InstalledLicense>, binding: Option<&InstalledBinding>) -> Self {
        let of_license = |installed: &InstalledLicense| {
            (installed.license.claims.nonce, installed.license.claims.serial, installed.installed_at)
        };
        let of_binding = |installed: &InstalledBinding| {
            (installed.binding.claims.nonce, installed.binding.claims.serial, installed.installed_at)
        };
        Rows { license: license.map(of_license), binding: binding.map(of_binding) }
    }
}

impl Standing {
    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The status, days left and next step.
    pub fn report(&self) -> &StatusReport {
        &self.known.report
    }

    /// What of it ends within 30 days, the soonest first.
    pub fn endings(&self) -> Vec<Ending> {
        let license = self.license().map(|installed| &installed.license.claims);
        quorate_license::endings(self.report(), license, self.known.at)
    }

    /// Why this node doesn't trust the installed tokens, if it doesn't: the status is then `Invalid`.
    pub fn refusal(&self) -> Option<&TokenError> {
        self.known.refusal.as_ref()
    }

    /// The installed license, if there is one.
    pub fn license(&self) -> Option<&InstalledLicense> {
        self.view.state.licenses().get(&self.tenant)
    }

    /// The installation's binding, if there is one.
    pub fn binding(&self) -> Option<&InstalledBinding> {
        self.view.state.binding()
    }

    /// The view that all of it comes from.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The node that judges.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Whether the product may run on this node at all.
    pub fn is_allowed(&self) -> bool {
        self.check(self.node, None, 0, self.known.at).decision.allowed
    }

    /// On which nodes `Check` refuses whatever is asked, and why. On this node, too, if it isn't a member any more.
    pub fn refused(&self) -> Vec<(NodeId, CheckReason)> {
        let members = self.view.state.nodes();
        let gone = Some(self.node).filter(|own| members.get(own).is_none());
        let refused = |node: NodeId| {
            let decision = self.check(node, None, 0, self.known.at).decision;
            (!decision.allowed).then_some((node, decision.reason))
        };
        members.iter().map(|(id, _)| *id).chain(gone).filter_map(refused).collect()
    }

    /// What is wrong and what to do now, in words; empty if all is well.
    pub fn next_step(&self) -> String {
        match self.refusal() {
            Some(refusal) => refusal.to_string(),
            None => self.known.report.next_step.text().to_owned(),
        }
    }

    fn check(&self, node: NodeId, feature: Option<&FeatureName>, quantity: u64, now: Timestamp) -> Answer {
        let license = self.license().map(|installed| &installed.license.claims);
        let report = self.report();
        let decision = quorate_license::check(&CheckInput { report, license, node, feature, quantity, now });
        let held = feature.and_then(|feature| license?.entitlement(feature)).map(|held| held.quantity);
        Answer {
            message: self.message(&decision),
            decision,
            status: report.status.as_str(),
            licensed_quantity: match held {
                Some(Quantity::Limited(limit)) => Some(limit),
                Some(Quantity::Unlimited) | None => None,
            },
            serial: license.map(|license| license.serial).unwrap_or_default(),
        }
    }

    fn message(&self, decision: &Decision) -> String {
        match (&decision.reason, self.refusal(), &self.report().status) {
            (CheckReason::Invalid, Some(refusal), _) => refusal.to_string(),
            (
                CheckReason::NotYetValid,
                _,
                LicenseStatus::Invalid { reason: InvalidReason::NotYetValid { not_before } },
            ) => {
                format!("{}; it begins at {not_before}", decision.reason)
            }
            (reason, _, _) => reason.to_string(),
        }
    }
}

#[cfg(test)]
#[path = "licensing_samples.rs"]
pub(crate) mod samples;

#[cfg(test)]
#[path = "licensing_tests.rs"]
mod tests;
