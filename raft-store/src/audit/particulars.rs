//! What each command is about, for the audit. Nothing secret: no key, no hash of a secret, nothing sealed.

use crate::{
    command::{AdmitNode, Command},
    state::{Method, TokenPurpose},
};

fn pair(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// What a command is about; none if nobody asks for it: a node says it by itself, and often.
///
/// Every command is listed: a new one has to say what it is.
pub(super) fn of(command: &Command) -> Option<Vec<(String, String)>> {
    Some(match command {
        Command::InitCluster(init) => vec![
            pair("cluster", init.cluster_id),
            pair("node", &init.first_node.name),
            pair("computer_id", init.first_node.computer_id),
            pair("integrity_scope", init.policy.integrity_scope.as_str()),
        ],
        Command::AdmitNode(admit) => joiner(admit),
        Command::CreateToken(create) => {
            let mut of = vec![pair("token", create.id)];
            match &create.purpose {
                TokenPurpose::Join { role, name } | TokenPurpose::JoinWithApproval { role, name } => {
                    of.push(pair("join_as", role));
                    of.extend(name.as_ref().map(|name| pair("node", name)));
                }
                TokenPurpose::Admin { label } => of.extend([pair("access", "admin"), pair("label", label)]),
                TokenPurpose::Viewer { label } => of.extend([pair("access", "viewer"), pair("label", label)]),
            }
            if matches!(create.purpose, TokenPurpose::JoinWithApproval { .. }) {
                of.push(pair("needs_approval", true));
            }
            of.push(pair("expires_at", create.expires_at));
            of
        }
        Command::RevokeToken(revoke) => vec![pair("token", revoke.id)],
        Command::BeginActivation(begin) => {
            let method = match begin.method {
                Method::Online => "online",
                Method::Offline => "offline",
            };
            let mut of = vec![
                pair("activation", begin.nonce),
                pair("kind", begin.kind.as_str()),
                pair("tenant", &begin.tenant),
                pair("method", method),
                pair("nodes", begin.nodes.len()),
            ];
            of.extend(begin.key_last5.as_ref().map(|last5| pair("key_last5", last5)));
            of
        }
        Command::RecordRequest(record) => vec![pair("activation", record.nonce)],
        Command::InstallLicense(install) => {
            let binding = &install.answer.binding.claims;
            vec![
                pair("activation", install.nonce),
                pair("support_id", &binding.support_id),
                pair("serial", binding.serial),
            ]
        }
        Command::CloseActivation(close) => {
            vec![pair("activation", close.nonce), pair("code", &close.code)]
        }
        Command::RemoveNode(remove) => vec![pair("node", remove.node)],
        Command::ReplaceNode(replace) => {
            let mut of = joiner(&replace.joiner);
            of.push(pair("replaced", replace.replaced));
            of
        }
        Command::RenameNode(rename) => vec![pair("node", rename.node), pair("name", &rename.name)],
        Command::RotateCa(rotate) => {
            vec![pair("ca", rotate.current), pair("next_ca", rotate.next.fingerprint)]
        }
        Command::AdvanceCa(advance) => vec![pair("version", advance.version)],
        Command::RequestJoin(request) => joiner(&request.joiner),
        Command::DecideJoin(decide) => {
            let decision = if decide.accept { "accept" } else { "refuse" };
            vec![pair("token", decide.token), pair("decision", decision)]
        }
        Command::SetTelemetry(set) => vec![pair("enabled", set.enabled)],
        Command::ConfirmTime(confirm) => vec![pair("held_since", confirm.since)],
        Command::ReportNode(_)
        | Command::ReportStart(_)
        | Command::ReportCertificate(_)
        | Command::Tick(_)
        | Command::AgreeTime(_)
        | Command::RaiseFeatureLevel(_) => return None,
    })
}

fn joiner(admit: &AdmitNode) -> Vec<(String, String)> {
    vec![
        pair("token", admit.token),
        pair("node", &admit.name),
        pair("role", admit.role),
        pair("computer_id", admit.computer_id),
        pair("raft_address", &admit.addresses.raft),
    ]
}
