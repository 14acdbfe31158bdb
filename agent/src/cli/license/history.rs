//! `quorate license history`: orders and licenses over time, and what each changed.

use quorate_license::{TenantId, Timestamp};
use quorate_proto::v1::{LicenseHistoryEntry, LicenseHistoryRequest};
use serde::Serialize;

use super::super::{
    Context, Exit,
    client::{DEADLINE, call, within},
    error::CliError,
    output::{Page, Present, or_dash},
    wire,
};

#[derive(Serialize)]
#[serde(transparent)]
struct History(Vec<Entry>);

#[derive(Serialize)]
struct Entry {
    serial: u64,
    installed_at: Option<Timestamp>,
    kind: String,
    method: String,
    requested_by: Option<String>,
    key_last5: Option<String>,
    nonce: String,
    support_id: String,
    license_kind: Option<String>,
    orders: Vec<String>,
    entitlements: Vec<Entitlement>,
    expires_at: Option<Timestamp>,
    support_until: Option<Timestamp>,
    changes: Vec<String>,
}

#[derive(Serialize)]
struct Entitlement {
    feature: String,
    quantity: String,
}

pub(super) async fn run(context: &Context, tenant: TenantId) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let request = LicenseHistoryRequest { tenant: tenant.to_string() };
    let answer = call(DEADLINE, admin.license_history(within(DEADLINE, request))).await?;
    context.output.print(&History(answer.entries.into_iter().map(Entry::from).collect()))?;
    Ok(Exit::Ok)
}

impl From<LicenseHistoryEntry> for Entry {
    fn from(entry: LicenseHistoryEntry) -> Self {
        let entitlement = |one: quorate_proto::v1::HistoricEntitlement| Entitlement {
            feature: one.feature,
            quantity: one.quantity,
        };
        Entry {
            serial: entry.serial,
            installed_at: wire::time(entry.installed_at_ms),
            kind: entry.kind,
            method: entry.method,
            requested_by: wire::text(entry.requested_by),
            key_last5: wire::text(entry.key_last5),
            nonce: entry.nonce,
            support_id: entry.support_id,
            license_kind: wire::text(entry.license_kind),
            orders: entry.orders,
            entitlements: entry.entitlements.into_iter().map(entitlement).collect(),
            expires_at: entry.expires_at_ms.and_then(wire::time),
            support_until: entry.support_until_ms.and_then(wire::time),
            changes: entry.changes,
        }
    }
}

impl Present for History {
    fn page(&self, page: &mut Page) {
        let row = |entry: &Entry| {
            vec![
                entry.serial.to_string(),
                or_dash(entry.installed_at),
                entry.kind.clone(),
                entry.method.clone(),
                entry.key_last5.as_ref().map_or_else(|| "-".to_owned(), |last| format!("\u{2026}{last}")),
                or_dash(entry.requested_by.as_ref()),
                entry.changes.first().cloned().unwrap_or_else(|| "-".to_owned()),
            ]
        };
        let mut rows = Vec::new();
        for entry in &self.0 {
            rows.push(row(entry));
            rows.extend(entry.changes.iter().skip(1).map(|change| {
                let mut row = vec![String::new(); 6];
                row.push(change.clone());
                row
            }));
        }
        let header = ["SERIAL", "INSTALLED", "KIND", "METHOD", "KEY", "REQUESTED BY", "CHANGED"];
        page.table(&header, rows, "No license was installed so far.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn every_license_is_shown_with_what_it_changed() {
        let entry = |serial: u64, kind: &str, changes: &[&str]| LicenseHistoryEntry {
            serial,
            installed_at_ms: 1_763_750_000_000 + serial as i64 * 86_400_000,
            kind: kind.to_owned(),
            method: "offline".to_owned(),
            requested_by: "local administrator on ms-1".to_owned(),
            key_last5: if kind == "trial" { String::new() } else { "4QKZ7".to_owned() },
            nonce: format!("{serial:02x}").repeat(16),
            support_id: "QS-7F3K-29TQ".to_owned(),
            license_kind: "subscription".to_owned(),
            orders: vec!["QO-000001".to_owned()],
            entitlements: vec![quorate_proto::v1::HistoricEntitlement {
                feature: "devices".to_owned(),
                quantity: "50".to_owned(),
            }],
            expires_at_ms: Some(1_795_286_000_000),
            support_until_ms: None,
            changes: changes.iter().map(|change| (*change).to_owned()).collect(),
        };
        let entries = vec![
            entry(1, "trial", &[]),
            entry(2, "upgrade", &["trial became subscription", "order QO-000001 added"]),
        ];
        let history =
            |entries: Vec<LicenseHistoryEntry>| History(entries.into_iter().map(Entry::from).collect());
        insta::assert_snapshot!(all_forms(&history(entries)));
        insta::assert_snapshot!(all_forms(&history(Vec::new())));
    }
}
