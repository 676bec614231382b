//! The address and token of the running pipeline that a command connects to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use color_eyre::eyre::{WrapErr as _, bail};
use url::Url;

use crate::config::Settings;
use bklit_pipeline::auth::default_token;
use bklit_remote::client::{Client, client};

/// An HTTP client that trusts the certificates in `tls_ca_file`, else Mozilla's roots, and the
/// pipeline with these settings.
///
/// # Errors
/// When the file cannot be used.
pub fn connect(settings: &Settings) -> color_eyre::Result<Client> {
    client(settings.tls_ca_file.as_deref(), settings.tls_cert.as_deref())
        .wrap_err("tls_ca_file cannot be used")
}

/// The file in the data dir with the address on which the running pipeline listens.
pub const ADDRESS_FILE: &str = "listen.addr";

/// The environment variable with the token for commands that connect to a pipeline.
pub const TOKEN_VARIABLE: &str = "BKLIT_TOKEN";

/// The base URL of the pipeline, without a trailing slash: the given one, else the address on which
/// the pipeline with these settings listens.
///
/// # Errors
/// When the given one is not an `http://` or `https://` URL, or when none is given, the port in the
/// settings is 0 and no pipeline runs.
pub fn base_url(given: Option<&str>, settings: &Settings) -> color_eyre::Result<String> {
    let Some(given) = given else {
        return Ok(format!("{}://{}", settings.http_scheme(), listening(settings)?));
    };
    let text = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let url = Url::parse(&text).wrap_err_with(|| format!("{given} is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        bail!("{given} is not the URL of a pipeline; try http://127.0.0.1:3001");
    }
    if url.query().is_some() || url.fragment().is_some() {
        bail!("{given} has a query or fragment; leave out ? or # and what follows");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The address on which the pipeline with these settings listens.
fn listening(settings: &Settings) -> color_eyre::Result<SocketAddr> {
    let listen = settings.listen;
    // A configured address wins. The default one may have been overridden when the pipeline started.
    if listen.port() != 0 && listen != Settings::default().listen {
        return Ok(reachable(listen));
    }
    let running = std::fs::read_to_string(settings.data_dir.join(ADDRESS_FILE))
        .ok()
        .and_then(|text| text.trim().parse::<SocketAddr>().ok());
    match running {
        Some(address) => Ok(reachable(address)),
        None if listen.port() != 0 => Ok(reachable(listen)),
        None => bail!(
            "no pipeline runs on the data dir {}; start bklit-tui, or give the URL of a running pipeline",
            settings.data_dir.display()
        ),
    }
}

/// An address to connect to: loopback when the server listens on all interfaces.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// The token given as a flag, else in the environment.
pub fn given_token(flag: Option<&str>) -> Option<String> {
    let token = flag.map(str::to_owned).or_else(|| std::env::var(TOKEN_VARIABLE).ok());
    token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// The ingest token that the first start wrote to the data dir.
///
/// # Errors
/// When there is none.
pub fn stored_token(data_dir: &Path) -> color_eyre::Result<String> {
    let Some(secret) = default_token(data_dir) else {
        bail!(
            "no token in {}; give one with --token or {TOKEN_VARIABLE} (create one with bklit-tui \
             token create --project default)",
            data_dir.display()
        );
    };
    Ok(secret.expose().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str) -> (tempfile::TempDir, Settings) {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            data_dir: dir.path().to_owned(),
            listen: listen.parse().unwrap(),
            ..Settings::default()
        };
        (dir, settings)
    }

    #[test]
    fn the_address_is_the_given_one_or_where_the_pipeline_listens() {
        let (dir, default) = settings("127.0.0.1:3001");
        assert_eq!(base_url(None, &default).unwrap(), "http://127.0.0.1:3001");
        std::fs::write(dir.path().join(ADDRESS_FILE), "0.0.0.0:40123\n").unwrap();
        assert_eq!(base_url(None, &default).unwrap(), "http://127.0.0.1:40123");
        let elsewhere = Settings { listen: "[::]:4000".parse().unwrap(), ..default.clone() };
        assert_eq!(base_url(None, &elsewhere).unwrap(), "http://[::1]:4000");
        for (given, url) in [
            ("http://h:1/", "http://h:1"),
            ("h.example:8080", "http://h.example:8080"),
            ("https://h.example/ingest/", "https://h.example/ingest"),
        ] {
            assert_eq!(base_url(Some(given), &default).unwrap(), url);
        }
        for given in ["", "ftp://h", "http://", "http://h/?a=b"] {
            assert!(base_url(Some(given), &default).is_err(), "{given}");
        }
    }

    #[test]
    fn a_port_left_to_the_system_needs_a_running_pipeline() {
        let (dir, any) = settings("127.0.0.1:0");
        let error = base_url(None, &any).unwrap_err().to_string();
        assert!(error.contains("start bklit-tui"), "{error}");
        std::fs::write(dir.path().join(ADDRESS_FILE), "127.0.0.1:40123").unwrap();
        assert_eq!(base_url(None, &any).unwrap(), "http://127.0.0.1:40123");
    }

    #[test]
    fn a_missing_token_is_an_error_that_says_what_to_do() {
        let (dir, _) = settings("127.0.0.1:0");
        let error = stored_token(dir.path()).unwrap_err().to_string();
        assert!(error.contains("token create") && error.contains(TOKEN_VARIABLE), "{error}");
        let token = format!("bk_live_{}", "0".repeat(64));
        std::fs::write(dir.path().join("token"), format!("{token}\n")).unwrap();
        assert_eq!(stored_token(dir.path()).unwrap(), token);
    }
}
