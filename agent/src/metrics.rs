//! Everything that the agent measures: one registry, typed fields, names in one place.
//!
//! The prefix is `quorate_`; where etcd measures the same thing, the rest of the name and the buckets
//! are etcd's, so that its dashboards and alerts carry over.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector, exponential_buckets,
};
use quorate_license::{Ending, EndingKind, LicenseStatus, NodeRole, Serial, TenantId, Timestamp};
use quorate_raft_store::disk::StoreMetrics;

/// Version of the agent, as in `quorate_build_info`.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The agent's metrics. Made once per process and shared.
#[derive(Debug)]
pub struct Metrics {
    /// Where all of them are registered; what `/metrics` shows.
    pub registry: Registry,
    /// The store's own.
    pub store: StoreMetrics,

    /// 1 while this node knows a leader.
    pub server_has_leader: IntGauge,
    /// 1 while this node is the leader.
    pub server_is_leader: IntGauge,
    /// 1 while this node is a learner.
    pub server_is_learner: IntGauge,
    /// Learners that this node has made voters, as the leader.
    pub learner_promote_successes: IntCounter,
    /// Promotions that did not succeed, and were tried again.
    pub learner_promote_failures: IntCounter,
    /// How often the leader has changed, as seen by this node.
    pub leader_changes_seen: IntCounter,
    /// Heartbeats that could not be sent.
    pub heartbeat_send_failures: IntCounter,
    /// Seconds between two words of the leader, as a follower hears them.
    pub leader_silence: Histogram,
    /// How often the agent has started on this data directory; set once by [`Metrics::advance`].
    pub server_starts: IntCounter,
    /// Index of the last committed entry: set by [`Metrics::advance`].
    pub proposals_committed: IntCounter,
    /// Index of the last applied entry: set by [`Metrics::advance`].
    pub proposals_applied: IntCounter,
    /// Entries that the log holds.
    pub log_entries: IntGauge,
    /// Proposals that wait for their outcome here.
    pub proposals_pending: IntGauge,
    /// Proposals that ended without an answer.
    pub proposals_failed: IntCounter,

    /// Linearizable reads that no quorum confirmed, or not in time.
    pub read_indexes_failed: IntCounter,
    /// Linearizable reads that took longer than half a second.
    pub slow_read_indexes: IntCounter,

    /// Members other than this node.
    pub known_peers: IntGauge,
    /// Of these, the ones that this node hears from, while it leads.
    pub active_peers: IntGauge,
    /// Round trips by peer, label `To`: the node's name.
    pub peer_round_trip: HistogramVec,
    /// Messages that could not be sent, label `To`: the node's name.
    pub peer_sent_failures: IntCounterVec,
    /// Bytes sent, label `To`: the node's name.
    pub peer_sent_bytes: IntCounterVec,
    /// Bytes received, label `From`: the node's name.
    pub peer_received_bytes: IntCounterVec,
    /// How long sending a whole snapshot took.
    pub snapshot_send: Histogram,
    /// Snapshots whose sending broke off or was refused.
    pub snapshot_send_failures: IntCounter,
    /// How long receiving a whole snapshot took.
    pub snapshot_receive: Histogram,
    /// Snapshots that were refused or broke off.
    pub snapshot_receive_failures: IntCounter,

    /// Connections that were closed at once, labels `listener`, and `reason`: `full` or `client_full`.
    pub connections_refused: IntCounterVec,
    /// Requests of strangers that were turned away, label `reason`: `requests` or `refusals`.
    pub requests_turned_away: IntCounterVec,
    /// Calls that were refused because of who asked, label `face`.
    pub calls_denied: IntCounterVec,

    /// Index of the last entry whose licenses this node shows.
    pub license_applied_index: IntGauge,
    /// License files and receipts that could not be written.
    pub license_file_write_failures: IntCounter,
    /// The product's open watches.
    pub license_watches: IntGauge,
    /// Answers to the product's `Check`: allowed.
    pub license_checks_allowed: IntCounter,
    /// Answers to the product's `Check`: refused.
    pub license_checks_refused: IntCounter,
    license_expiration: GaugeVec,
    license_state: IntGaugeVec,
    license_allowed: IntGaugeVec,
    license_serial: IntGaugeVec,
    license_ending: IntGaugeVec,

    /// Requests to the License Portal, label `outcome`: `ok`, `refused`, or `failed`.
    pub portal_request_duration: HistogramVec,
    /// Certificates that this node has got in place of older ones.
    pub certificate_rotations: IntCounter,
    certificate_expiration: GaugeVec,
    certificate_files_unusable: IntGaugeVec,
    /// Free bytes of the disk that holds the data directory.
    pub disk_free: IntGauge,
    /// What is wrong with who is who, label `code`.
    pub identity_alarms: IntGaugeVec,
    /// How far each node's clock is ahead of the cluster's time, label `node`: its name.
    pub clock_offset: GaugeVec,
    /// What is wrong with the clocks, label `code`.
    pub time_alarms: IntGaugeVec,
    build_info: IntGaugeVec,
}

impl Metrics {
    /// Makes and registers all of them, those of the process included.
    ///
    /// # Errors
    /// None in practice: if two had the same name, or one a malformed one.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let new = Register(&registry);
        let checks = new.int_counter_vec(
            "quorate_license_checks_total",
            "Answers to the product's question whether a feature may be used.",
            &["result"],
        )?;
        Ok(Metrics {
            store: StoreMetrics::register(&registry)?,
            server_has_leader: new
                .int_gauge("quorate_server_has_leader", "Whether this node knows a leader.")?,
            server_is_leader: new
                .int_gauge("quorate_server_is_leader", "Whether this node is the leader.")?,
            server_is_learner: new
                .int_gauge("quorate_server_is_learner", "Whether this node is a learner.")?,
            learner_promote_successes: new.int_counter(
                "quorate_server_learner_promote_successes_total",
                "Learners that this node has made voters, as the leader.",
            )?,
            learner_promote_failures: new.int_counter(
                "quorate_server_learner_promote_failures_total",
                "Promotions of learners that did not succeed.",
            )?,
            leader_changes_seen: new.int_counter(
                "quorate_server_leader_changes_seen_total",
                "How often the leader has changed, as seen by this node.",
            )?,
            leader_silence: new.histogram(
                "quorate_server_leader_silence_seconds",
                "How long this node heard nothing from the leader, each time that it heard again.",
                exponential_buckets(0.05, 1.5, 14)?,
            )?,
            heartbeat_send_failures: new.int_counter(
                "quorate_server_heartbeat_send_failures_total",
                "Heartbeats that could not be sent.",
            )?,
            server_starts: new
                .int_counter("quorate_server_starts_total", "Starts of the agent on this data directory.")?,
            proposals_committed: new.int_counter(
                "quorate_server_proposals_committed_total",
                "Index of the last committed log entry.",
            )?,
            proposals_applied: new.int_counter(
                "quorate_server_proposals_applied_total",
                "Index of the last applied log entry.",
            )?,
            log_entries: new
                .int_gauge("quorate_server_log_entries", "Entries that this node's log holds.")?,
            proposals_pending: new
                .int_gauge("quorate_server_proposals_pending", "Proposals that wait for their outcome.")?,
            proposals_failed: new.int_counter(
                "quorate_server_proposals_failed_total",
                "Proposals that ended without an answer.",
            )?,
            read_indexes_failed: new.int_counter(
                "quorate_server_read_indexes_failed_total",
                "Linearizable reads that no quorum confirmed in time.",
            )?,
            slow_read_indexes: new.int_counter(
                "quorate_server_slow_read_indexes_total",
                "Linearizable reads that took longer than half a second.",
            )?,
            known_peers: new.int_gauge("quorate_network_known_peers", "Members other than this node.")?,
            active_peers: new
                .int_gauge("quorate_network_active_peers", "Other members that the leader hears from; 0 on nodes that do not lead.")?,
            peer_round_trip: new.histogram_vec(
                "quorate_network_peer_round_trip_time_seconds",
                "Round trips of messages to other members.",
                &["To"],
                exponential_buckets(0.0001, 2.0, 16)?,
            )?,
            peer_sent_failures: new.int_counter_vec(
                "quorate_network_peer_sent_failures_total",
                "Messages to other members that could not be sent.",
                &["To"],
            )?,
            peer_sent_bytes: new.int_counter_vec(
                "quorate_network_peer_sent_bytes_total",
                "Bytes sent to other members, without TLS's own.",
                &["To"],
            )?,
            peer_received_bytes: new.int_counter_vec(
                "quorate_network_peer_received_bytes_total",
                "Bytes received from other members, without TLS's own.",
                &["From"],
            )?,
            snapshot_send: new.histogram(
                "quorate_network_snapshot_send_total_duration_seconds",
                "How long sending a whole snapshot took.",
                exponential_buckets(0.1, 2.0, 10)?,
            )?,
            snapshot_receive: new.histogram(
                "quorate_network_snapshot_receive_total_duration_seconds",
                "How long receiving a whole snapshot took.",
                exponential_buckets(0.1, 2.0, 10)?,
            )?,
            snapshot_send_failures: new.int_counter(
                "quorate_network_snapshot_send_failures_total",
                "Snapshots whose sending broke off or was refused.",
            )?,
            snapshot_receive_failures: new.int_counter(
                "quorate_network_snapshot_receive_failures_total",
                "Snapshots that were refused, or whose transfer broke off.",
            )?,
            connections_refused: new.int_counter_vec(
                "quorate_network_connections_refused_total",
                "Connections that were closed at once: all places taken, or the client has its share.",
                &["listener", "reason"],
            )?,
            requests_turned_away: new.int_counter_vec(
                "quorate_network_requests_turned_away_total",
                "Requests without a node's certificate that were turned away: too many, or refused too often.",
                &["reason"],
            )?,
            calls_denied: new.int_counter_vec(
                "quorate_api_calls_denied_total",
                "Calls that were refused because of who asked, or because there is no such method.",
                &["face"],
            )?,
            license_applied_index: new.int_gauge(
                "quorate_license_applied_index",
                "Index of the last log entry whose licenses this node shows.",
            )?,
            license_file_write_failures: new.int_counter(
                "quorate_license_file_write_failures_total",
                "License files and receipts that could not be written.",
            )?,
            license_watches: new.int_gauge("quorate_license_watches", "Open watches of the product.")?,
            license_checks_allowed: checks.with_label_values(&["allowed"]),
            license_checks_refused: checks.with_label_values(&["refused"]),
            license_expiration: new.gauge_vec(
                "quorate_license_expiration_timestamp_seconds",
                "When the tenant's license ends; absent if it doesn't.",
                &["tenant"],
            )?,
            license_state: new.int_gauge_vec(
                "quorate_license_state",
                "1 for the state that the tenant's license has, 0 for the others.",
                &["tenant", "state"],
            )?,
            license_allowed: new.int_gauge_vec(
                "quorate_license_allowed",
                "1 while the product may run on this node for the tenant, 0 while Check refuses whatever is asked.",
                &["tenant"],
            )?,
            license_serial: new.int_gauge_vec(
                "quorate_license_serial",
                "Serial of the tenant's license; 0 without one.",
                &["tenant"],
            )?,
            license_ending: new.int_gauge_vec(
                "quorate_license_ending_within_days",
                "Within how many days this ends: 30, 14, 7 or 2; absent if not within 30.",
                &["tenant", "what"],
            )?,
            portal_request_duration: new.histogram_vec(
                "quorate_portal_request_duration_seconds",
                "How long requests to the License Portal took.",
                &["outcome"],
                exponential_buckets(0.01, 2.0, 14)?,
            )?,
            certificate_rotations: new.int_counter(
                "quorate_certificate_rotations_total",
                "Certificates that this node has got in place of older ones.",
            )?,
            certificate_files_unusable: new.int_gauge_vec(
                "quorate_certificate_files_unusable",
                "1 while the files of a brought certificate can't be used and the one before is shown on.",
                &["kind"],
            )?,
            certificate_expiration: new.gauge_vec(
                "quorate_certificate_expiration_timestamp_seconds",
                "When a certificate ends: this node's own, the CA's, and those that were brought for its ports.",
                &["kind"],
            )?,
            disk_free: new.int_gauge(
                "quorate_disk_free_bytes",
                "Free bytes of the disk that holds the data directory.",
            )?,
            identity_alarms: new.int_gauge_vec(
                "quorate_clones",
                "Clones and ghosts that this node knows of, the leader of all: what is wrong with who is who.",
                &["code"],
            )?,
            clock_offset: new.gauge_vec(
                "quorate_clock_offset_seconds",
                "How far a node's clock is ahead of the cluster's time, as of the last agreement; negative: behind.",
                &["node"],
            )?,
            time_alarms: new.int_gauge_vec(
                "quorate_time_alarms",
                "What is wrong with the clocks: a jump that is held, clocks that are off, all behind the cluster's time.",
                &["code"],
            )?,
            build_info: new.int_gauge_vec(
                "quorate_build_info",
                "1; the labels tell the agent's version and the node's role.",
                &["version", "role"],
            )?,
            registry,
        })
    }

    /// Tells the role in `quorate_build_info`.
    pub fn set_role(&self, role: NodeRole) {
        self.build_info.reset();
        self.build_info.with_label_values(&[VERSION, role.as_str()]).set(1);
    }

    /// Tells when a certificate ends that the administrator has brought: `brought` for the node-to-node port, `http` for the
    /// management port; and whether what the files hold now can't be used.
    pub fn set_brought_certificate(&self, kind: &str, end: Timestamp, unusable: bool) {
        self.certificate_expiration.with_label_values(&[kind]).set(end.as_unix_seconds());
        self.certificate_files_unusable.with_label_values(&[kind]).set(i64::from(unusable));
    }

    /// Tells when this node's certificate ends, and the CA's, if it is known.
    pub fn set_certificate_ends(&self, node: Timestamp, ca: Option<Timestamp>) {
        self.certificate_expiration.with_label_values(&["node"]).set(node.as_unix_seconds());
        if let Some(ca) = ca {
            self.certificate_expiration.with_label_values(&["ca"]).set(ca.as_unix_seconds());
        }
    }

    /// Moves a counter that follows an outside value, such as a log index, up to that value. Each
    /// counter is moved by one task only.
    pub fn advance(counter: &IntCounter, value: u64) {
        let behind = value.saturating_sub(counter.get());
        if behind > 0 {
            counter.inc_by(behind);
        }
    }

    /// Shows one tenant's license.
    pub fn show_license(
        &self,
        tenant: &TenantId,
        status: &LicenseStatus,
        allowed: bool,
        serial: Serial,
        expires_at: Option<Timestamp>,
    ) {
        let tenant = tenant.as_str();
        for name in LicenseStatus::NAMES {
            let here = i64::from(name == status.as_str());
            self.license_state.with_label_values(&[tenant, name]).set(here);
        }
        self.license_allowed.with_label_values(&[tenant]).set(i64::from(allowed));
        self.license_serial.with_label_values(&[tenant]).set(i64::try_from(serial.0).unwrap_or(i64::MAX));
        match expires_at {
            Some(end) => self.license_expiration.with_label_values(&[tenant]).set(end.as_unix_seconds()),
            // It is only missing if it was not shown before.
            None => drop(self.license_expiration.remove_label_values(&[tenant])),
        }
    }
}

impl Metrics {
    /// Shows what of one tenant's license is about to end; of several of one kind the soonest.
    pub fn show_endings(&self, tenant: &TenantId, endings: &[Ending]) {
        for kind in EndingKind::ALL {
            let labels = [tenant.as_str(), kind.as_str()];
            let within = endings.iter().filter(|ending| ending.kind == kind).map(|ending| ending.within_days);
            match within.min() {
                Some(days) => self.license_ending.with_label_values(&labels).set(i64::from(days)),
                // It is only missing if it was not shown before.
                None => drop(self.license_ending.remove_label_values(&labels)),
            }
        }
    }
}

/// Makes metrics and registers them.
struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn int_gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    fn int_counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn int_counter_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn int_gauge_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, prometheus::Error> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?)
    }

    fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> Result<HistogramVec, prometheus::Error> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?)
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
