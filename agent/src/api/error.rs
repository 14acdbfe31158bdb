//! The one place that turns errors into gRPC statuses, and back at the callers' side.

use quorate_license::AnswerRefusal;
use quorate_raft_store::Refusal;
use tonic::{Code, Status, metadata::MetadataValue};

use crate::cluster::ProposeError;

const CODE: &str = "quorate-code";
const HINT: &str = "quorate-hint";

/// What kind of error it is: decides the gRPC code, and so the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong in itself.
    Invalid,
    /// The request is refused as things stand.
    Refused,
    /// The caller may not ask this.
    Denied,
    /// The caller did not say who it is.
    Unauthenticated,
    /// Something that is needed can't be reached now.
    Unavailable,
    /// The caller asks too much or too often.
    Busy,
    /// What is asked for was there, and is kept no more.
    Gone,
    /// Something is wrong here.
    Internal,
}

/// An error for a caller: a stable code, what happened, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind it is.
    pub kind: ErrorKind,
    /// Stable code.
    pub code: String,
    /// What happened, to which thing by name.
    pub message: String,
    /// What to do now.
    pub hint: String,
}

impl ApiError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        ApiError { kind, code: code.to_owned(), message: message.into(), hint: hint.into() }
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let code = match error.kind {
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::Refused => Code::FailedPrecondition,
            ErrorKind::Denied => Code::PermissionDenied,
            ErrorKind::Unauthenticated => Code::Unauthenticated,
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Busy => Code::ResourceExhausted,
            ErrorKind::Gone => Code::OutOfRange,
            ErrorKind::Internal => Code::Internal,
        };
        let mut status = Status::new(code, error.message);
        let ascii = |text: &str| {
            MetadataValue::try_from(text.replace(|c: char| !c.is_ascii() || c.is_control(), "?"))
        };
        if let Ok(value) = ascii(&error.code) {
            status.metadata_mut().insert(CODE, value);
        }
        if let Ok(value) = ascii(&error.hint) {
            status.metadata_mut().insert(HINT, value);
        }
        status
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let hint = match &refusal {
            Refusal::NotInitialized => "wait until the first node has started",
            Refusal::ComputerIdInUse { .. } => {
                "a cloned machine needs a machine id of its own: remove /etc/machine-id and \
                 /var/lib/dbus/machine-id, set them up anew (systemd-machine-id-setup), and join again"
            }
            Refusal::NodeNameTaken { .. } => "choose another node.name",
            Refusal::TokenUnknown
            | Refusal::TokenExpired(_)
            | Refusal::TokenRevoked(_)
            | Refusal::TokenUsed { .. } => {
                "make a new one with `quorate token create` on a Management Server"
            }
            Refusal::TokenRoleMismatch { .. }
            | Refusal::TokenNameMismatch { .. }
            | Refusal::TokenNotForJoin(_) => {
                "make a fitting one with `quorate token create` on a Management Server"
            }
            Refusal::ActivationInProgress { .. } => {
                "repeat `quorate license activate` with the same activation key to finish it; \
                 `quorate license intents` shows it"
            }
            Refusal::AlreadyActivated { .. } => "use `quorate license show` to see the license",
            Refusal::FewerNodesThanExpected { .. } => {
                "join the missing nodes first; `quorate node list` shows who is there"
            }
            Refusal::NodesChanged => "look at the list again and confirm it again",
            Refusal::NotFirstLicenseNode { .. } => "ask again: the request is led by the first license node",
            Refusal::FeatureLevelTooLow { .. } | Refusal::FeatureLevelUnsupported { .. } => {
                "update the agents of all nodes"
            }
            Refusal::NodeStartOutdated { .. } | Refusal::NodeStartRepeated { .. } => {
                "stop the copy; a data directory that was rolled back can't be used any more: move it away and run \
                 `quorate join --replace NAME` on the same computer"
            }
            Refusal::NodeRemoved { .. } => "`quorate node list` shows the members; it can join as a new node",
            Refusal::FirstLicenseNode { .. } => {
                "it is moved by a transfer, which comes with a later version; if its data is lost, set it up anew on \
                 the same computer with `quorate join --replace NAME`"
            }
            Refusal::LastManagementServer { .. } => "join another Management Server first",
            Refusal::ReplacedNameDiffers { .. } => "set node.name to the name of the node that is replaced",
            Refusal::ReplacedRoleDiffers { .. } => "make a token for the role of the node that is replaced",
            Refusal::CaRotationInProgress { .. } => "`quorate ca status` shows how far it is",
            Refusal::CaRotationOutdated { .. } => "ask again",
            Refusal::ApprovalNeeded(_) => "a replacement needs a token without --approval",
            Refusal::TokenShownByOther { .. } => "make a token of its own for each node",
            Refusal::TooManyPendingJoins(_) => "decide on those that wait first: `quorate node pending`",
            Refusal::JoinRefused { .. } => "ask the administrator; another try needs a new token",
            Refusal::NoPendingJoin(_) => "`quorate node pending` shows who waits",
            Refusal::JoinDecided { accepted: true, .. } => "`quorate node remove` takes it out again",
            Refusal::JoinDecided { .. } => "make a new token, and join the node with it",
            Refusal::ActivationSuperseded { .. } => {
                "bring the integrity key of the newer activation to the portal and install what it answers: the \
                 portal uses no order twice; `quorate license intents` shows it"
            }
            Refusal::NoOpenActivation(_) => {
                "`quorate license intents` shows what is open; begin anew with `quorate license activate --offline`, \
                 the portal uses no order twice"
            }
            Refusal::CaRotationWaits { .. } => {
                "start these nodes; `quorate ca status` says what else can be done"
            }
            Refusal::ReplacedComputerDiffers { .. } => {
                "run it on the computer of the node that is replaced; transfers come with a later version"
            }
            Refusal::NoTimeJumpHeld => "`quorate cluster time` shows the cluster's time and every clock",
            Refusal::TimeJumpChanged { .. } => "look at `quorate cluster time` again, and confirm it again",
            Refusal::AskerTokenInvalid(_) | Refusal::AskerMayNotChange(_) => {
                "`quorate token list` on a Management Server shows the valid ones"
            }
            Refusal::AlreadyInitialized => "`quorate join` brings a further node into it",
            Refusal::NodeUnknown(_) => "`quorate node list` shows the members",
            Refusal::NodeKeyInUse { .. } => {
                "the data directory is a copy: move it away and run `quorate join` with a new token"
            }
            Refusal::TokenIdTaken(_) => "ask again: the id is drawn anew",
            Refusal::TooManyTokens(_) => "`quorate token list` shows them, `quorate token revoke` makes room",
            Refusal::TooManyNodes(_) => "take out what is not needed: `quorate node remove`",
            Refusal::NotActivated { .. } => {
                "activate it first, with the activation key of its first order: `quorate license activate`"
            }
            Refusal::AnswerRefused(refusal) => answer_hint(refusal),
        };
        let kind = match &refusal {
            Refusal::AskerTokenInvalid(_) | Refusal::AskerMayNotChange(_) => ErrorKind::Denied,
            _ => ErrorKind::Refused,
        };
        ApiError::new(kind, refusal.code(), refusal.to_string(), hint)
    }
}

/// What to do about a license key that does not fit.
fn answer_hint(refusal: &AnswerRefusal) -> &'static str {
    match refusal {
        AnswerRefusal::NonceMismatch { .. } => {
            "install the license key that answers the open activation; `quorate license intents` shows it"
        }
        AnswerRefusal::ClusterMismatch { .. } => {
            "install it where it belongs; for this cluster, bring its own integrity key to the portal"
        }
        AnswerRefusal::EpochMismatch { .. } => {
            "the cluster was recovered or restored since: begin anew with `quorate license reactivate`"
        }
        AnswerRefusal::SupportIdMismatch { .. } => {
            "ask the vendor, naming both Support IDs: the portal has answered for another installation"
        }
        AnswerRefusal::FenceNotHigher { .. }
        | AnswerRefusal::BindingSerialNotHigher { .. }
        | AnswerRefusal::SerialNotHigher { .. } => {
            "nothing is to be done if the newer one is right: `quorate license show`; otherwise begin anew with \
             `quorate license reactivate`"
        }
    }
}

impl From<ProposeError> for ApiError {
    fn from(error: ProposeError) -> Self {
        let (code, hint) = match &error {
            ProposeError::NoLeader { .. } => (
                "no_leader",
                "bring the missing Management Servers back; what is licensed stays licensed meanwhile",
            ),
            ProposeError::Unknown { .. } => (
                "outcome_unknown",
                "look whether it was done before you repeat it; `quorate cluster health` tells why",
            ),
            ProposeError::Stopped(_) => ("node_stopped", "see this node's log, and start it again"),
            ProposeError::TooLarge { .. } => ("change_too_large", "make it in smaller steps"),
            ProposeError::NoRoom(_) => (
                "disk_full",
                "make room on the disk of its data directory: changes are taken again by themselves; what is licensed \
                 stays licensed meanwhile",
            ),
            ProposeError::Refused(_) => ("change_not_taken", "see this node's log and the leader's"),
            ProposeError::Encoding(_) | ProposeError::Randomness(_) => ("internal", "see this node's log"),
        };
        ApiError::new(ErrorKind::Unavailable, code, error.to_string(), hint)
    }
}

/// Code and hint of a status that one of our faces gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusParts {
    /// Stable code.
    pub code: String,
    /// What to do now.
    pub hint: String,
}

/// Code and hint of a status; none if it comes from the transport and not from a face of ours.
pub fn status_parts(status: &Status) -> Option<StatusParts> {
    let text =
        |key: &str| status.metadata().get(key).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Some(StatusParts { code: text(CODE)?, hint: text(HINT).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_hint_travel_with_the_status() {
        let status = Status::from(ApiError::new(ErrorKind::Denied, "denied", "no", "ask – nicely\n"));
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no"));
        let parts = status_parts(&status).unwrap();
        assert_eq!((parts.code.as_str(), parts.hint.as_str()), ("denied", "ask ? nicely?"));
        assert_eq!(status_parts(&Status::unavailable("transport")), None);
    }
}
