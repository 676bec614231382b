//! TLS for clients: which root certificates to trust.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

/// Reads a file of root certificates (PEM), which must contain at least one.
///
/// # Errors
/// When it cannot be read, or contains no usable certificate.
pub fn read_roots(file: &Path) -> Result<Vec<u8>, TlsError> {
    let in_file = |why: String| TlsError(format!("{}: {why}", file.display()));
    let pem = std::fs::read(file).map_err(|error| in_file(error.to_string()))?;
    roots(Some(&pem)).map_err(|error| in_file(error.to_string()))?;
    Ok(pem)
}

/// The given roots (PEM), or Mozilla's where none are given.
///
/// # Errors
/// When `given` contains no certificate, or an invalid one.
pub fn roots(given: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(pem) = given else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        let none = "no certificate (PEM) among the root certificates";
        return Err(TlsError(none.to_owned()));
    }
    Ok(roots)
}

fn unusable(error: &dyn std::fmt::Display) -> TlsError {
    TlsError(format!("invalid root certificate: {error}"))
}

/// The configuration of a client that trusts [`roots`] only.
///
/// # Errors
/// As [`roots`].
pub fn client_config(given: Option<&[u8]>) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?;
    Ok(config.with_root_certificates(roots(given)?).with_no_client_auth())
}
