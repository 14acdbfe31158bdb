//! `quorate license show`: the license, what it is worth now, and what to do next.

use quorate_license::{ANNOUNCED_DAYS, License, TenantId, Timestamp};
use quorate_proto::v1::{LicenseSummary, RefusedNode, ShowLicenseResponse};
use serde::Serialize;
use serde_json::Value;

use super::super::{
    Context, Exit,
    error::CliError,
    output::{Page, Present, or_dash},
    status::Ending,
    wire,
};

/// What ends within so many days is announced by the exit code, as everywhere else.
pub(super) const SOON_DAYS: u32 = ANNOUNCED_DAYS[0];

#[derive(Serialize)]
struct Shown {
    tenant: TenantId,
    status: String,
    days_left: Option<u32>,
    next_step: Option<String>,
    reasons: Vec<String>,
    endings: Vec<Ending>,
    refused: Vec<Refused>,
    license: Option<Value>,
    binding: Option<Value>,
    #[serde(skip)]
    claims: Option<License>,
}

/// A node on which `Check` refuses now.
#[derive(Serialize)]
struct Refused {
    node: String,
    reason: String,
    #[serde(skip)]
    asked: bool,
}

pub(super) async fn run(context: &Context, tenant: TenantId) -> Result<Exit, CliError> {
    let answer = super::ask(context, &tenant).await?;
    let shown = Shown::new(tenant, answer)?;
    context.output.print(&shown)?;
    Ok(shown.exit())
}

impl Shown {
    fn new(tenant: TenantId, answer: ShowLicenseResponse) -> Result<Self, CliError> {
        let summary = answer.summary.unwrap_or_else(|| LicenseSummary {
            status: "unlicensed".to_owned(),
            ..LicenseSummary::default()
        });
        Ok(Shown {
            tenant,
            status: summary.status,
            days_left: summary.days_left,
            next_step: wire::text(summary.next_step),
            reasons: summary.reasons,
            endings: summary.endings.into_iter().map(Ending::from).collect(),
            refused: summary.refused.into_iter().map(Refused::from).collect(),
            claims: super::claims(&answer.license_json)?,
            license: value(&answer.license_json)?,
            binding: value(&answer.binding_json)?,
        })
    }

    fn exit(&self) -> Exit {
        match (self.status.as_str(), self.days_left) {
            ("unlicensed" | "expired" | "invalid", _) => Exit::NotLicensed,
            _ if self.license.is_none() => Exit::NotLicensed,
            _ if self.refused.iter().any(|refused| refused.asked) => Exit::NotLicensed,
            _ if !self.refused.is_empty() => Exit::ExpiringSoon,
            _ if !self.endings.is_empty() => Exit::ExpiringSoon,
            (_, Some(days)) if days <= SOON_DAYS => Exit::ExpiringSoon,
            _ => Exit::Ok,
        }
    }
}

impl From<RefusedNode> for Refused {
    fn from(refused: RefusedNode) -> Self {
        Refused { node: refused.node, reason: refused.reason, asked: refused.asked }
    }
}

fn value(json: &str) -> Result<Option<Value>, CliError> {
    if json.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(json)
        .map(Some)
        .map_err(|_| CliError::AnswerUnreadable { what: "the claims are no JSON" })
}

impl Present for Shown {
    fn page(&self, page: &mut Page) {
        let mut fields = vec![("Status", self.status.clone())];
        if let Some(days) = self.days_left {
            fields.push(("Days left", days.to_string()));
        }
        if let Some(license) = &self.claims {
            fields.extend(rows(license));
        }
        page.fields(&fields);
        for reason in &self.reasons {
            page.line(format!("- {reason}"));
        }
        for ending in &self.endings {
            page.line(format!("- {ending}"));
        }
        for Refused { node, reason, .. } in &self.refused {
            page.line(format!("- the product is refused on {node}: {reason}"));
        }
        if let Some(step) = &self.next_step {
            page.gap();
            page.line(step);
        }
    }
}

/// The claims of a license, below each other.
pub(super) fn rows(license: &License) -> Vec<(&'static str, String)> {
    let until =
        |time: Option<Timestamp>, without: &str| time.map_or_else(|| without.to_owned(), |t| t.to_string());
    let orders: Vec<&str> = license.orders.iter().map(|order| order.as_str()).collect();
    let entitlements: Vec<String> = license
        .entitlements
        .iter()
        .map(|entitlement| format!("{} ({})", entitlement.feature, entitlement.quantity))
        .collect();
    vec![
        ("Support ID", license.support_id.to_string()),
        ("Tenant", license.tenant.to_string()),
        ("Serial", license.serial.to_string()),
        ("Kind", license.kind.to_string()),
        ("Orders", orders.join(", ")),
        ("Issued", license.issued_at.to_string()),
        ("Valid from", license.not_before.to_string()),
        ("Valid until", until(license.expires_at, "without end")),
        ("Support until", or_dash(license.support_until)),
        ("Entitlements", entitlements.join(", ")),
    ]
}

#[cfg(test)]
mod tests {
    use quorate_proto::v1::LicenseEnding;

    use super::*;
    use crate::cli::{
        license::tests::{binding, license},
        output::tests::all_forms,
    };

    fn shown(status: &str, days_left: Option<u32>, licensed: bool) -> Shown {
        let ending = |days_left| LicenseEnding {
            what: if status == "trial" { "trial" } else { "reactivation_grace" }.to_owned(),
            ends_at_ms: 1_795_286_400_000,
            days_left,
            within_days: 30,
            ..LicenseEnding::default()
        };
        let summary = LicenseSummary {
            endings: days_left.filter(|days| (1..=30).contains(days)).map(ending).into_iter().collect(),
            status: status.to_owned(),
            days_left,
            next_step: if status == "active" { String::new() } else { "Do this.".to_owned() },
            reasons: if status == "reactivation_required" {
                vec!["ms-2 runs another build".into()]
            } else {
                vec![]
            },
            ..LicenseSummary::default()
        };
        let json = |text: String| if licensed { text } else { String::new() };
        let answer = ShowLicenseResponse {
            summary: Some(summary),
            license_json: json(serde_json::to_string(&license()).unwrap()),
            binding_json: json(serde_json::to_string(&binding()).unwrap()),
        };
        Shown::new(TenantId::default_tenant(), answer).unwrap()
    }

    #[test]
    fn the_exit_code_tells_scripts_what_matters() {
        for (status, days_left, licensed, exit) in [
            ("active", None, true, Exit::Ok),
            ("active", Some(31), true, Exit::Ok),
            ("active", Some(30), true, Exit::ExpiringSoon),
            ("trial", Some(3), true, Exit::ExpiringSoon),
            ("grace", Some(9), true, Exit::ExpiringSoon),
            ("reactivation_required", Some(31), true, Exit::Ok),
            ("expired", Some(0), true, Exit::NotLicensed),
            ("invalid", None, true, Exit::NotLicensed),
            ("unlicensed", None, false, Exit::NotLicensed),
        ] {
            assert_eq!(shown(status, days_left, licensed).exit(), exit, "{status} {days_left:?}");
        }
        let nothing = ShowLicenseResponse::default();
        assert_eq!(Shown::new(TenantId::default_tenant(), nothing).unwrap().exit(), Exit::NotLicensed);
        // The grace of a reactivation is over, or that of a node.
        let mut over = shown("reactivation_required", Some(0), true);
        let refused = |asked| Refused { node: "sp-1".into(), reason: "node_unbound".into(), asked };
        over.refused = vec![refused(false)];
        assert_eq!(over.exit(), Exit::ExpiringSoon);
        over.refused.push(refused(true));
        assert_eq!(over.exit(), Exit::NotLicensed);
        // A perpetual license whose support ends.
        let mut support = shown("active", Some(20), true);
        support.days_left = None;
        assert_eq!(support.exit(), Exit::ExpiringSoon);
    }

    #[test]
    fn a_license_is_shown_in_every_form() {
        insta::assert_snapshot!(all_forms(&shown("active", Some(300), true)));
        insta::assert_snapshot!(all_forms(&shown("reactivation_required", Some(20), true)));
        insta::assert_snapshot!(all_forms(&shown("unlicensed", None, false)));
    }
}
