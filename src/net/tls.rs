//! TLS for clients: which certificates to trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

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

/// The configuration of a client that trusts [`roots`], and the server whose certificate is the first
/// in the file `own`, whatever its name: a program's own server is also reached at addresses that are
/// not in its certificate.
///
/// # Errors
/// As [`roots`].
pub fn client_config_trusting(
    given: Option<&[u8]>,
    own: PathBuf,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(roots(given)?);
    let others = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| TlsError(error.to_string()))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?;
    let verifier = Arc::new(OwnOrTrusted { own, others });
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// When a certificate expires; `None` if it cannot be read.
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    // The verifier reports when an expired certificate expired; by this year, every certificate
    // has.
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(roots(None).ok()?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let then = UnixTime::since_unix_epoch(YEAR_10000);
    match verifier.verify_server_cert(certificate, &[], &name, &[], then) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after)
        }
        _ => None,
    }
}

/// Accepts the certificate in a file, and what `others` accepts.
#[derive(Debug)]
struct OwnOrTrusted {
    own: PathBuf,
    others: Arc<WebPkiServerVerifier>,
}

impl OwnOrTrusted {
    /// Reads the file each time: it may have been renewed.
    fn is_own(&self, certificate: &CertificateDer<'_>) -> bool {
        CertificateDer::from_pem_file(&self.own).is_ok_and(|own| own == *certificate)
    }
}

impl ServerCertVerifier for OwnOrTrusted {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_own(certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        self.others.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.others.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.others.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.others.supported_verify_schemes()
    }
}
