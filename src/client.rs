//! The HTTP client with which commands talk to a running pipeline.

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Pooled keep-alive connections, `http://` and `https://` (certificates by Mozilla's roots).
pub type Client = Pooled<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// A client for requests with a body in memory. Answers have no deadline of their own: the
/// caller sets one where it wants one.
pub fn client() -> Client {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Pooled::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(https)
}
