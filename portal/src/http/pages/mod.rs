//! The pages for people: what this is, a form for activation without a connection, and one that brings back
//! an installation's current license.
//!
//! ```text
//! mod.rs       the frame of a page, its headers, what is allowed in it
//! activate.rs  integrity key in, license key out
//! current.rs   activation key in, current license out
//! page.css, page.js   served from here; without the script everything works but copying by a button
//! ```
//!
//! Rendered here; nothing is loaded from elsewhere, and the policy in the headers forbids it.

mod activate;
mod current;

use std::{fmt::Write, sync::Arc};

use axum::{
    Extension, Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use quorate_limits::neighbourhood;

use super::{App, Problem};
use crate::{activation::Answer, clock, server::Peer};

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(about))
        .route("/activate", get(activate::form).post(activate::submit))
        .route("/activate/download", post(activate::download))
        .route("/license", get(current::form).post(current::submit))
        .route("/license/download", post(current::download_key))
        .route("/license/file", post(current::download_file))
        .route("/page.css", get(|| async { asset("text/css; charset=utf-8", include_str!("page.css")) }))
        .route("/page.js", get(|| async { asset("text/javascript; charset=utf-8", include_str!("page.js")) }))
}

async fn about(State(app): State<Arc<App>>) -> Response {
    let mut roots = String::new();
    for root in app.service.roots() {
        let _ = write!(roots, "<li><code>{}</code></li>", escape(&root.to_string()));
    }
    let body = format!(
        "<h1>License Portal</h1><p>Clusters ask this portal for their license keys, by themselves, at \
         <code>{url}</code>.</p><ul><li>Has your cluster no connection to it? <a href=\"/activate\">Activate with an \
         integrity key</a>.</li><li>Do you need a license again that was issued before? <a href=\"/license\">Get the \
         current license</a>.</li></ul><h2>Root public keys</h2><p>Licenses of this portal are signed under:</p>\
         <ul>{roots}</ul>",
        url = escape(&app.public_url.text),
    );
    page(StatusCode::OK, "License Portal", &body)
}

/// Counts a submission against its address: fewer are allowed than requests, because an activation key could be
/// guessed.
fn count(app: &App, peer: Option<Extension<Peer>>) -> Result<(), Problem> {
    let Some(Extension(Peer(peer))) = peer else { return Ok(()) };
    app.page_rate
        .count(neighbourhood(peer.ip()), clock::instant())
        .map_err(|wait| Problem::too_many_requests(super::whole_seconds(wait)))
}

/// A field with its label, what was entered, and below it what is wrong with that.
struct Field<'a> {
    name: &'static str,
    label: &'static str,
    entered: &'a str,
    problem: Option<&'a Problem>,
    multiline: bool,
}

impl Field<'_> {
    fn html(&self) -> String {
        let Field { name, label, .. } = self;
        let wrong = self.problem.map_or("", |_| " aria-invalid=\"true\" autofocus");
        let attributes = format!(
            "id=\"{name}\" name=\"{name}\" required spellcheck=\"false\" autocomplete=\"off\" \
             aria-describedby=\"{name}-problem\"{wrong}"
        );
        let field = if self.multiline {
            // The first line end after the tag is not part of the text.
            format!("<textarea {attributes}>\n{}</textarea>", escape(self.entered))
        } else {
            format!("<input type=\"text\" {attributes} value=\"{}\">", escape(self.entered))
        };
        let problem = self.problem.map_or_else(String::new, |problem| {
            format!(
                "<p><strong>{}.</strong></p><p>{}</p><p>Code: <code>{}</code></p>",
                escape(&capitalized(&problem.message)),
                escape(problem.hint),
                escape(problem.code),
            )
        });
        let (class, role) = self.problem.map_or(("", ""), |_| (" class=\"problem\"", " role=\"alert\""));
        format!(
            "<p><label for=\"{name}\">{label}</label></p>{field}<div id=\"{name}-problem\"{class}{role}>{problem}</div>"
        )
    }
}

/// The license key with its buttons. `hidden` is the form field that brings it again, `downloads` where
/// each button leads.
fn license(answer: &Answer, hidden: (&str, &str), downloads: &[(&str, &str)]) -> String {
    let (name, value) = hidden;
    let mut buttons = String::new();
    for (address, label) in downloads {
        let _ = write!(buttons, "<button formaction=\"{address}\">{label}</button> ");
    }
    format!(
        "<p>Support ID: <strong>{}</strong>, serial {}</p><p><label for=\"license_key\">License key:</label></p>\
         <textarea id=\"license_key\" readonly spellcheck=\"false\" aria-describedby=\"license_key-use\">\n{}</textarea><p id=\"license_key-use\">Give the whole text to <code>quorate license install</code>.</p>\
         <p><button type=\"button\" data-copy=\"license_key\" hidden>Copy license key</button> \
         <span role=\"status\" id=\"copied\"></span></p><form method=\"post\"><textarea name=\"{name}\" hidden>\n{}\
         </textarea>{buttons}</form>",
        escape(answer.support_id.as_str()),
        answer.serial,
        escape(&answer.license_key),
        escape(value),
    )
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><link rel=\"stylesheet\" href=\"/page.css\">\
         <script src=\"/page.js\" defer></script></head><body><nav aria-label=\"Pages\"><a href=\"/\">License Portal</a> \
         <a href=\"/activate\">Activate</a> <a href=\"/license\">Current license</a></nav><main>{body}</main></body>\
         </html>",
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

/// The form once more, with what is wrong. The title says so too: it is what a screen reader tells first.
fn refused(problem: &Problem, title: &str, body: &str) -> Response {
    page(problem.status(), &format!("Refused: {title}"), body)
}

/// A text as a file of this name.
fn file(name: &str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, text).into_response()
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "max-age=3600"),
    ];
    (headers, text).into_response()
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
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
        let entered = "</textarea><script>alert('1')</script>\"&";
        for multiline in [true, false] {
            let field = Field { name: "integrity_key", label: "Key", entered, problem: None, multiline };
            let body = field.html();
            assert!(!body.contains("<script>"));
            assert!(
                body.contains("&lt;/textarea&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;")
            );
        }
    }

    #[test]
    fn a_problem_stands_at_its_field() {
        let problem = Problem::not_found();
        let field =
            Field { name: "key", label: "Key", entered: "x", problem: Some(&problem), multiline: false };
        let body = field.html();
        assert!(body.contains("aria-invalid=\"true\" autofocus"), "{body}");
        assert!(body.contains("aria-describedby=\"key-problem\""), "{body}");
        assert!(
            body.contains("<div id=\"key-problem\" class=\"problem\" role=\"alert\"><p><strong>There is"),
            "{body}"
        );
    }
}
