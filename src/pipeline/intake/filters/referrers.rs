//! The type of a page view's referrer, and hosts that send spam as the referrer.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use bklit_wire::event::PageView;
use foldhash::fast::RandomState;

use crate::intake::page::Page;

/// The list of search engines, social networks and advertising networks: media and hosts.
const LIST: &str = include_str!("lists/referrers.txt");

static MEDIA: LazyLock<HashMap<&str, &str, RandomState>> =
    LazyLock::new(|| super::entries(LIST).map(|(medium, host)| (host, medium)).collect());

/// Reads the list, so that the first event does not have to wait for that.
pub(super) fn prepare() {
    LazyLock::force(&MEDIA);
}

/// The type of a page view's referrer: `internal`, `ad`, `organic`, `social`, `referral` or `direct`.
/// `None` if there is a referrer that does not name its host. `page` is the page's address.
pub fn referrer_type(view: &PageView, page: &Page) -> Option<&'static str> {
    let host = view.referrer_hostname.as_deref().map(normalized).filter(|host| !host.is_empty());
    if let Some(host) = &host
        && page.host().is_some_and(|own| are_one_site(own, host))
    {
        return Some("internal");
    }
    let medium = host.as_deref().and_then(medium);
    if is_ad(view) || medium == Some("paid") {
        return Some("ad");
    }
    let named = view.utm_medium.as_deref().map(str::trim).unwrap_or_default();
    let is = |medium: &str| named.eq_ignore_ascii_case(medium);
    match (medium, &host) {
        (Some("search"), _) => Some("organic"),
        (Some("social"), _) => Some("social"),
        _ if is("organic") => Some("organic"),
        _ if is("social") || is("social-media") || is("social-network") => Some("social"),
        (_, Some(_)) => Some("referral"),
        (_, None) if view.referrer.as_deref().is_some_and(|text| !text.trim().is_empty()) => None,
        // A link with campaign parameters outside the web, as in a mail.
        (_, None) if !named.is_empty() || view.utm_source.is_some() => Some("referral"),
        (_, None) => Some("direct"),
    }
}

/// Whether the visitor came by a paid advertisement. `fbclid` says nothing about that: Facebook adds
/// it to all links.
fn is_ad(view: &PageView) -> bool {
    let click_ids = [&view.gclid, &view.msclkid, &view.ttclid, &view.li_fat_id, &view.twclid];
    if click_ids.into_iter().flatten().any(|id| !id.is_empty()) {
        return true;
    }
    let medium = view.utm_medium.as_deref().unwrap_or_default().trim().to_ascii_lowercase();
    let is_paid = ["cpc", "ppc", "cpm", "cpv", "cpa", "display", "banner", "retargeting"];
    medium.starts_with("paid") || is_paid.contains(&medium.as_str())
}

/// The medium of a host, or of the nearest domain above it.
fn medium(host: &str) -> Option<&'static str> {
    suffixes(host).find_map(|domain| MEDIA.get(domain).copied())
}

/// Whether two hosts belong to the same site.
fn are_one_site(own: &str, other: &str) -> bool {
    // A registrable domain has two labels or more, so this tells most hosts apart.
    last_two_labels(own) == last_two_labels(other) && site(own) == site(other)
}

fn last_two_labels(host: &str) -> &str {
    host.rmatch_indices('.').nth(1).map_or(host, |(dot, _)| &host[dot + 1..])
}

/// The registrable domain of a host, such as `example.co.uk`; the host itself if it has none.
fn site(host: &str) -> &str {
    let is_address = || host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    if is_address() { host } else { psl::domain_str(host).unwrap_or(host) }
}

/// The host, then each domain above it.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |host| host.split_once('.').map(|(_, above)| above))
}

/// In lower case and without the dot at the end.
fn normalized(host: &str) -> Cow<'_, str> {
    let host = host.trim().trim_end_matches('.');
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

/// Hosts that send spam as the referrer.
#[derive(Clone, Debug, Default)]
pub struct Spammers(HashSet<String>);

impl Spammers {
    /// Adds hosts, one per line; empty lines and those that begin with `#` are skipped.
    pub fn add(&mut self, lines: &str) {
        let lines = lines.lines().map(str::trim);
        let hosts = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        self.0.extend(hosts.map(|host| normalized(host).into_owned()));
    }

    /// Whether the referrer of a page view is one of these hosts or below one.
    pub fn sent(&self, view: &PageView) -> bool {
        let Some(host) = view.referrer_hostname.as_deref().filter(|_| !self.0.is_empty()) else {
            return false;
        };
        let host = normalized(host);
        suffixes(&host).any(|domain| self.0.contains(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete_and_its_media_are_known() {
        assert!(MEDIA.len() > 700, "{}", MEDIA.len());
        let known = ["email", "paid", "referral", "search", "social", "unknown"];
        for (host, medium) in MEDIA.iter() {
            assert!(known.contains(medium), "{host}: {medium}");
        }
    }

    #[test]
    fn a_referrer_has_a_type() {
        for (page, referrer, expected) in [
            ("", "", Some("direct")),
            ("", "https://www.google.com/", Some("organic")),
            ("", "https://www.google.co.uk/search?q=x", Some("organic")),
            ("", "https://mail.google.com/", Some("referral")),
            ("", "https://duckduckgo.com/", Some("organic")),
            ("", "https://l.facebook.com/l.php", Some("social")),
            ("?fbclid=x", "https://l.facebook.com/l.php", Some("social")),
            ("", "https://T.CO/x", Some("social")),
            ("", "android-app://com.linkedin.android/", Some("social")),
            ("", "https://blog.example/", Some("referral")),
            ("", "https://shop.example.co.uk/", Some("internal")),
            ("", "https://example.co.uk./", Some("internal")),
            ("?gclid=x", "https://other.example.co.uk/", Some("internal")),
            ("", "https://other.co.uk/", Some("referral")),
            ("?gclid=x", "https://www.google.com/", Some("ad")),
            ("?msclkid=x", "", Some("ad")),
            ("?utm_medium=CPC", "https://www.google.com/", Some("ad")),
            ("?utm_medium=paid-social", "https://t.co/", Some("ad")),
            ("", "https://googleads.g.doubleclick.net/x", Some("ad")),
            ("?utm_medium=social", "", Some("social")),
            ("?utm_medium=email", "", Some("referral")),
            ("?utm_source=newsletter", "", Some("referral")),
            ("", "about:client", None),
        ] {
            let address = format!("https://www.example.co.uk/{page}");
            let url = Page::parse(&address).unwrap();
            let mut view = PageView { url: address, ..PageView::default() };
            view.referrer = (!referrer.is_empty()).then(|| referrer.to_owned());
            crate::intake::enrich::from_urls(&mut view, &url);
            assert_eq!(view.referrer_type.as_deref(), expected, "{page} from {referrer}");
        }
    }

    #[test]
    fn addresses_are_internal_only_to_themselves() {
        for (page, referrer, expected) in [
            ("http://localhost:3000/", "localhost", "internal"),
            ("http://192.0.2.7/", "192.0.2.7", "internal"),
            ("http://192.0.2.7/", "198.51.2.7", "referral"),
            ("https://a.github.io/", "b.github.io", "referral"),
        ] {
            let view = PageView { referrer_hostname: Some(referrer.into()), ..PageView::default() };
            let found = referrer_type(&view, &Page::parse(page).unwrap());
            assert_eq!(found, Some(expected), "{page} from {referrer}");
        }
    }

    #[test]
    fn spam_is_recognised_by_host() {
        let mut spammers = Spammers::default();
        spammers.add("# a list\n\nSpam.example\nb.example \r\n");
        let sent = |host: &str| {
            spammers.sent(&PageView { referrer_hostname: Some(host.into()), ..PageView::default() })
        };
        assert!(sent("spam.example") && sent("www.SPAM.example") && sent("b.example."));
        assert!(!sent("notspam.example") && !sent("example") && !sent(""));
        assert!(!spammers.sent(&PageView::default()));
    }
}
