//! Every failure is reported with its code, its way out and its exit code.

use tonic::metadata::MetadataMap;

use super::*;

fn status(code: Code, ours: Option<&str>) -> Status {
    let mut metadata = MetadataMap::new();
    if let Some(ours) = ours {
        metadata.insert("quorate-code", ours.parse().unwrap());
        metadata.insert("quorate-hint", "do this".parse().unwrap());
    }
    Status::with_metadata(code, "what happened", metadata)
}

/// One row per exit code and per precedence between gRPC's code and ours.
#[test]
fn statuses_become_codes_hints_and_exit_codes() {
    for (code, ours, expected, exit) in [
        (Code::FailedPrecondition, Some("nodes_offline"), "nodes_offline", Exit::Failed),
        (Code::InvalidArgument, Some("activation_key_malformed"), "activation_key_malformed", Exit::Failed),
        (Code::PermissionDenied, Some("token_expired"), "token_expired", Exit::Denied),
        (Code::Unauthenticated, Some("token_unknown"), "token_unknown", Exit::Denied),
        (Code::PermissionDenied, Some("no_leader"), "no_leader", Exit::Denied),
        (Code::PermissionDenied, None, "denied", Exit::Denied),
        (Code::Unavailable, Some("no_leader"), "no_leader", Exit::Unhealthy),
        (Code::Unavailable, Some("outcome_unknown"), "outcome_unknown", Exit::Unhealthy),
        (Code::Unavailable, Some("portal_unreachable"), "portal_unreachable", Exit::Failed),
        (Code::Unavailable, None, "connection_lost", Exit::NoConnection),
        (Code::DeadlineExceeded, None, "no_answer", Exit::NoConnection),
        (Code::Unimplemented, None, "not_supported", Exit::Failed),
        (Code::FailedPrecondition, Some("not_activated"), "not_activated", Exit::NotLicensed),
        (Code::Internal, None, "failed", Exit::Failed),
    ] {
        let error = CliError::from(Answer::from(status(code, ours)));
        let report = error.report();
        assert_eq!((report.code.as_str(), error.exit()), (expected, exit), "{code:?} {ours:?}");
        if ours.is_some() {
            assert_eq!((report.message.as_str(), report.hint.as_deref()), ("what happened", Some("do this")));
        }
    }
}

#[test]
fn errors_of_the_command_line_itself_have_codes_and_hints() {
    let file = CliError::File { what: "token", path: "/t".into(), cause: io::ErrorKind::NotFound.into() };
    let unknown = CliError::NodeUnknown { given: "x".into(), known: vec!["ms-1".into(), "ms-2".into()] };
    for (error, code, exit) in [
        (CliError::from(UsageError::NoActivationKey), "activation_key_missing", Exit::Usage),
        (UsageError::NoJoinToken.into(), "token_missing", Exit::Usage),
        (UsageError::NoServer.into(), "server_missing", Exit::Usage),
        (UsageError::NoCaFile.into(), "ca_file_missing", Exit::Usage),
        (UsageError::ConfirmationNeeded.into(), "confirmation_needed", Exit::Usage),
        (UsageError::TokenUnusable("/t".into()).into(), "token_malformed", Exit::Usage),
        (Answer::late(15).into(), "no_answer", Exit::NoConnection),
        (ParseActivationKeyError::Empty.into(), "activation_key_malformed", Exit::Failed),
        (FileRefusal::ReceiptMissing.into(), "receipt_missing", Exit::NotLicensed),
        (ConfigError::NoFile { path: "/c".into() }.into(), "config_not_found", Exit::Failed),
        (AppError::DataDir(DataDirError::Unprepared("/d".into())).into(), "not_prepared", Exit::Failed),
        (AppError::DataDir(DataDirError::InUse("/d".into())).into(), "data_dir_in_use", Exit::Failed),
        (CliError::NoSupportId, "not_activated", Exit::NotLicensed),
        (CliError::NotConfirmed, "not_confirmed", Exit::Failed),
        (CliError::ActivationCutOff, "outcome_unknown", Exit::Failed),
        (file, "file_unreadable", Exit::Failed),
        (unknown, "node_unknown", Exit::Failed),
    ] {
        let report = error.report();
        assert_eq!((report.code.as_str(), error.exit()), (code, exit), "{error}");
        assert!(!report.message.is_empty(), "{code}");
    }
}
