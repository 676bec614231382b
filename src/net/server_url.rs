//! URLs of servers: their parts, several hosts included, and the usual mistakes in them.
//!
//! Passwords contain every character that separates the parts of a URL, and pass through shells, env
//! files and YAML on their way here. So what is wrong is explained, and the URL is never quoted.

use percent_encoding::percent_decode_str;

const DELIMITERS: &str = "contains #, or more than one @, or a / or ? before the @: percent-encode \
                          user and password (# is %23, @ is %40, / is %2F, ? is %3F)";
const NOT_UTF8: &str = "has a percent-encoded user or password that is not UTF-8";
const QUOTED: &str = "is in quotes, which became part of the value: remove one pair";
const WHITE_SPACE: &str =
    "contains white space or a control character: percent-encode it (a space is %20)";
const PLACEHOLDER: &str = "contains a placeholder that was not replaced, such as ${PASSWORD}";
const TEMPLATE: &str = "has a placeholder in place of the password, such as <password>";

/// A server's URL, split into its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// In lower case, without `://`.
    pub scheme: String,
    /// Decoded; `None` if empty.
    pub user: Option<String>,
    /// Decoded; `None` if empty.
    pub password: Option<String>,
    /// At least one; its name is empty where the URL has no host, as for a socket.
    pub hosts: Vec<Host>,
    /// Without the leading `/`, as written.
    pub path: String,
    /// The parameters, decoded.
    pub query: Vec<(String, String)>,
}

/// A host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name or an address, an IPv6 address without brackets.
    pub name: String,
    /// The port, if one is given.
    pub port: Option<u16>,
}

/// Without user and password.
impl std::fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{:?}/{}", self.scheme, self.hosts, self.path)
    }
}

impl ServerUrl {
    /// Splits a URL whose scheme is one of `schemes`.
    ///
    /// # Errors
    /// What is wrong and what to do, as the predicate of a sentence about the URL. Does not quote it.
    pub fn parse(text: &str, schemes: &[&str], like: &str) -> Result<Self, String> {
        let fail = |problem: &str| Err(problem.to_owned());
        if text.starts_with(['"', '\'']) {
            return fail(QUOTED);
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return fail(WHITE_SPACE);
        }
        if text.contains("${") {
            return fail(PLACEHOLDER);
        }
        let unlike = || format!("is not a URL like {like}");
        let (scheme, rest) = text.split_once("://").ok_or_else(unlike)?;
        let scheme = scheme.to_ascii_lowercase();
        let (login, place) = match rest.split_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        if rest.contains('#')
            || place.contains('@')
            || login.is_some_and(|login| login.contains(['/', '?']))
        {
            return fail(DELIMITERS);
        }
        if !schemes.contains(&scheme.as_str()) {
            return Err(unlike());
        }
        let login = login.unwrap_or_default();
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        if password.starts_with('<') && password.ends_with('>') {
            return fail(TEMPLATE);
        }
        let (user, password) = (decode(user)?, decode(password)?);
        let end = place.find(['/', '?']).unwrap_or(place.len());
        let (authority, rest) = place.split_at(end);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let hosts = authority.split(',').map(|host| Host::parse(host, like));
        let query = query.split('&').filter(|pair| !pair.is_empty());
        Ok(Self {
            scheme,
            user,
            password,
            hosts: hosts.collect::<Result<_, _>>()?,
            path: path.strip_prefix('/').unwrap_or(path).to_owned(),
            query: query.map(parameter).collect::<Result<_, _>>()?,
        })
    }

    /// A parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Host {
    fn parse(text: &str, like: &str) -> Result<Self, String> {
        let (name, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            Some((name, port)) => (name, port),
            None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if !digits.is_empty() => Some(digits.parse().map_err(|_| {
                format!("has a port that is not a number up to 65535; it should look like {like}")
            })?),
            _ => None,
        };
        Ok(Self { name: name.to_owned(), port })
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]", self.name)?,
            false => f.write_str(&self.name)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn parameter(pair: &str) -> Result<(String, String), String> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    Ok((decode(key)?.unwrap_or_default(), decode(value)?.unwrap_or_default()))
}

/// `None` if it is empty.
fn decode(text: &str) -> Result<Option<String>, String> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| NOT_UTF8.to_owned())?;
    Ok((!decoded.is_empty()).then(|| decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIKE: &str = "redis://localhost:6379";

    fn parse(text: &str) -> Result<ServerUrl, String> {
        ServerUrl::parse(text, &["redis", "unix"], LIKE)
    }

    #[test]
    fn a_url_is_split_into_its_parts() {
        let url = parse("Redis://us%40er:p%3A%2F@one:1,[::1]:2,three/name/7?a=b%20c&d").unwrap();
        assert_eq!((&*url.scheme, url.user.as_deref()), ("redis", Some("us@er")));
        assert_eq!(url.password.as_deref(), Some("p:/"));
        let hosts: Vec<_> = url.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["one:1", "[::1]:2", "three"]);
        assert_eq!((&*url.path, url.parameter("a")), ("name/7", Some("b c")));
        assert_eq!((url.parameter("d"), url.parameter("x")), (Some(""), None));
        assert!(!format!("{url:?}").contains("p:"));
        let socket = parse("unix:///run/redis.sock?db=2").unwrap();
        assert_eq!((&*socket.hosts[0].name, &*socket.path), ("", "run/redis.sock"));
        // As written by hand: only what separates the parts has to be encoded.
        assert_eq!(parse("redis://:a:b%$<@h").unwrap().password.as_deref(), Some("a:b%$<"));
        let open = parse("redis://h").unwrap();
        assert_eq!((open.user, open.password, &*open.path), (None, None, ""));
    }

    #[test]
    fn errors_are_explained_without_the_password() {
        for (url, expected) in [
            ("\"redis://:hush@h\"", "quotes"),
            ("'redis://:hush@h'", "quotes"),
            ("redis://:hu sh@h", "white space"),
            ("redis://:hush@h\u{7}", "control"),
            ("redis://:${hush}@h", "placeholder"),
            ("redis://:<hush>@h", "placeholder"),
            ("h:6379", "is not a URL like redis://"),
            ("rediss://:hush@h", "is not a URL like redis://"),
            ("redis://:hu#sh@h", "# is %23"),
            ("redis://:hu@sh@h", "@ is %40"),
            ("redis://:hu/sh@h", "/ is %2F"),
            ("redis://:hu?sh@h", "? is %3F"),
            ("redis://:hush%ff@h", "UTF-8"),
            ("redis://:hush@h:port", "port"),
            ("redis://:hush@h:65536", "port"),
        ] {
            let problem = parse(url).unwrap_err();
            assert!(problem.contains(expected), "{url}: {problem}");
            assert!(!problem.contains("hu"), "{url}: {problem}");
        }
    }
}
