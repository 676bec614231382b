//! Which running pipeline a command talks to, and with which token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use color_eyre::eyre::{WrapErr as _, bail};
use url::Url;

use crate::config::Settings;
use bklit_pipeline::auth::default_token;
use bklit_remote::client::{Client, client};

/// A client as the settings say: it trusts the certificates of `tls_ca_file`, else Mozilla's roots.
///
/// # Errors
/// If the file cannot be used.
pub fn connect(settings: &Settings) -> color_eyre::Result<Client> {
    client(settings.tls_ca_file.as_deref()).wrap_err("tls_ca_file cannot be used")
}

/// Where, in its data dir, a running pipeline says at which address it listens.
pub const ADDRESS_FILE: &str = "listen.addr";

/// The environment variable that holds a token for commands that talk to a pipeline.
pub const TOKEN_VARIABLE: &str = "BKLIT_TOKEN";

/// The address to talk to, without a slash at its end: the given one, else the one at which the
/// pipeline of these settings listens.
///
/// # Errors
/// When the given one is no `http://` or `https://` address, or none is given and the settings
/// leave the port to the system and no pipeline runs.
pub fn base_url(given: Option<&str>, settings: &Settings) -> color_eyre::Result<String> {
    let Some(given) = given else {
        return Ok(format!("http://{}", listening(settings)?));
    };
    let text = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let url = Url::parse(&text).wrap_err_with(|| format!("{given} is no address"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        bail!("{given} is no address of a pipeline; try http://127.0.0.1:3001");
    }
    if url.query().is_some() || url.fragment().is_some() {
        bail!("{given} has more than an address; leave out what follows ? or #");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Where the pipeline of these settings listens.
fn listening(settings: &Settings) -> color_eyre::Result<SocketAddr> {
    let listen = settings.listen;
    // A configured address is meant; otherwise a pipeline that runs on this data dir knows better.
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
            "no pipeline runs on the data dir {}; start bklit-tui, or give the address of a running one",
            settings.data_dir.display()
        ),
    }
}

/// An address to connect to: loopback where the server listens on all interfaces.
fn reachable(mut address: SocketAddr) -> SocketAddr {
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

/// The ingest token that the first start left in the data dir.
///
/// # Errors
/// When there is none; says what to do.
pub fn stored_token(data_dir: &Path) -> color_eyre::Result<String> {
    let Some(secret) = default_token(data_dir) else {
        bail!(
            "there is no token in {}; give one with --token or {TOKEN_VARIABLE} (bklit-tui token \
             create --project default makes one)",
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
    fn a_missing_token_is_an_error_with_a_way_out() {
        let (dir, _) = settings("127.0.0.1:0");
        let error = stored_token(dir.path()).unwrap_err().to_string();
        assert!(error.contains("token create") && error.contains(TOKEN_VARIABLE), "{error}");
        let token = format!("bk_live_{}", "0".repeat(64));
        std::fs::write(dir.path().join("token"), format!("{token}\n")).unwrap();
        assert_eq!(stored_token(dir.path()).unwrap(), token);
    }
}
