//! The handshake: turns a request into a socket, or into a response with the reason why not.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

/// The version of the protocol.
const VERSION: &str = "13";

/// The kind of client that opens a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Browser,
    Dashboard,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Dashboard => "dashboard",
        }
    }
}

/// A socket that opens once the connection is upgraded.
pub struct Opening {
    pub kind: Kind,
    pub head: Parts,
    pub upgrade: OnUpgrade,
}

/// Passes the opening socket from the request's handler to the connection's task.
#[derive(Clone, Default)]
pub struct Slot(Arc<Mutex<Option<Opening>>>);

impl Slot {
    pub fn take(&self) -> Option<Opening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, opening: Opening) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(opening);
    }
}

/// Responds to a request; a valid handshake puts the opening socket into `slot`.
pub fn respond(mut request: Request<Incoming>, slot: &Slot) -> Response<Full<Bytes>> {
    let kind = match request.uri().path() {
        "/" => Kind::Browser,
        "/dashboard" | "/dashboard/" => Kind::Dashboard,
        _ => {
            let why = "unknown path: browsers use /, dashboards /dashboard";
            return refusal(StatusCode::NOT_FOUND, why);
        }
    };
    if !request.headers().contains_key(UPGRADE) {
        let mut response = refusal(StatusCode::UPGRADE_REQUIRED, "open this with WebSocket");
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    }
    // A client may try again with a version that is named here (RFC 6455, 4.4).
    if request.headers().get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version != VERSION) {
        let why = "unsupported version of WebSocket: use 13";
        let mut response = refusal(StatusCode::UPGRADE_REQUIRED, why);
        let headers = response.headers_mut();
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    }
    let response = match create_response_with_body(&request, Full::default) {
        Ok(response) => response,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    slot.put(Opening { kind, head, upgrade });
    response
}

fn refusal(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": why }).to_string();
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
