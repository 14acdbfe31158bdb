//! `quorate license`: activating, showing and inspecting.

mod activate;
mod checks;
mod entitlements;
mod history;
mod inspect;
mod install;
mod intents;
mod offline;
mod qr;
mod show;

use clap::{Args, Subcommand};
use quorate_license::{ActivationKind, License, TenantId};
use quorate_proto::v1::{ShowLicenseRequest, ShowLicenseResponse};

use super::{
    Context, Exit, block_on,
    client::{DEADLINE, call, within},
    error::CliError,
};

/// Commands about the license.
#[derive(Debug, Subcommand)]
pub(crate) enum LicenseCommand {
    /// Activate the installation with an activation key, or add a further order to it.
    #[command(visible_alias = "upgrade")]
    Activate(activate::ActivateArgs),
    /// Begin the trial: a license for a limited time, without an activation key, once for an installation.
    Trial(activate::HowArgs),
    /// Get the license anew with every order used before, after an update or on a restored installation.
    Reactivate(activate::HowArgs),
    /// Install the license key that the portal has answered an offline activation with, on any node.
    Install(install::InstallArgs),
    /// Show the license; the exit code is 6 without one that holds, 7 if something of it ends within 30 days.
    Show(TenantArgs),
    /// Check a license file on its own, without a running node.
    Inspect(inspect::InspectArgs),
    /// List the licensed features.
    Entitlements(TenantArgs),
    /// List the licenses since the first one, and what each changed.
    History(TenantArgs),
    /// List activations, open ones first.
    Intents,
}

/// Whose license.
#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    /// The tenant; an installation with one tenant needs none.
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: TenantId,
}

pub(super) fn run(context: &Context, command: LicenseCommand) -> Result<Exit, CliError> {
    match command {
        LicenseCommand::Activate(args) => block_on(activate::run(context, args)),
        LicenseCommand::Trial(how) => block_on(activate::run_kind(context, ActivationKind::Trial, None, how)),
        LicenseCommand::Reactivate(how) => {
            block_on(activate::run_kind(context, ActivationKind::Reactivate, None, how))
        }
        LicenseCommand::Install(args) => block_on(install::run(context, args)),
        LicenseCommand::Show(args) => block_on(show::run(context, args.tenant)),
        LicenseCommand::Inspect(args) => inspect::run(context, &args),
        LicenseCommand::Entitlements(args) => block_on(entitlements::run(context, args.tenant)),
        LicenseCommand::History(args) => block_on(history::run(context, args.tenant)),
        LicenseCommand::Intents => block_on(intents::run(context)),
    }
}

/// What the node says about a tenant's license.
async fn ask(context: &Context, tenant: &TenantId) -> Result<ShowLicenseResponse, CliError> {
    let mut admin = context.connect().await?;
    let request = ShowLicenseRequest { tenant: tenant.to_string() };
    call(DEADLINE, admin.show_license(within(DEADLINE, request))).await
}

/// The license's claims; `None` without a license.
fn claims(json: &str) -> Result<Option<License>, CliError> {
    if json.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(json)
        .map(Some)
        .map_err(|_| CliError::AnswerUnreadable { what: "the license's claims have an unknown form" })
}

#[cfg(test)]
mod tests {
    use quorate_license::{
        Binding, BoundNode, ClusterId, ComputerId, ComputerIdSource, Entitlement, Epoch, EpochId, Fence,
        Graces, LicenseKind, MachineId, NodeId, NodeKey, NodeRole, Nonce, Quantity, Serial, Timestamp,
    };

    use super::*;

    /// A time of the samples.
    pub(super) fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A subscription for a year.
    pub(super) fn license() -> License {
        License {
            support_id: "QS-7F3K-29TQ".parse().unwrap(),
            cluster_id: ClusterId([0xab; 16]),
            tenant: TenantId::default_tenant(),
            serial: Serial(2),
            nonce: Nonce([0xcd; 16]),
            kind: LicenseKind::Subscription,
            orders: vec!["ORD-1001".parse().unwrap()],
            entitlements: vec![
                Entitlement { feature: "devices".parse().unwrap(), quantity: Quantity::Limited(25) },
                Entitlement { feature: "scan".parse().unwrap(), quantity: Quantity::Unlimited },
            ],
            issued_at: time("2026-01-01T00:00:00Z"),
            not_before: time("2026-01-01T00:00:00Z"),
            expires_at: Some(time("2027-01-01T00:00:00Z")),
            support_until: Some(time("2027-01-01T00:00:00Z")),
            graces: graces(),
        }
    }

    fn graces() -> Graces {
        Graces { expiry_days: 14, reactivation_days: 30, unbound_days: 14, receipt_max_age_days: 35 }
    }

    /// The computer ID of a sample host.
    pub(super) fn computer_id(index: u8) -> ComputerId {
        let machine_id = MachineId::parse(&format!("{index:02x}").repeat(16)).unwrap();
        ComputerId::derive(&machine_id, ComputerIdSource::Host)
    }

    /// The identity key of a sample node.
    pub(super) fn node_key(index: u8) -> NodeKey {
        NodeKey::from_seed([index; 32])
    }

    /// Two bound nodes.
    pub(super) fn binding() -> Binding {
        let node = |index: u8, role: NodeRole| BoundNode {
            id: NodeId::new(1, index.into()),
            role,
            computer_id: computer_id(index),
            build: Some("6.0.84".parse().unwrap()),
            key: node_key(index).public(),
        };
        Binding {
            support_id: license().support_id,
            cluster_id: license().cluster_id,
            epoch: Epoch { number: 1, id: EpochId([0xef; 16]) },
            fence: Fence(1),
            serial: Serial(2),
            nonce: license().nonce,
            nodes: vec![node(1, NodeRole::Management), node(2, NodeRole::Spooler)],
            first_license_node: NodeId::new(1, 1),
            home_computer_id: computer_id(1),
            tolerance: 1,
            graces: graces(),
            issued_at: license().issued_at,
        }
    }

    /// A license key's text.
    pub(super) fn license_key() -> String {
        let root = quorate_license::RootKey::from_seed([1; 32]).unwrap();
        let secret = quorate_license::IssuingSecret::from_seed([2; 32]).unwrap();
        let (from, until) = (time("2026-01-01T00:00:00Z"), time("2027-01-01T00:00:00Z"));
        let certificate = root.certify(secret.public(), from, until).unwrap();
        let issuing = quorate_license::IssuingKey::new(secret, certificate).unwrap();
        let (binding, license) = (issuing.sign(&binding()).unwrap(), issuing.sign(&license()).unwrap());
        quorate_license::LicenseKey::new(&binding, &[license]).to_text().unwrap()
    }

    #[test]
    fn claims_are_read_as_the_node_writes_them() {
        assert_eq!(claims("").unwrap(), None);
        let json = serde_json::to_string(&license()).unwrap();
        assert_eq!(claims(&json).unwrap(), Some(license()));
        assert!(matches!(claims("{}"), Err(CliError::AnswerUnreadable { .. })));
    }
}
