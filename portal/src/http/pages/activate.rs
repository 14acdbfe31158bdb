//! `/activate`: an integrity key in, a license key out, by the same rules as the protocol's call.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Form, State, rejection::FormRejection},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;

use super::{Field, count, file, license, page, refused};
use crate::{
    activation::{Answer, RequestBody},
    http::{App, Problem, activations},
    server::Peer,
};

const TITLE: &str = "Activate";

#[derive(Deserialize)]
pub(super) struct Submitted {
    integrity_key: String,
}

pub(super) async fn form() -> Response {
    page(StatusCode::OK, TITLE, &body("", None))
}

pub(super) async fn submit(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    form: Result<Form<Submitted>, FormRejection>,
) -> Response {
    let (entered, outcome) = answer(&app, peer, form).await;
    match outcome {
        Ok(answer) => {
            let downloads = [("/activate/download", "Download license key")];
            let body = license(&answer, ("integrity_key", &entered), &downloads);
            page(StatusCode::OK, "License key", &format!("<h1>Your license key</h1>{body}"))
        }
        Err(problem) => refused(&problem, TITLE, &body(&entered, Some(&problem))),
    }
}

/// The same answer once more, as a file.
pub(super) async fn download(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    form: Result<Form<Submitted>, FormRejection>,
) -> Response {
    let (entered, outcome) = answer(&app, peer, form).await;
    match outcome {
        Ok(answer) => {
            file(&format!("{}-{}.licensekey", answer.support_id, answer.serial), answer.license_key)
        }
        Err(problem) => refused(&problem, TITLE, &body(&entered, Some(&problem))),
    }
}

/// What was entered, and what the portal says to it.
async fn answer(
    app: &App,
    peer: Option<Extension<Peer>>,
    form: Result<Form<Submitted>, FormRejection>,
) -> (String, Result<Answer, Problem>) {
    let entered = match form {
        Ok(Form(submitted)) => submitted.integrity_key,
        Err(rejection) => return (String::new(), Err(activations::body_problem(app, rejection.status()))),
    };
    if let Err(problem) = count(app, peer) {
        return (entered, Err(problem));
    }
    let request = RequestBody::Text(entered.clone().into_bytes());
    let outcome = activations::run(app, request, None).await;
    (entered, outcome)
}

fn body(entered: &str, problem: Option<&Problem>) -> String {
    let field = Field {
        name: "integrity_key",
        label: "Paste the whole integrity key, from its BEGIN line to its END line:",
        entered,
        problem,
        multiline: true,
    };
    format!(
        "<h1>Activate with an integrity key</h1><ol><li>On a Management Server: <code>quorate license activate \
         --offline</code> prints the integrity key.</li><li>Paste it here, or choose its file.</li><li>Give the \
         license key that is shown to <code>quorate license install</code>.</li></ol><form method=\"post\" \
         action=\"/activate\">{}<p data-file=\"integrity_key\" hidden><label>Or choose its file: <input \
         type=\"file\"></label></p><p><button>Get license key</button></p></form>",
        field.html()
    )
}
