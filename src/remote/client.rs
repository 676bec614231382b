//! The HTTP client for a running pipeline.

use std::path::Path;
use std::time::Duration;

use bklit_net::tls::{self, TlsError};
use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Pooled keep-alive connections over `http://` and `https://`.
pub type Client = Pooled<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates a client. It trusts the root certificates in the file `roots` (PEM), or Mozilla's if
/// `None`, and the server with the certificate in the file `own`, under any name. Responses have no
/// time limit; the caller sets one where needed.
///
/// # Errors
/// [`TlsError`] if the certificates cannot be read or used.
pub fn client(roots: Option<&Path>, own: Option<&Path>) -> Result<Client, TlsError> {
    let roots = roots.map(tls::read_roots).transpose()?;
    let config = match own {
        Some(own) => tls::client_config_trusting(roots.as_deref(), own.to_owned())?,
        None => tls::client_config(roots.as_deref())?,
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(Pooled::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(https))
}

/// The message of the innermost cause of an error, which is the most specific one.
pub fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
