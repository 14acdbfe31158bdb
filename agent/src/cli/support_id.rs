//! `quorate support-id`: the installation's name, for a support request.

use serde::Serialize;

use super::{
    Context, Exit,
    error::CliError,
    output::{Page, Present},
    status,
};

#[derive(Serialize)]
struct SupportId {
    support_id: String,
}

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let license = status::ask(&mut admin).await?.license;
    let support_id = license.and_then(|license| license.support_id).ok_or(CliError::NoSupportId)?;
    context.output.print(&SupportId { support_id })?;
    Ok(Exit::Ok)
}

impl Present for SupportId {
    fn page(&self, page: &mut Page) {
        page.line(&self.support_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn nothing_but_the_support_id_is_printed() {
        insta::assert_snapshot!(all_forms(&SupportId { support_id: "QS-7F3K-29TQ".to_owned() }));
    }
}
