//! `/license`: an activation key in, the current license of its installation out, however it was activated.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Form, State, rejection::FormRejection},
    http::StatusCode,
    response::Response,
};
use quorate_license::{ActivationKey, LicenseFile};
use serde::Deserialize;

use super::{Field, count, file, license, page, refused};
use crate::{
    activation::Answer,
    http::{App, Problem, activations},
    server::Peer,
};

const TITLE: &str = "Current license";

#[derive(Deserialize)]
pub(super) struct Submitted {
    activation_key: String,
}

type Submission = Result<Form<Submitted>, FormRejection>;

pub(super) async fn form() -> Response {
    page(StatusCode::OK, TITLE, &body("", None))
}

pub(super) async fn submit(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    form: Submission,
) -> Response {
    let (entered, outcome) = current(&app, peer, form).await;
    match outcome {
        Ok(answer) => {
            let downloads =
                [("/license/download", "Download license key"), ("/license/file", "Download license file")];
            let body = license(&answer, ("activation_key", &entered), &downloads);
            page(StatusCode::OK, TITLE, &format!("<h1>The current license</h1>{body}"))
        }
        Err(problem) => refused(&problem, TITLE, &body(&entered, Some(&problem))),
    }
}

/// The license key, as a file for `quorate license install`.
pub(super) async fn download_key(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    form: Submission,
) -> Response {
    let (entered, outcome) = current(&app, peer, form).await;
    match outcome {
        Ok(answer) => {
            file(&format!("{}-{}.licensekey", answer.support_id, answer.serial), answer.license_key)
        }
        Err(problem) => refused(&problem, TITLE, &body(&entered, Some(&problem))),
    }
}

/// The license file that nodes keep on disk, of the installation's first tenant.
pub(super) async fn download_file(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    form: Submission,
) -> Response {
    let (entered, outcome) = current(&app, peer, form).await;
    let read =
        outcome.and_then(|answer| app.service.read(&answer.license_key).map_err(|_| Problem::internal()));
    match read {
        Ok(answer) => match answer.licenses.first() {
            Some(license) => {
                let name = format!("{}.lic", license.claims.tenant);
                file(&name, LicenseFile::new(license, &answer.binding).to_text())
            }
            None => refused(&Problem::internal(), TITLE, &body("", Some(&Problem::internal()))),
        },
        Err(problem) => refused(&problem, TITLE, &body(&entered, Some(&problem))),
    }
}

/// What was entered, and the current license for it.
async fn current(
    app: &App,
    peer: Option<Extension<Peer>>,
    form: Submission,
) -> (String, Result<Answer, Problem>) {
    let entered = match form {
        Ok(Form(submitted)) => submitted.activation_key,
        Err(rejection) => return (String::new(), Err(activations::body_problem(app, rejection.status()))),
    };
    if let Err(problem) = count(app, peer) {
        return (entered, Err(problem));
    }
    let outcome = match entered.parse::<ActivationKey>() {
        Ok(key) => app.service.current(&key).await.map_err(Problem::from),
        Err(error) => Err(Problem::activation_key_unreadable(error.to_string())),
    };
    (entered, outcome)
}

fn body(entered: &str, problem: Option<&Problem>) -> String {
    let field = Field {
        name: "activation_key",
        label: "Any activation key that was used on the installation:",
        entered,
        problem,
        multiline: false,
    };
    format!(
        "<h1>Get the current license</h1><p>The license that was issued last to the installation of an activation \
         key. It holds for the computers that it was issued for.</p><form method=\"post\" action=\"/license\">{}<p>\
         <button>Get current license</button></p></form>",
        field.html()
    )
}
