//! Parses `DATABASE_URL` as Prisma writes it, with Prisma's own parameters, which other clients
//! reject.

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use url::Url;

use super::tls::Trust;

/// The parsed URL.
pub(super) struct Address {
    /// Host, port, credentials and database.
    pub(super) config: Config,
    /// How the server's certificate is verified.
    pub(super) trust: Trust,
    /// The schema of the tables, if the URL names one.
    pub(super) schema: Option<String>,
    /// Host and port, for display.
    pub(super) shown: String,
}

const DEFAULT_PORT: u16 = 5432;

/// Parses a `postgres://` URL. Ignores parameters that concern a client's own pool or cache:
/// `connection_limit`, `pool_timeout`, `pgbouncer` and the like.
///
/// # Errors
/// Describes what is wrong, without the URL, which contains the password.
pub(super) fn parse(url: &str, roots: Option<&[u8]>) -> Result<Address, String> {
    let url = Url::parse(url).map_err(|error| format!("not a valid URL: {error}"))?;
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return Err("the URL must start with postgres:// or postgresql://".to_owned());
    }
    let parameter = |name: &str| {
        let found = url.query_pairs().find(|(key, _)| key == name)?.1.into_owned();
        (!found.is_empty()).then_some(found)
    };
    let mut config = Config::new();
    config.application_name(parameter("application_name").as_deref().unwrap_or("bklit-tui"));
    let host = url.host_str().filter(|host| !host.is_empty()).map(decode);
    // A socket's directory is given as a parameter; the URL's host is then only a placeholder.
    let host = parameter("host").or(host).unwrap_or_else(|| "localhost".to_owned());
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port().unwrap_or(DEFAULT_PORT);
    config.host(host).port(port);
    let user = decode(url.username());
    config.user(if user.is_empty() { "postgres".to_owned() } else { user });
    if let Some(password) = url.password() {
        config.password(decode(password));
    }
    let database = decode(url.path().trim_start_matches('/'));
    if !database.is_empty() {
        config.dbname(database);
    }
    if let Some(options) = parameter("options") {
        config.options(options);
    }
    let verified = Trust::Verified(roots.map(<[u8]>::to_vec));
    let strict = roots.is_some() || parameter("sslaccept").as_deref() == Some("strict");
    let (mode, trust) = match parameter("sslmode").as_deref() {
        Some("disable") => (SslMode::Disable, Trust::Anyone),
        None | Some("allow" | "prefer") => (SslMode::Prefer, Trust::Anyone),
        Some("no-verify") => (SslMode::Require, Trust::Anyone),
        // As in other clients: encrypted, and verified if there are root certificates to verify
        // with.
        Some("require") if !strict => (SslMode::Require, Trust::Anyone),
        Some("require" | "verify-ca" | "verify-full") => (SslMode::Require, verified),
        Some(_) => {
            let known = "disable, prefer, require, no-verify, verify-ca or verify-full";
            return Err(format!("sslmode must be {known}"));
        }
    };
    config.ssl_mode(mode);
    let schema = parameter("schema");
    Ok(Address { config, trust, schema, shown: format!("{host}:{port}") })
}

/// The text without its percent-encoding; invalid UTF-8 becomes replacement characters.
fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn address(url: &str) -> Address {
        parse(url, None).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn parameters_of_prisma_are_accepted() {
        let url = "postgresql://us%40er:p%3A%2Fw%2B@db.example:6543/bk%20lit?schema=web&\
                   connection_limit=5&pool_timeout=10&pgbouncer=true&sslmode=require&\
                   statement_cache_size=0&channel_binding=require";
        let Address { config, trust, schema, shown } = address(url);
        assert_eq!(config.get_user(), Some("us@er"));
        assert_eq!(config.get_password(), Some(b"p:/w+".as_slice()));
        assert_eq!(config.get_dbname(), Some("bk lit"));
        assert_eq!(config.get_hosts(), [Host::Tcp("db.example".to_owned())]);
        assert_eq!(
            (config.get_ports(), config.get_ssl_mode()),
            ([6543].as_slice(), SslMode::Require)
        );
        assert_eq!((schema.as_deref(), shown.as_str()), (Some("web"), "db.example:6543"));
        assert!(matches!(trust, Trust::Anyone));
    }

    #[test]
    fn certificates_are_verified_if_the_url_requires_it() {
        for (query, verified) in [
            ("", false),
            ("?sslmode=prefer", false),
            ("?sslmode=no-verify", false),
            ("?sslmode=require&sslaccept=strict", true),
            ("?sslmode=verify-ca", true),
            ("?sslmode=verify-full", true),
        ] {
            let found = address(&format!("postgres://h/d{query}"));
            assert_eq!(matches!(found.trust, Trust::Verified(_)), verified, "{query}");
        }
        let found = parse("postgres://h/d?sslmode=require", Some(b"pem")).unwrap();
        assert!(matches!(found.trust, Trust::Verified(Some(_))), "there are root certificates");
    }

    #[test]
    fn sockets_and_addresses_are_hosts_too() {
        for url in [
            "postgres://u@localhost/d?host=/run/pg",
            "postgres:///d?host=/run/pg",
            "postgres://u@%2Frun%2Fpg/d",
        ] {
            assert_eq!(address(url).config.get_hosts(), [Host::Unix("/run/pg".into())], "{url}");
        }
        let found = address("postgres://[::1]:5433/d");
        assert_eq!(found.config.get_hosts(), [Host::Tcp("::1".to_owned())]);
    }

    #[test]
    fn an_invalid_url_is_refused_without_showing_it() {
        for url in [
            "hush",
            "prisma://accelerate.example/?api_key=hush",
            "postgres://u:hush@h:port/d",
            "postgres://u:hush@h/d?sslmode=maybe",
        ] {
            let error = parse(url, None).map(|_| ()).unwrap_err();
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
