//! Commands, one file each: the struct, its checks, its effect, its outcome. The enum dispatches.
//!
//! `apply` reads no clock, no randomness and no configuration: time comes in the proposal, ids and
//! nonces in the command. It is the authority on every rule; callers check cheaply before.

mod admit_node;
mod advance_ca;
mod agree_time;
mod begin_activation;
mod close_activation;
mod confirm_time;
mod create_token;
mod decide_join;
mod init_cluster;
mod install_license;
mod raise_feature_level;
mod record_request;
mod remove_node;
mod rename_node;
mod replace_node;
mod report_certificate;
mod report_node;
mod report_start;
mod request_join;
mod revoke_token;
mod rotate_ca;
mod set_telemetry;
mod tick;

use quorate_license::{NodeId, Nonce, Serial, SupportId, Timestamp};
use serde::{Deserialize, Serialize};

pub use admit_node::AdmitNode;
pub use advance_ca::AdvanceCa;
pub use agree_time::{AgreeTime, ClockReading};
pub use begin_activation::BeginActivation;
pub use close_activation::CloseActivation;
pub use confirm_time::ConfirmTime;
pub use create_token::CreateToken;
pub use decide_join::DecideJoin;
pub use init_cluster::{FirstNode, InitCluster};
pub use install_license::InstallLicense;
pub use raise_feature_level::RaiseFeatureLevel;
pub use record_request::RecordRequest;
pub use remove_node::RemoveNode;
pub use rename_node::RenameNode;
pub use replace_node::ReplaceNode;
pub use report_certificate::ReportCertificate;
pub use report_node::ReportNode;
pub use report_start::ReportStart;
pub use request_join::RequestJoin;
pub use revoke_token::RevokeToken;
pub use rotate_ca::RotateCa;
pub use set_telemetry::SetTelemetry;
pub use tick::Tick;

use crate::{
    refusal::Refusal,
    state::{State, TokenId, TokenPurpose},
};

/// The highest feature level that this build can read and write.
///
/// | level | brings |
/// |---|---|
/// | 1 | what every release reads |
/// | 2 | tombstones: `RemoveNode`, `ReplaceNode`; starts with ids: `ReportStart` |
/// | 3 | other names: `RenameNode`; certificates: `ReportCertificate`; rotation of the CA: `RotateCa`, `AdvanceCa`; joins that wait: `RequestJoin`, `DecideJoin`; the audit: proposals tell who asked; viewers' tokens; the history of licenses, all earlier offline activations listed, `SetTelemetry` |
/// | 4 | the cluster's time by the voters' clocks: `AgreeTime`, `ConfirmTime` |
/// | 5 | every change of the licenses is kept, for whoever watches |
pub const FEATURE_LEVEL: u32 = 5;

/// A change of the replicated state. Append-only: the order of the variants is the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// See [`InitCluster`].
    InitCluster(InitCluster),
    /// See [`AdmitNode`].
    AdmitNode(AdmitNode),
    /// See [`ReportNode`].
    ReportNode(ReportNode),
    /// See [`CreateToken`].
    CreateToken(CreateToken),
    /// See [`RevokeToken`].
    RevokeToken(RevokeToken),
    /// See [`BeginActivation`].
    BeginActivation(BeginActivation),
    /// See [`RecordRequest`].
    RecordRequest(RecordRequest),
    /// See [`InstallLicense`].
    InstallLicense(InstallLicense),
    /// See [`CloseActivation`].
    CloseActivation(CloseActivation),
    /// See [`Tick`].
    Tick(Tick),
    /// See [`RaiseFeatureLevel`].
    RaiseFeatureLevel(RaiseFeatureLevel),
    /// See [`RemoveNode`].
    RemoveNode(RemoveNode),
    /// See [`ReplaceNode`].
    ReplaceNode(ReplaceNode),
    /// See [`ReportStart`].
    ReportStart(ReportStart),
    /// See [`RenameNode`].
    RenameNode(RenameNode),
    /// See [`ReportCertificate`].
    ReportCertificate(ReportCertificate),
    /// See [`RotateCa`].
    RotateCa(RotateCa),
    /// See [`AdvanceCa`].
    AdvanceCa(AdvanceCa),
    /// See [`RequestJoin`].
    RequestJoin(RequestJoin),
    /// See [`DecideJoin`].
    DecideJoin(DecideJoin),
    /// See [`SetTelemetry`].
    SetTelemetry(SetTelemetry),
    /// See [`AgreeTime`].
    AgreeTime(AgreeTime),
    /// See [`ConfirmTime`].
    ConfirmTime(ConfirmTime),
}

/// What an applied command did. Append-only: the order of the variants is the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The entry held no command.
    Nothing,
    /// The cluster is initialized.
    ClusterInitialized {
        /// Its first node, the first license node.
        first_node: NodeId,
    },
    /// A node was admitted, or had been with the same token and key.
    NodeAdmitted {
        /// Its id.
        node: NodeId,
    },
    /// A node's row is up to date.
    NodeReported,
    /// A token can be used now.
    TokenCreated {
        /// Its id.
        token: TokenId,
    },
    /// A token can't be used any more.
    TokenRevoked,
    /// An activation is open.
    ActivationOpened {
        /// Its nonce.
        nonce: Nonce,
    },
    /// What is sent to the portal is recorded.
    RequestRecorded,
    /// A license is installed, or had been by the same activation.
    LicenseInstalled {
        /// The installation's Support ID.
        support_id: SupportId,
        /// The binding's serial.
        serial: Serial,
    },
    /// An activation is closed.
    ActivationClosed,
    /// The clock was moved.
    Ticked {
        /// The cluster's time.
        time: Timestamp,
    },
    /// Every member reads this level now.
    FeatureLevelRaised {
        /// The level.
        level: u32,
    },
    /// A node is a member no more.
    NodeRemoved {
        /// Its id.
        node: NodeId,
    },
    /// A node took another one's place, or had with the same token and key.
    NodeReplaced {
        /// The new node.
        node: NodeId,
        /// The one that is a member no more.
        replaced: NodeId,
    },
    /// A node has the name that it was given.
    NodeRenamed {
        /// Its id.
        node: NodeId,
    },
    /// What a node shows is known.
    CertificateReported,
    /// A rotation of the CA has begun, or entered its next phase.
    CaRotated {
        /// The version of the phase.
        version: u64,
    },
    /// A request to join waits for an administrator.
    JoinPending {
        /// The token that was shown.
        token: TokenId,
    },
    /// A node that waited is not let in.
    JoinRefused,
    /// Whether telemetry is sent.
    TelemetrySet {
        /// It is.
        enabled: bool,
    },
    /// The voters' clocks were looked at, or an administrator has confirmed what they say.
    TimeAgreed {
        /// The cluster's time.
        time: Timestamp,
    },
}

impl Command {
    /// The feature level that a member needs to read this command.
    pub fn feature_level(&self) -> u32 {
        match self {
            Command::RemoveNode(_) | Command::ReplaceNode(_) | Command::ReportStart(_) => 2,
            Command::RenameNode(_)
            | Command::CreateToken(CreateToken {
                purpose: TokenPurpose::JoinWithApproval { .. } | TokenPurpose::Viewer { .. },
                ..
            })
            | Command::ReportCertificate(_)
            | Command::RotateCa(_)
            | Command::AdvanceCa(_)
            | Command::RequestJoin(_)
            | Command::DecideJoin(_)
            | Command::SetTelemetry(_) => 3,
            Command::AgreeTime(_) | Command::ConfirmTime(_) => 4,
            _ => 1,
        }
    }

    /// The node that tells about itself with this command: the only one that a Spooler Controller may
    /// propose.
    pub fn reports(&self) -> Option<NodeId> {
        match self {
            Command::ReportNode(report) => Some(report.node),
            Command::ReportStart(start) => Some(start.report.node),
            Command::ReportCertificate(report) => Some(report.node),
            _ => None,
        }
    }

    /// What the command is called in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Command::InitCluster(_) => "InitCluster",
            Command::AdmitNode(_) => "AdmitNode",
            Command::ReportNode(_) => "ReportNode",
            Command::CreateToken(_) => "CreateToken",
            Command::RevokeToken(_) => "RevokeToken",
            Command::BeginActivation(_) => "BeginActivation",
            Command::RecordRequest(_) => "RecordRequest",
            Command::InstallLicense(_) => "InstallLicense",
            Command::CloseActivation(_) => "CloseActivation",
            Command::Tick(_) => "Tick",
            Command::RaiseFeatureLevel(_) => "RaiseFeatureLevel",
            Command::RemoveNode(_) => "RemoveNode",
            Command::ReplaceNode(_) => "ReplaceNode",
            Command::ReportStart(_) => "ReportStart",
            Command::RenameNode(_) => "RenameNode",
            Command::ReportCertificate(_) => "ReportCertificate",
            Command::RotateCa(_) => "RotateCa",
            Command::AdvanceCa(_) => "AdvanceCa",
            Command::RequestJoin(_) => "RequestJoin",
            Command::DecideJoin(_) => "DecideJoin",
            Command::SetTelemetry(_) => "SetTelemetry",
            Command::AgreeTime(_) => "AgreeTime",
            Command::ConfirmTime(_) => "ConfirmTime",
        }
    }

    /// Applies the command at the cluster time `now`. A refused command changes nothing.
    ///
    /// # Errors
    /// The [`Refusal`], which is the answer then.
    pub fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let level = self.feature_level();
        match (state.cluster(), &self) {
            (None, Command::InitCluster(_)) => {}
            (None, _) => return Err(Refusal::NotInitialized),
            (Some(cluster), _) if level > cluster.feature_level => {
                return Err(Refusal::FeatureLevelTooLow { needed: level, current: cluster.feature_level });
            }
            (Some(_), _) => {}
        }
        match self {
            Command::InitCluster(command) => command.apply(state, now),
            Command::AdmitNode(command) => command.apply(state, now),
            Command::ReportNode(command) => command.apply(state, now),
            Command::CreateToken(command) => command.apply(state, now),
            Command::RevokeToken(command) => command.apply(state),
            Command::BeginActivation(command) => command.apply(state, now),
            Command::RecordRequest(command) => command.apply(state, now),
            Command::InstallLicense(command) => command.apply(state, now),
            Command::CloseActivation(command) => command.apply(state, now),
            Command::Tick(command) => command.apply(state, now),
            Command::RaiseFeatureLevel(command) => command.apply(state),
            Command::RemoveNode(command) => command.apply(state, now),
            Command::ReplaceNode(command) => command.apply(state, now),
            Command::ReportStart(command) => command.apply(state, now),
            Command::RenameNode(command) => command.apply(state),
            Command::ReportCertificate(command) => command.apply(state, now),
            Command::RotateCa(command) => command.apply(state, now),
            Command::AdvanceCa(command) => command.apply(state, now),
            Command::RequestJoin(command) => command.apply(state, now),
            Command::DecideJoin(command) => command.apply(state, now),
            Command::SetTelemetry(command) => command.apply(state),
            Command::AgreeTime(command) => command.apply(state, now),
            Command::ConfirmTime(command) => command.apply(state, now),
        }
    }
}
