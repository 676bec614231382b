//! `GET /tracker.js`: the script that pages embed.

use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use sha2::{Digest, Sha256};

use super::response::{self, ResponseBody};

const SOURCE: &str = include_str!("assets/tracker.js");
/// For an hour, browsers use the script without a request; for another day, they use it while they
/// fetch the new one.
const CACHING: &str = "public, max-age=3600, stale-while-revalidate=86400";
/// Allows pages with `Cross-Origin-Embedder-Policy: require-corp` to embed it.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Digits of a digest in an entity tag.
const TAG_DIGITS: usize = 16;

static PLAIN: LazyLock<Script> = LazyLock::new(|| Script::new(compact(SOURCE).into()));
static GZIPPED: LazyLock<Option<Script>> =
    LazyLock::new(|| Some(Script::new(gzip(&PLAIN.text).ok()?.into())));

/// The script in one encoding.
struct Script {
    text: Bytes,
    /// The entity tag, in quotes.
    tag: String,
}

impl Script {
    fn new(text: Bytes) -> Self {
        let digest = HEXLOWER.encode(&Sha256::digest(&text));
        Self { text, tag: format!("\"{}\"", &digest[..TAG_DIGITS]) }
    }
}

/// Removes indentation, empty lines and comments, each of which has lines of its own.
fn compact(source: &str) -> String {
    let lines = source.lines().map(str::trim);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    code.flat_map(|line| [line, "\n"]).collect()
}

fn gzip(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text)?;
    encoder.finish()
}

/// Responds with the script, or with 304 if the client has it.
pub fn script(head: &Parts) -> Response<ResponseBody> {
    let gzipped = GZIPPED.as_ref().filter(|_| accepts_gzip(&head.headers));
    let script = gzipped.unwrap_or(&PLAIN);
    let mut response = Response::new(ResponseBody::Whole(Bytes::new()));
    if has(&head.headers, &script.tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = ResponseBody::Whole(script.text.clone());
        response::set(&mut response, CONTENT_TYPE, "text/javascript; charset=utf-8");
        if gzipped.is_some() {
            response::set(&mut response, CONTENT_ENCODING, "gzip");
        }
    }
    if let Ok(tag) = HeaderValue::from_str(&script.tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    for (name, value) in [
        (CACHE_CONTROL, CACHING),
        (VARY, "Accept-Encoding"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (RESOURCE_POLICY, "cross-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response::set(&mut response, name, value);
    }
    response
}

/// The members of the list in a header.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    members(headers, ACCEPT_ENCODING).any(|member| {
        let (name, weight) = member.split_once(';').unwrap_or((member, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight: f32| weight > 0.0)
    })
}

/// Whether the client already has the version with this entity tag.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    // Proxies that compress mark tags as weak.
    members(headers, IF_NONE_MATCH)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
