//! The domains that may use a token: `shop.example` matches that host and its subdomains,
//! `*.shop.example` its subdomains only.
//!
//! Entries come from people and from Bklit's database, so they may be pasted addresses: scheme,
//! port and path are ignored, and names are compared as browsers send them, in lower case and
//! punycode.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use url::{Host, Url};

/// The most domains that an error lists.
const MAX_LISTED: usize = 10;
/// The longest origin that an error quotes, in characters.
const MAX_ORIGIN: usize = 200;

/// Which sites an allowed domain matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DomainRules {
    /// `shop.example` matches that host only, not its subdomains.
    pub exact: bool,
    /// Pages of this machine may use every token, as during development.
    pub allow_localhost: bool,
}

/// The site a browser sent the request from: its `Origin`, else its `Referer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Site<'a>(pub Option<&'a str>);

/// A site that may not use a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token may not be used from {}: it is limited to {}", .origin.as_deref().unwrap_or("a request without Origin and Referer"), .allowed)]
pub struct ForeignSite {
    /// The origin or page that the client named.
    pub origin: Option<String>,
    /// The allowed domains.
    pub allowed: String,
}

/// An allowed domain that can be matched.
#[derive(Debug, PartialEq, Eq)]
struct Pattern<'a> {
    host: Cow<'a, str>,
    /// `*.` in front: only subdomains.
    subdomains: bool,
}

/// The domains of an entry: several may be pasted into one, with commas between them or on lines of
/// their own.
pub fn split(entry: &str) -> impl Iterator<Item = &str> {
    entry.split([',', '\n', '\r']).map(str::trim).filter(|domain| !domain.is_empty())
}

impl<'a> Pattern<'a> {
    /// Reads an entry; `None` if it is not a host name, so that no site matches it.
    fn parse(entry: &'a str) -> Option<Self> {
        let entry = entry.trim();
        let rest = entry.split_once("://").map_or(entry, |(_, rest)| rest);
        let (rest, subdomains) = match rest.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let host = host(rest)?;
        let is_address = || host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
        (!subdomains || !is_address()).then_some(Self { host, subdomains })
    }

    fn matches(&self, host: &str, exact: bool) -> bool {
        let Some(prefix) = host.strip_suffix(&*self.host) else { return false };
        if prefix.is_empty() {
            return !self.subdomains;
        }
        prefix.ends_with('.') && (self.subdomains || !exact)
    }
}

/// The host of a pasted host or address without its scheme.
fn host(text: &str) -> Option<Cow<'_, str>> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'.' | b'0'..=b'9');
    // What ends in a letter is not an IPv4 address, of which there are many spellings.
    if text.bytes().all(is_plain) && text.ends_with(|last: char| last.is_ascii_lowercase()) {
        return (!text.starts_with('.') && !text.contains("..")).then_some(Cow::Borrowed(text));
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Some(Cow::Owned(format!("[{ip}]")));
    }
    let url = Url::parse(&format!("https://{text}")).ok()?;
    let host = url.host_str()?.trim_end_matches('.');
    let is_host = !host.is_empty() && !host.contains(['*', ',']) && !host.starts_with('.');
    (is_host && !host.contains("..")).then(|| Cow::Owned(host.to_owned()))
}

impl Site<'_> {
    /// Whether the site is one of `domains`, which are as they were entered.
    pub fn is_within(self, domains: &[String], rules: DomainRules) -> bool {
        let Some(url) = self.0.and_then(|text| Url::parse(text).ok()) else { return false };
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_end_matches('.');
        let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            // Only hosts of unknown schemes: the others are normalised.
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        };
        let domains = domains.iter().flat_map(|entry| split(entry));
        let patterns = domains.filter_map(Pattern::parse);
        patterns.into_iter().any(|pattern: Pattern<'_>| pattern.matches(&host, rules.exact))
            || (rules.allow_localhost && is_localhost(&url))
    }

    /// The error for a site that is none of `domains`.
    pub(super) fn foreign(self, domains: &[String]) -> ForeignSite {
        let mut allowed = domains.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>().join(", ");
        if domains.len() > MAX_LISTED {
            allowed.push_str(", …");
        }
        let origin = self.0.map(|origin| origin.chars().take(MAX_ORIGIN).collect());
        ForeignSite { origin, allowed }
    }
}

fn is_localhost(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// An entry as it is stored: the host as browsers send it, with `*.` if it had that.
///
/// # Errors
/// What is wrong with an entry that no site would match.
pub fn normalized(entry: &str) -> Result<String, &'static str> {
    match Pattern::parse(entry) {
        Some(Pattern { host, subdomains: false }) => Ok(host.into_owned()),
        Some(Pattern { host, subdomains: true }) => Ok(format!("*.{host}")),
        None if matches!(entry.trim(), "*" | "*.*") => {
            Err("matches no site; omit all domains to allow any site")
        }
        None if entry.trim().is_empty() => Err("is empty"),
        None if entry.contains('*') => Err("a `*` is possible only as in *.shop.example"),
        None => Err("not a host name like shop.example"),
    }
}

/// What is suspicious about the allowed domains of a token: entries that no site matches, and
/// entries that also match the sites of strangers.
pub fn warnings(domains: &[String]) -> Vec<String> {
    let warning = |entry: &str| match Pattern::parse(entry) {
        None => {
            let problem = normalized(entry).err().unwrap_or_default();
            Some(format!("the domain `{entry}` never matches: {problem}"))
        }
        Some(Pattern { host, .. }) if is_public_suffix(&host) => Some(format!(
            "the domain `{entry}` allows the sites of strangers: anyone can register names below \
             `{host}`"
        )),
        Some(_) => None,
    };
    let none = |entry: &&String| split(entry).next().is_none();
    let empty = domains.iter().filter(none).map(String::as_str);
    let parts = domains.iter().flat_map(|entry| split(entry));
    empty.chain(parts).filter_map(warning).collect()
}

/// Whether names directly below this one belong to different owners, as those below `co.uk`.
fn is_public_suffix(host: &str) -> bool {
    psl::suffix(host.as_bytes())
        .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == host.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, origin: &str, rules: DomainRules) -> bool {
        Site(Some(origin)).is_within(&[entry.to_owned()], rules)
    }

    #[test]
    fn a_domain_includes_its_subdomains_and_a_wildcard_only_those() {
        let usual = DomainRules::default();
        let exact = DomainRules { exact: true, ..usual };
        for (entry, origin, usually, exactly) in [
            ("shop.example", "https://shop.example", true, true),
            ("shop.example", "https://www.shop.example", true, false),
            ("shop.example", "https://a.b.shop.example:8443/path?q", true, false),
            ("shop.example", "https://shop.example.", true, true),
            ("shop.example", "https://evilshop.example", false, false),
            ("shop.example", "https://shop.example.evil.example", false, false),
            ("shop.example", "https://example", false, false),
            ("*.shop.example", "https://shop.example", false, false),
            ("*.shop.example", "https://www.shop.example", true, true),
            ("*.shop.example", "https://a.b.shop.example", true, true),
            ("shop.example", "null", false, false),
            ("shop.example", "", false, false),
        ] {
            assert_eq!(allows(entry, origin, usual), usually, "{entry} {origin}");
            assert_eq!(allows(entry, origin, exact), exactly, "{entry} {origin}, exact");
        }
        assert!(!Site(None).is_within(&["a.example".to_owned()], usual));
    }

    #[test]
    fn entries_are_compared_as_browsers_send_hosts() {
        for (entry, origin) in [
            ("https://shop.example/", "https://shop.example"),
            (" HTTP://Shop.Example:8080/cart?x#y ", "https://shop.example"),
            ("münchen.example", "https://xn--mnchen-3ya.example"),
            ("MÜNCHEN.example.", "https://www.münchen.example"),
            ("https://*.shop.example", "https://www.shop.example"),
            ("//", ""),
            ("127.1", "http://127.0.0.1:3000"),
            ("::1", "http://[::1]:3000"),
            ("[::1]:3000", "http://[::1]"),
            ("localhost:3000", "http://localhost"),
            ("user@shop.example", "https://shop.example"),
            ("abcdef", "chrome-extension://ABCDEF"),
        ] {
            let expected = !origin.is_empty();
            assert_eq!(allows(entry, origin, DomainRules::default()), expected, "{entry}");
        }
    }

    #[test]
    fn entries_are_stored_as_they_are_matched() {
        for (entry, stored) in [
            ("example.com", "example.com"),
            ("*.Example.com", "*.example.com"),
            ("https://shop.example.com:8443/cart", "shop.example.com"),
            ("bücher.example.", "xn--bcher-kva.example"),
            ("localhost:3000", "localhost"),
        ] {
            assert_eq!(normalized(entry).as_deref(), Ok(stored));
            assert_eq!(normalized(stored).as_deref(), Ok(stored), "again");
        }
        for entry in
            ["", "*", "a b", "https://", "shop.*.example", "*.*.example", "*.127.0.0.1", "..", ".a"]
        {
            assert!(normalized(entry).is_err(), "{entry}");
        }
    }

    #[test]
    fn several_domains_in_one_entry_are_read() {
        let rules = DomainRules::default();
        for entry in ["shop.example,https://other.example/", " shop.example\n; , other.example "] {
            for (origin, is_allowed) in [
                ("https://shop.example", true),
                ("https://www.other.example", true),
                ("https://third.example", false),
            ] {
                assert_eq!(allows(entry, origin, rules), is_allowed, "{entry:?} {origin}");
            }
        }
        let warned = warnings(&["shop.example, co.uk,*".to_owned()]);
        assert_eq!(warned.len(), 2, "{warned:?}");
        assert!(normalized("shop.example,other.example").is_err());
    }

    #[test]
    fn suspicious_entries_are_reported() {
        let warned = |entry: &str| warnings(&[entry.to_owned()]).join("");
        for entry in ["co.uk", "com", "*.co.uk", "https://github.io/", "CO.UK"] {
            assert!(warned(entry).contains("strangers"), "{entry}: {}", warned(entry));
        }
        for entry in ["a_b:x", "*", "shop.*.example", "", " , "] {
            assert!(warned(entry).contains("never matches"), "{entry}: {}", warned(entry));
        }
        for entry in
            ["shop.co.uk", "localhost", "example", "intranet", "127.0.0.1", "*.a.github.io"]
        {
            assert_eq!(warned(entry), "", "{entry}");
        }
    }

    #[test]
    fn localhost_is_allowed_only_on_request() {
        let rules = DomainRules { allow_localhost: true, ..DomainRules::default() };
        for origin in [
            "http://localhost:3000",
            "http://app.localhost",
            "http://127.0.0.1:5173",
            "http://[::1]",
        ] {
            assert!(allows("shop.example", origin, rules), "{origin}");
            assert!(!allows("shop.example", origin, DomainRules::default()), "{origin}");
        }
        assert!(!allows("shop.example", "https://localhost.evil.example", rules));
    }

    proptest::proptest! {
        #[test]
        fn any_entry_is_stored_as_itself(entry in "\\PC{0,30}") {
            if let Ok(stored) = normalized(&entry) {
                proptest::prop_assert_eq!(normalized(&stored), Ok(stored.clone()), "{}", entry);
            }
        }

        #[test]
        fn a_host_matches_itself_and_nothing_longer(host in "[a-z][a-z0-9]{0,8}(\\.[a-z][a-z0-9]{0,8}){0,3}") {
            let usual = DomainRules::default();
            let own = format!("https://{host}");
            let below = format!("https://x.{host}");
            let other = format!("https://x{host}");
            proptest::prop_assert!(allows(&host, &own, usual));
            proptest::prop_assert!(allows(&host, &below, usual));
            proptest::prop_assert!(!allows(&host, &other, usual));
        }
    }
}
