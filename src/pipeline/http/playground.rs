//! `GET /playground`: a page to try the tracker on, with `http.playground`.

use std::sync::LazyLock;

use data_encoding::BASE64;
use hyper::Response;
use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{Peer, Playground};
use crate::auth::{DEFAULT_PROJECT, default_token};
use crate::server::access::is_local;

const PAGE: &str = include_str!("assets/playground.html");
const SCRIPT: &str = include_str!("assets/playground.js");
const STYLE: &str = include_str!("assets/playground.css");

/// The strictest policy under which the tracker works.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| BASE64.encode(&Sha256::digest(text));
    format!(
        "default-src 'none'; connect-src 'self'; script-src 'self' 'sha256-{}'; style-src \
         'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
});

/// Responds with the page. The token of the first start is filled in for browsers on this machine,
/// if it still works.
pub(super) async fn page(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    let is_local = is_local(peer.caller(&head.headers), head);
    match peer.context.settings.playground {
        Playground::Public => {}
        Playground::Local if is_local => {}
        Playground::Local | Playground::Off => return Err(Refusal::NotFound),
    }
    let filled_in = if is_local { working_token(peer).await } else { None };
    let (token, project) = filled_in.unwrap_or_else(|| (String::new(), DEFAULT_PROJECT.to_owned()));
    let page = PAGE
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT)
        .replace("{{token}}", &token)
        .replace("{{project}}", &escape(&project));
    let mut response =
        response::with_body("text/html; charset=utf-8", ResponseBody::Whole(page.into()));
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response::set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    response::set(&mut response, REFERRER_POLICY, "same-origin");
    Ok(response::no_store(response))
}

/// The token of the first start, and a project of it.
async fn working_token(peer: &Peer) -> Option<(String, String)> {
    let context = &*peer.context;
    let secret = default_token(context.data_dir.as_deref()?)?;
    let token = context.intake.authenticator().identify(secret.expose()).await.ok()?;
    Some((secret.expose().to_owned(), token.projects.first()?.clone()))
}

/// Text for an attribute in double quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
