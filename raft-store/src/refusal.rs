//! Refusals: why a command changed nothing. Data, replicated, with a stable code each.

use quorate_license::{
    ActivationKind, AnswerRefusal, NodeId, NodeName, NodeRole, Nonce, SupportId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::state::TokenId;

/// Why a command was refused. Append-only: the order of the variants is the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// A command before the first one.
    #[error("the cluster is not initialized yet")]
    NotInitialized,
    /// A second initialization.
    #[error("the cluster is initialized already")]
    AlreadyInitialized,
    /// The command needs a newer agent on every node.
    #[error("this needs feature level {needed}, the cluster is at {current}: update the agents of all nodes")]
    FeatureLevelTooLow {
        /// What the command needs.
        needed: u32,
        /// What all members can read.
        current: u32,
    },
    /// A member can't read the wanted feature level.
    #[error("node {node} reads feature levels up to {supported} only")]
    FeatureLevelUnsupported {
        /// The member.
        node: NodeName,
        /// What it can read.
        supported: u32,
    },
    /// No such member.
    #[error("no node has the id {0}")]
    NodeUnknown(NodeId),
    /// The name belongs to another member.
    #[error("the name {name} belongs to node {holder} already")]
    NodeNameTaken {
        /// The name.
        name: NodeName,
        /// Who has it.
        holder: NodeId,
    },
    /// Another member runs on a computer with this id.
    #[error("the computer ID {computer_id} belongs to node {holder} already")]
    ComputerIdInUse {
        /// The computer ID.
        computer_id: String,
        /// Who has it.
        holder: NodeName,
    },
    /// Another member has this identity key.
    #[error("the node key belongs to node {holder} already")]
    NodeKeyInUse {
        /// Who has it.
        holder: NodeName,
    },
    /// A report with an old start counter: another copy of the node has started later.
    #[error(
        "node {node} has reported start {current}, this report is from start {reported}: two copies of it run"
    )]
    NodeStartOutdated {
        /// The node.
        node: NodeName,
        /// The last start counter.
        current: u64,
        /// The report's start counter.
        reported: u64,
    },
    /// No such token.
    #[error("the token is not known to this cluster")]
    TokenUnknown,
    /// A token of this id is there already.
    #[error("a token with the id {0} is there already")]
    TokenIdTaken(TokenId),
    /// The token's time is over.
    #[error("the token {0} has expired")]
    TokenExpired(TokenId),
    /// The token was revoked.
    #[error("the token {0} was revoked")]
    TokenRevoked(TokenId),
    /// Another node joined with the token.
    #[error("the token {token} was used by node {node} already")]
    TokenUsed {
        /// The token.
        token: TokenId,
        /// Who used it.
        node: NodeId,
    },
    /// The token is for another role.
    #[error("the token is for the role {allowed}, the node asks to join as {asked}")]
    TokenRoleMismatch {
        /// The role that the token is for.
        allowed: NodeRole,
        /// The role that was asked for.
        asked: NodeRole,
    },
    /// The token is for another node name.
    #[error("the token is for the node {allowed}, not for {asked}")]
    TokenNameMismatch {
        /// The name that the token is for.
        allowed: NodeName,
        /// The name that was asked for.
        asked: NodeName,
    },
    /// An administrator's token where a join token is needed.
    #[error("the token {0} is not a join token")]
    TokenNotForJoin(TokenId),
    /// Too many tokens are open.
    #[error("there are {0} tokens already: revoke some, or wait until some expire")]
    TooManyTokens(u64),
    /// Too many nodes.
    #[error("the cluster has {0} nodes already, the most it can have")]
    TooManyNodes(u64),
    /// An activation is under way.
    #[error("an activation ({kind}, {nonce}) is under way")]
    ActivationInProgress {
        /// What it is for.
        kind: String,
        /// Its nonce.
        nonce: Nonce,
    },
    /// The installation is activated already.
    #[error("this installation is activated already, with the Support ID {support_id}")]
    AlreadyActivated {
        /// Its Support ID.
        support_id: SupportId,
    },
    /// The kind needs an activated installation.
    #[error("{} needs an activated installation", kind.as_str())]
    NotActivated {
        /// The kind.
        kind: ActivationKind,
    },
    /// The activation was asked for on another node than the first license node.
    #[error("node {asked} is not the first license node; {first} is")]
    NotFirstLicenseNode {
        /// Who carried the request out.
        asked: NodeId,
        /// Who should.
        first: NodeId,
    },
    /// Fewer nodes than the policy expects.
    #[error("fewer nodes have joined than expected: {present} of {expected}")]
    FewerNodesThanExpected {
        /// How many are in scope.
        present: u32,
        /// How many are expected.
        expected: u32,
    },
    /// The nodes changed since the administrator confirmed them.
    #[error("the nodes of the cluster have changed since they were listed")]
    NodesChanged,
    /// No open activation has this nonce.
    #[error("no activation with the nonce {0} is open")]
    NoOpenActivation(Nonce),
    /// The portal's answer does not fit.
    #[error(transparent)]
    AnswerRefused(AnswerRefusal),
    /// The node was taken out of the cluster.
    #[error("node {node} was taken out of the cluster on {at}")]
    NodeRemoved {
        /// The name that it had.
        node: NodeName,
        /// When.
        at: Timestamp,
    },
    /// The first license node can't be removed.
    #[error("{node} is the first license node: it leads every activation and can't be removed")]
    FirstLicenseNode {
        /// The node.
        node: NodeName,
    },
    /// The last Management Server can't be removed.
    #[error("{node} is the last Management Server: without it there is no cluster")]
    LastManagementServer {
        /// The node.
        node: NodeName,
    },
    /// A replacement under another name.
    #[error("the node to be replaced is {node}, the joiner's name is {asked}")]
    ReplacedNameDiffers {
        /// The node that would be replaced.
        node: NodeName,
        /// The joiner's name.
        asked: NodeName,
    },
    /// A replacement in another role.
    #[error("node {node} has the role {role}, its replacement asks to join as {asked}")]
    ReplacedRoleDiffers {
        /// The node that would be replaced.
        node: NodeName,
        /// Its role.
        role: NodeRole,
        /// The role that was asked for.
        asked: NodeRole,
    },
    /// A replacement on another computer, which is a transfer.
    #[error(
        "node {node} runs on the computer {registered}, its replacement on {found}: a license moves to another \
         computer by a transfer only"
    )]
    ReplacedComputerDiffers {
        /// The node that would be replaced.
        node: NodeName,
        /// Its computer ID.
        registered: String,
        /// The joiner's computer ID.
        found: String,
    },
    /// Two starts of a node have one number: its data directory was copied or rolled back.
    #[error(
        "another start of node {node} has reported number {counter} before: its data directory is a copy, or was \
         rolled back"
    )]
    NodeStartRepeated {
        /// The node.
        node: NodeName,
        /// The number of both starts.
        counter: u64,
    },
    /// A rotation of the CA is under way.
    #[error("the CA is being rotated already, since {started_at}, as {requested_by} asked for")]
    CaRotationInProgress {
        /// When it began.
        started_at: Timestamp,
        /// Who asked for it.
        requested_by: String,
    },
    /// The rotation of the CA is at another phase than the command is for.
    #[error("the rotation of the CA has gone on: it is at version {current}, this is for version {asked}")]
    CaRotationOutdated {
        /// What the command is for.
        asked: u64,
        /// Where the rotation is.
        current: u64,
    },
    /// Nodes are not yet as far as the phase asks for.
    #[error("the rotation of the CA waits for {}", nodes.iter().map(NodeName::to_string).collect::<Vec<_>>().join(", "))]
    CaRotationWaits {
        /// The nodes.
        nodes: Vec<NodeName>,
    },
    /// The token lets a node join only if an administrator approves of it.
    #[error("with the token {0} a node joins only after an administrator has accepted it")]
    ApprovalNeeded(TokenId),
    /// Another node has shown the token before.
    #[error("the token {token} was shown by another node before, {holder}")]
    TokenShownByOther {
        /// The token.
        token: TokenId,
        /// The name of that node.
        holder: NodeName,
    },
    /// Too many nodes wait to be accepted.
    #[error("{0} nodes wait to be accepted already")]
    TooManyPendingJoins(u64),
    /// An administrator has refused the node.
    #[error("{by} has refused {name} on {at}: it may not join with this token")]
    JoinRefused {
        /// The node's name.
        name: NodeName,
        /// Who has decided, in words.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// No node waits with this token.
    #[error("no node has asked to join with the token {0}")]
    NoPendingJoin(TokenId),
    /// It was decided otherwise before.
    #[error("{by} has {} {name} on {at} already", if *accepted { "accepted" } else { "refused" })]
    JoinDecided {
        /// The node's name.
        name: NodeName,
        /// Whether it was accepted.
        accepted: bool,
        /// Who has decided, in words.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// Who asks shows a token that lets nobody in any more.
    #[error("the administrator's token {0} has expired or was revoked, or is not known to this cluster")]
    AskerTokenInvalid(TokenId),
    /// Who asks shows a token that does not let it make changes.
    #[error("the token {0} lets its bearer read, and not make changes")]
    AskerMayNotChange(TokenId),
    /// A newer activation took the place of the one that a license key answers.
    #[error(
        "this license key answers activation {nonce}, which was superseded: its place was taken by activation {by}"
    )]
    ActivationSuperseded {
        /// The one that it answers.
        nonce: Nonce,
        /// The newer one.
        by: Nonce,
    },
    /// No jump of the clocks waits to be confirmed.
    #[error("no jump of the clocks is held: there is nothing to confirm")]
    NoTimeJumpHeld,
    /// Another jump is held than the one that was shown.
    #[error(
        "the clocks have jumped again: the jump that was shown was held since {asked}, this one since {current}"
    )]
    TimeJumpChanged {
        /// Since when the jump was held that was shown.
        asked: Timestamp,
        /// Since when the present one has been held.
        current: Timestamp,
    },
}

impl Refusal {
    /// The stable code, for scripts and JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotInitialized => "not_initialized",
            Refusal::AlreadyInitialized => "already_initialized",
            Refusal::FeatureLevelTooLow { .. } => "feature_level_too_low",
            Refusal::FeatureLevelUnsupported { .. } => "feature_level_unsupported",
            Refusal::NodeUnknown(_) => "node_unknown",
            Refusal::NodeNameTaken { .. } => "node_name_taken",
            Refusal::ComputerIdInUse { .. } => "computer_id_in_use",
            Refusal::NodeKeyInUse { .. } => "node_key_in_use",
            Refusal::NodeStartOutdated { .. } => "node_start_outdated",
            Refusal::TokenUnknown => "token_unknown",
            Refusal::TokenIdTaken(_) => "token_id_taken",
            Refusal::TokenExpired(_) => "token_expired",
            Refusal::TokenRevoked(_) => "token_revoked",
            Refusal::TokenUsed { .. } => "token_used",
            Refusal::TokenRoleMismatch { .. } => "token_role_mismatch",
            Refusal::TokenNameMismatch { .. } => "token_name_mismatch",
            Refusal::TokenNotForJoin(_) => "token_not_for_join",
            Refusal::TooManyTokens(_) => "too_many_tokens",
            Refusal::TooManyNodes(_) => "too_many_nodes",
            Refusal::ActivationInProgress { .. } => "activation_in_progress",
            Refusal::AlreadyActivated { .. } => "already_activated",
            Refusal::NotActivated { .. } => "not_activated",
            Refusal::NotFirstLicenseNode { .. } => "not_first_license_node",
            Refusal::FewerNodesThanExpected { .. } => "fewer_nodes_than_expected",
            Refusal::NodesChanged => "nodes_changed",
            Refusal::NoOpenActivation(_) => "no_open_activation",
            Refusal::AnswerRefused(refusal) => refusal.code(),
            Refusal::NodeRemoved { .. } => "node_removed",
            Refusal::FirstLicenseNode { .. } => "first_license_node",
            Refusal::LastManagementServer { .. } => "last_management_server",
            Refusal::ReplacedNameDiffers { .. } => "node_name_differs",
            Refusal::ReplacedRoleDiffers { .. } => "node_role_differs",
            Refusal::ReplacedComputerDiffers { .. } => "computer_id_differs",
            Refusal::NodeStartRepeated { .. } => "node_start_repeated",
            Refusal::CaRotationInProgress { .. } => "ca_rotation_in_progress",
            Refusal::CaRotationOutdated { .. } => "ca_rotation_outdated",
            Refusal::CaRotationWaits { .. } => "ca_rotation_waits",
            Refusal::ApprovalNeeded(_) => "approval_needed",
            Refusal::TokenShownByOther { .. } => "token_shown_by_other",
            Refusal::TooManyPendingJoins(_) => "too_many_pending_joins",
            Refusal::JoinRefused { .. } => "join_refused",
            Refusal::NoPendingJoin(_) => "no_pending_join",
            Refusal::JoinDecided { .. } => "join_decided",
            Refusal::AskerTokenInvalid(_) => "token_invalid",
            Refusal::AskerMayNotChange(_) => "token_reads_only",
            Refusal::ActivationSuperseded { .. } => "activation_superseded",
            Refusal::NoTimeJumpHeld => "no_time_jump_held",
            Refusal::TimeJumpChanged { .. } => "time_jump_changed",
        }
    }
}
