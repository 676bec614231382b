//! TLS of both servers: the certificate and key in the settings, read again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use bklit_net::log_throttle::LogThrottle;
use bklit_net::tls::expiry;
use bklit_wire::duration::seconds;
use bklit_wire::time::UtcMillis;

/// How often the files are checked for a renewed certificate.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// How often a certificate that expires soon, or has expired, is logged.
const LOG_EXPIRY_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that expires within this time should have been renewed.
pub const RENEWAL_DAYS: i64 = 14;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFilesError {
    /// A file cannot be read.
    #[error("{setting}: cannot read {}: {error}", file.display())]
    Read {
        /// The setting with the file's path.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file does not contain what it should.
    #[error("{setting}: {} {problem}", file.display())]
    Content {
        /// The setting with the file's path.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// They do not belong together.
    #[error("the key in tls_key ({}) does not belong to the certificate in tls_cert ({})",
        key.display(), certificate.display())]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
}

/// The certificate and key of the servers.
pub struct ServerTls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// When the certificate expires; `None` if that is unknown.
    expiry: Option<UtcMillis>,
    /// The hash of both files.
    digest: [u8; 32],
}

impl ServerTls {
    /// Reads a chain of certificates, the server's first, and its private key, both PEM.
    ///
    /// # Errors
    /// When a file cannot be read or used, or when they do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsFilesError> {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let (chain, secret) = read(&certificate, &key)?;
        let (config, expiry) = configure(&certificate, &key, &chain, &secret)?;
        let current = Current { config, expiry, digest: digest(&chain, &secret) };
        Ok(Self { certificate, key, current: RwLock::new(current) })
    }

    /// The configuration for a new connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// The days until the certificate expires, negative once it has; `None` if that is unknown.
    pub fn days_left(&self) -> Option<i64> {
        let expiry = self.current.read().unwrap_or_else(PoisonError::into_inner).expiry?;
        let left = expiry.epoch_millis() - UtcMillis::now().epoch_millis();
        Some(left.div_euclid(DAY_MILLIS))
    }

    /// Reads the files again; returns whether they have changed.
    ///
    /// # Errors
    /// When they cannot be used: the last good ones stay in use.
    pub fn reload(&self) -> Result<bool, TlsFilesError> {
        let (chain, secret) = read(&self.certificate, &self.key)?;
        let digest = digest(&chain, &secret);
        if self.current.read().unwrap_or_else(PoisonError::into_inner).digest == digest {
            return Ok(false);
        }
        let (config, expiry) = configure(&self.certificate, &self.key, &chain, &secret)?;
        let current = Current { config, expiry, digest };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(true)
    }

    /// Reloads the files when they change, until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(CHECK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.log_expiry();
        let mut expiry_logged = Instant::now();
        let broken = LogThrottle::default();
        // Certificate and key are renewed one after the other, so a single failure is ignored.
        let mut failed_before = false;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let own = Arc::clone(&self);
            let reloaded = tokio::task::spawn_blocking(move || own.reload()).await;
            if expiry_logged.elapsed() >= LOG_EXPIRY_EVERY {
                self.log_expiry();
                expiry_logged = Instant::now();
            }
            // Reading does not panic.
            let Ok(reloaded) = reloaded else { continue };
            match reloaded {
                Ok(changed) => {
                    failed_before = false;
                    let recovered = broken.recovered().is_some();
                    if changed || recovered {
                        let certificate = self.certificate.display();
                        tracing::info!(%certificate, "using the TLS certificate on disk");
                        self.log_expiry();
                        expiry_logged = Instant::now();
                    }
                }
                Err(_) if !failed_before => failed_before = true,
                Err(error) => {
                    if let Some(lasting) = broken.failure().map(seconds) {
                        tracing::error!(
                            %error, lasting,
                            "the TLS certificate on disk cannot be used; the last good one stays in use"
                        );
                    }
                }
            }
        }
    }
}

impl ServerTls {
    fn log_expiry(&self) {
        let certificate = self.certificate.display();
        match self.days_left() {
            Some(days) if days < 0 => {
                tracing::error!(%certificate, "the TLS certificate has expired: renew it");
            }
            Some(days) if days < RENEWAL_DAYS => {
                tracing::warn!(%certificate, days, "the TLS certificate expires soon: renew it");
            }
            _ => {}
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), TlsFilesError> {
    let read = |setting, file: &Path| {
        std::fs::read(file).map_err(|error| {
            let file = file.to_owned();
            TlsFilesError::Read { setting, file, error }
        })
    };
    Ok((read("tls_cert", certificate)?, read("tls_key", key)?))
}

fn digest(chain: &[u8], key: &[u8]) -> [u8; 32] {
    let length = (chain.len() as u64).to_le_bytes();
    Sha256::new().chain_update(length).chain_update(chain).chain_update(key).finalize().into()
}

fn configure(
    certificate: &Path,
    key: &Path,
    chain: &[u8],
    secret: &[u8],
) -> Result<(Arc<ServerConfig>, Option<UtcMillis>), TlsFilesError> {
    let content = |setting, file: &Path, problem: String| {
        let file = file.to_owned();
        TlsFilesError::Content { setting, file, problem }
    };
    let in_certificate = |problem| content("tls_cert", certificate, problem);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| in_certificate(format!("is not a valid PEM file: {error}")))?;
    let Some(first) = chain.first() else {
        return Err(in_certificate("contains no certificate (PEM)".to_owned()));
    };
    let expiry = expiry(first)
        .and_then(|at| i64::try_from(at.as_secs()).ok())
        .map(|seconds| UtcMillis::from_epoch_millis(seconds.saturating_mul(1000)));
    let secret = PrivateKeyDer::from_pem_slice(secret).map_err(|error| {
        let problem = "contains no usable private key (PEM, without a passphrase)";
        content("tls_key", key, format!("{problem}: {error}"))
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsFilesError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
            }
            error => in_certificate(format!("cannot be used with the key in tls_key: {error}")),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), expiry))
}
