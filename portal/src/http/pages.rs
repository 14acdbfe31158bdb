//! Two pages for people: what this is, and a form for activation without a connection.
//!
//! Rendered here, no script, nothing loaded from elsewhere.

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::{Form, State, rejection::FormRejection},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde::Deserialize;

use super::{App, Problem, activations};
use crate::activation::{Answer, RequestBody};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}textarea{width:100%;height:16rem;font:13px/1.4 ui-monospace,monospace;\
box-sizing:border-box}button{font:inherit;padding:.5rem 1.2rem;margin-top:.5rem}\
.problem{border-left:4px solid #b3261e;padding:.1rem 1rem;background:#fbeceb}\
@media(prefers-color-scheme:dark){body{color:#e6e9ec;background:#14171a}.problem{background:#3a1d1b}\
textarea{color:inherit;background:#1d2125}a{color:#8ab4f8}}";

#[derive(Deserialize)]
pub(super) struct Submitted {
    integrity_key: String,
}

pub(super) async fn about(State(app): State<Arc<App>>) -> Response {
    let mut roots = String::new();
    for root in app.service.roots() {
        let _ = write!(roots, "<li><code>{}</code></li>", escape(&root.to_string()));
    }
    let body = format!(
        "<h1>License Portal</h1><p>Clusters ask this portal for their license keys, by themselves, at \
         <code>{url}</code>.</p><p>Has your cluster no connection to it? <a href=\"/activate\">Activate with an \
         integrity key</a>.</p><h2>Root public keys</h2><p>Licenses of this portal are signed under:</p>\
         <ul>{roots}</ul>",
        url = escape(&app.public_url.text),
    );
    page(StatusCode::OK, "License Portal", &body)
}

pub(super) async fn form() -> Response {
    page(StatusCode::OK, "Activate", &form_body("", None))
}

pub(super) async fn submit(
    State(app): State<Arc<App>>,
    form: Result<Form<Submitted>, FormRejection>,
) -> Response {
    let submitted = match form {
        Ok(Form(submitted)) => submitted.integrity_key,
        Err(rejection) => {
            let problem = activations::body_problem(&app, rejection.status());
            return page(problem.status(), "Activate", &form_body("", Some(&problem)));
        }
    };
    let body = RequestBody::Text(submitted.clone().into_bytes());
    match activations::run(&app, body, None).await {
        Ok(answer) => page(StatusCode::OK, "License key", &answer_body(&answer)),
        Err(problem) => page(problem.status(), "Activate", &form_body(&submitted, Some(&problem))),
    }
}

fn form_body(integrity_key: &str, problem: Option<&Problem>) -> String {
    let mut body = String::from("<h1>Activate with an integrity key</h1>");
    if let Some(problem) = problem {
        let _ = write!(
            body,
            "<div class=\"problem\" role=\"alert\"><p><strong>No license key was issued: {}.</strong></p>\
             <p>{}</p><p>Code: <code>{}</code></p></div>",
            escape(&problem.message),
            escape(problem.hint),
            escape(problem.code),
        );
    }
    let _ = write!(
        body,
        "<form method=\"post\" action=\"/activate\"><p><label for=\"integrity_key\">Paste the whole integrity key, \
         from its BEGIN line to its END line:</label></p><textarea id=\"integrity_key\" name=\"integrity_key\" \
         required spellcheck=\"false\" autocomplete=\"off\">{}</textarea><button>Get license key</button></form>",
        escape(integrity_key),
    );
    body
}

fn answer_body(answer: &Answer) -> String {
    format!(
        "<h1>Your license key</h1><p>Support ID: <strong>{}</strong></p><p><label for=\"license_key\">Copy the whole \
         text and give it to <code>quorate license install</code>:</label></p><textarea id=\"license_key\" readonly \
         spellcheck=\"false\">{}</textarea>",
        escape(answer.support_id.as_str()),
        escape(&answer.license_key),
    )
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>",
        title = escape(title),
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Html(html)).into_response()
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pasted_can_not_become_part_of_the_page() {
        let body = form_body("</textarea><script>alert('1')</script>\"&", None);
        assert!(!body.contains("<script>"));
        assert!(body.contains("&lt;/textarea&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;"));
    }
}
