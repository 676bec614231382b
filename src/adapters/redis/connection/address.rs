//! Redis URLs: a server, a socket, the Sentinels of a server, or some nodes of a cluster.

use std::path::PathBuf;

use redis::{ConnectionAddr, RedisConnectionInfo};

use bklit_net::server_url::{Host, ServerUrl};

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const SCHEMES: &[&str] = &["redis", "rediss"];
const LIKE: &str = "redis://localhost:6379";

/// A parsed URL.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) servers: Servers,
    /// User, password and database on the servers.
    pub(super) login: RedisConnectionInfo,
    /// Whether the servers are reached over TLS.
    pub(super) is_tls: bool,
    /// For display, without credentials.
    pub(super) shown: String,
}

/// Which servers a URL names.
#[derive(Clone)]
pub(super) enum Servers {
    /// One server.
    One(ConnectionAddr),
    /// The server that these Sentinels know under a name.
    Sentinels { addresses: Vec<ConnectionAddr>, name: String, login: RedisConnectionInfo },
    /// The cluster to which these nodes belong.
    Cluster(Vec<ConnectionAddr>),
}

impl Address {
    /// Parses a URL.
    ///
    /// # Errors
    /// What is wrong, without the URL, as the predicate of a sentence about it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
        let scheme = scheme.to_ascii_lowercase();
        // Valkey's schemes mean the same.
        let scheme = match scheme.strip_prefix("valkey") {
            Some(rest) => format!("redis{rest}"),
            None => scheme,
        };
        let (scheme, kind) = match scheme.as_str() {
            "unix" => ("redis", "unix"),
            scheme => scheme.split_once('+').unwrap_or((scheme, "")),
        };
        let url = ServerUrl::parse(&format!("{scheme}://{rest}"), SCHEMES, LIKE)?;
        let is_tls = url.scheme == "rediss";
        match kind {
            "" => Self::of_server(&url, is_tls),
            "unix" if !is_tls => Self::of_socket(&url),
            "sentinel" => Self::of_sentinels(&url, is_tls),
            "cluster" => Self::of_cluster(&url, is_tls),
            _ => Err(format!("is not a URL like {LIKE}")),
        }
    }

    fn of_server(url: &ServerUrl, is_tls: bool) -> Result<Self, String> {
        let [host] = url.hosts.as_slice() else {
            return Err("has several hosts".to_owned());
        };
        let (address, login) = (tcp(host, PORT, is_tls)?, login(url, &url.path)?);
        Ok(Self { shown: address.to_string(), servers: Servers::One(address), login, is_tls })
    }

    fn of_socket(url: &ServerUrl) -> Result<Self, String> {
        let host = url.hosts.first().map_or("", |host| &host.name);
        if url.path.is_empty() || !host.is_empty() {
            return Err("has no absolute path: write unix:///run/redis.sock".to_owned());
        }
        let address = ConnectionAddr::Unix(PathBuf::from(format!("/{}", url.path)));
        let mut login = login(url, url.parameter("db").unwrap_or_default())?;
        if let Some(user) = url.parameter("user") {
            login = login.set_username(user);
        }
        if let Some(password) = url.parameter("pass") {
            login = login.set_password(password);
        }
        let shown = address.to_string();
        Ok(Self { servers: Servers::One(address), login, is_tls: false, shown })
    }

    fn of_sentinels(url: &ServerUrl, is_tls: bool) -> Result<Self, String> {
        let (name, database) = url.path.split_once('/').unwrap_or((&url.path, ""));
        if name.is_empty() {
            return Err(
                "does not name the primary: write redis+sentinel://host,host/mymaster".into()
            );
        }
        let addresses = tcp_all(url, SENTINEL_PORT, is_tls)?;
        let mut of_sentinels = RedisConnectionInfo::default();
        if let Some(user) = url.parameter("sentinel_user") {
            of_sentinels = of_sentinels.set_username(user);
        }
        if let Some(password) = url.parameter("sentinel_pass") {
            of_sentinels = of_sentinels.set_password(password);
        }
        let shown = format!("{name} of {}", joined(&addresses));
        let servers = Servers::Sentinels { addresses, name: name.to_owned(), login: of_sentinels };
        Ok(Self { servers, login: login(url, database)?, is_tls, shown })
    }

    fn of_cluster(url: &ServerUrl, is_tls: bool) -> Result<Self, String> {
        let login = login(url, &url.path)?;
        if login.db() != 0 {
            return Err("names a database, but a cluster has only one".to_owned());
        }
        let nodes = tcp_all(url, PORT, is_tls)?;
        let shown = format!("cluster {}", joined(&nodes));
        Ok(Self { servers: Servers::Cluster(nodes), login, is_tls, shown })
    }
}

fn login(url: &ServerUrl, database: &str) -> Result<RedisConnectionInfo, String> {
    let mut login = RedisConnectionInfo::default();
    if let (Some(user), Some(_)) = (&url.user, &url.password) {
        login = login.set_username(user);
    }
    if let Some(password) = &url.password {
        login = login.set_password(password);
    }
    match database.trim_matches('/') {
        "" => Ok(login),
        number => match number.parse::<u32>() {
            Ok(number) => Ok(login.set_db(number.into())),
            Err(_) => Err("has a database that is not a number".to_owned()),
        },
    }
}

/// The address of a node, over TLS or not.
pub(super) fn tcp(host: &Host, default_port: u16, is_tls: bool) -> Result<ConnectionAddr, String> {
    let (host, port) = (host.name.clone(), host.port.unwrap_or(default_port));
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    Ok(match is_tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    })
}

fn tcp_all(
    url: &ServerUrl,
    default_port: u16,
    is_tls: bool,
) -> Result<Vec<ConnectionAddr>, String> {
    url.hosts.iter().map(|host| tcp(host, default_port, is_tls)).collect()
}

fn joined(addresses: &[ConnectionAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_url_names_its_servers() {
        for (url, shown, database, password) in [
            ("redis://h", "h:6379", 0, None),
            ("valkey://:p@h:1/3", "h:1", 3, Some("p")),
            ("rediss://u:p@[::1]:1", "::1:1", 0, Some("p")),
            ("unix:///run/redis.sock?db=2&pass=p", "/run/redis.sock", 2, Some("p")),
            ("redis+unix:///r?user=u&pass=p", "/r", 0, Some("p")),
            ("redis+unix://u:p@/run/r", "/run/r", 0, Some("p")),
            ("redis+sentinel://:p@a:1,b/main/4", "main of a:1,b:26379", 4, Some("p")),
            ("valkeys+cluster://a:1,b", "cluster a:1,b:6379", 0, None),
            ("REDISS://:P@h", "h:6379", 0, Some("P")),
            ("ValkeyS+Sentinel://:p@a/Main", "Main of a:26379", 0, Some("p")),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((&*address.shown, address.login.db()), (shown, database), "{url}");
            assert_eq!(address.login.password(), password, "{url}");
            let lower = url.to_lowercase();
            let is_tls = lower.starts_with("rediss") || lower.starts_with("valkeys");
            assert_eq!(address.is_tls, is_tls, "{url}");
            if let Servers::One(server) = &address.servers {
                assert_eq!(matches!(server, ConnectionAddr::TcpTls { .. }), is_tls, "{url}");
            }
        }
        let url = "redis+sentinel://a/m?sentinel_user=u&sentinel_pass=p";
        let Servers::Sentinels { login, .. } = Address::parse(url).unwrap().servers else {
            panic!()
        };
        assert_eq!((login.username(), login.password()), (Some("u"), Some("p")));
    }

    #[test]
    fn an_unusable_url_is_refused_with_a_reason() {
        for (url, reason) in [
            ("http://x", "is not a URL"),
            ("", "is not a URL"),
            ("rediss+unix:///r", "is not a URL"),
            ("redis+ring://h", "is not a URL"),
            ("redis://:secret@", "has no host"),
            ("redis://a,b", "several hosts"),
            ("redis://h/nodb", "not a number"),
            ("redis://h/-1", "not a number"),
            ("unix://", "absolute path"),
            ("unix://run/redis.sock", "absolute path"),
            ("redis+sentinel://:secret@a,b", "does not name the primary"),
            ("redis+cluster://a/3", "only one"),
        ] {
            let error = Address::parse(url).err().unwrap();
            assert!(error.contains(reason) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
