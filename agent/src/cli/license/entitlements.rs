//! `quorate license entitlements`: the licensed features with their quantities.

use quorate_license::{Entitlement, TenantId};
use serde::Serialize;

use super::super::{
    Context, Exit,
    error::CliError,
    output::{Page, Present},
};

#[derive(Serialize)]
#[serde(transparent)]
struct Entitlements(Vec<Entitlement>);

pub(super) async fn run(context: &Context, tenant: TenantId) -> Result<Exit, CliError> {
    let answer = super::ask(context, &tenant).await?;
    let license = super::claims(&answer.license_json)?;
    let exit = if license.is_some() { Exit::Ok } else { Exit::NotLicensed };
    context.output.print(&Entitlements(license.map(|license| license.entitlements).unwrap_or_default()))?;
    Ok(exit)
}

impl Present for Entitlements {
    fn page(&self, page: &mut Page) {
        let row = |entitlement: &Entitlement| {
            vec![entitlement.feature.to_string(), entitlement.quantity.to_string()]
        };
        page.table(&["FEATURE", "QUANTITY"], self.0.iter().map(row).collect(), "Nothing is licensed.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{license::tests::license, output::tests::all_forms};

    #[test]
    fn features_are_listed_in_every_form() {
        insta::assert_snapshot!(all_forms(&Entitlements(license().entitlements)));
        insta::assert_snapshot!(all_forms(&Entitlements(Vec::new())));
    }
}
