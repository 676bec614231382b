//! Repairs URLs: removes credentials and parameters, and shortens what is too long, least important parts first.
//!
//! A URL that needs no repair stays as it was sent; not all of them are absolute.

use url::{ParseError, Url, form_urlencoded};

use super::Globs;

/// What relative URLs are relative to while they are parsed.
const BASE: &str = "https://base.invalid/";

/// Removes user name and password; returns whether there were any.
pub(super) fn remove_credentials(text: &mut String) -> bool {
    if !text.contains('@') {
        return false;
    }
    let absolute = Url::parse(text);
    let is_relative = absolute == Err(ParseError::RelativeUrlWithoutBase);
    let parsed = match is_relative {
        true => Url::parse(BASE).and_then(|base| base.join(text)),
        false => absolute,
    };
    if let Ok(mut url) = parsed {
        if url.username().is_empty() && url.password().is_none() {
            return false;
        }
        if url.set_username("").is_ok() && url.set_password(None).is_ok() {
            let clean = String::from(url);
            // What has a host of its own stays relative to the scheme.
            let start = if is_relative { clean.find("//").unwrap_or(0) } else { 0 };
            *text = clean[start..].to_owned();
            return true;
        }
    }
    // Not a URL, but it may look like one, for example with an invalid port.
    let Some(start) = authority_start(text) else { return false };
    let end = text[start..].find(['/', '\\', '?', '#']).map_or(text.len(), |end| start + end);
    let Some(at) = text[start..end].rfind('@') else { return false };
    text.replace_range(start..=start + at, "");
    // What follows may now be the authority: slashes before it are ignored.
    remove_credentials(text);
    true
}

/// Removes the parameters with `unwanted` names from the query, and from a fragment that has
/// parameters; returns how many there were.
pub(super) fn remove_parameters(text: &mut String, unwanted: &Globs) -> usize {
    if unwanted.is_empty() || !text.contains(['?', '#']) {
        return 0;
    }
    let mut removed = 0;
    let mut kept = |parameters: &str| {
        let wanted = |parameter: &&str| {
            let name = form_urlencoded::parse(parameter.as_bytes()).next().map(|(name, _)| name);
            let is_unwanted = name.is_some_and(|name| unwanted.has(&name));
            removed += usize::from(is_unwanted);
            !is_unwanted
        };
        parameters.split('&').filter(wanted).collect::<Vec<_>>().join("&")
    };
    let (rest, fragment) = split(text, '#');
    let (start, query) = split(rest, '?');
    let mut clean = start.to_owned();
    if let Some(query) = query.map(&mut kept).filter(|query| !query.is_empty()) {
        clean.extend(["?", &query]);
    }
    if let Some(fragment) = fragment {
        // A route with a query, as in applications of one page, or the parameters alone.
        let (route, mark, query) = match split(fragment, '?') {
            (parameters, None) if parameters.contains('=') => ("", "", Some(parameters)),
            (route, query) => (route, "?", query),
        };
        let query = query.map(&mut kept).filter(|query| !query.is_empty());
        if !route.is_empty() || query.is_some() {
            clean.extend(["#", route]);
        }
        if let Some(query) = query {
            clean.extend([mark, &query]);
        }
    }
    if removed > 0 {
        *text = clean;
    }
    removed
}

/// The text before and after the first `separator`.
fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Shortens a URL to `max` bytes: removes its fragment, then parameters of its query that do not fit,
/// and last the end of its path. Campaign parameters and click ids are the last parameters to go.
/// Returns false if not even scheme and host fit; then the text is useless.
pub(super) fn shorten(text: &mut String, max: usize) -> bool {
    if text.len() > max
        && let Ok(url) = Url::parse(text)
    {
        // Brings tabs, backslashes and missing slashes into the usual form.
        *text = url.into();
    }
    if text.len() > max
        && let Some(fragment) = text.find('#')
    {
        text.truncate(fragment);
    }
    if text.len() > max
        && let Some(query) = text.find('?')
    {
        let parameters = text.split_off(query + 1);
        text.truncate(query);
        push_parameters(text, &parameters, max);
    }
    if text.len() > max {
        let host = authority_start(text).unwrap_or(0);
        let path = text[host..].find('/').map_or(text.len(), |path| host + path);
        if authority_start(text).is_some() && path > max {
            return false;
        }
        truncate(text, max);
        // Not within an escape such as `%C3`.
        if let Some(escape) = text.len().checked_sub(2)
            && let Some(part) = text.as_bytes()[escape..].iter().position(|&byte| byte == b'%')
        {
            text.truncate(escape + part);
        }
    }
    true
}

/// Truncates a text to at most `max` bytes, at the boundary of a character.
pub(super) fn truncate(text: &mut String, max: usize) {
    let end = (0..=max.min(text.len())).rfind(|&at| text.is_char_boundary(at));
    text.truncate(end.unwrap_or_default());
}

/// Whether a parameter of a query names a campaign or a click on an advertisement.
fn is_campaign(name: &str) -> bool {
    const CLICK_IDS: [&str; 9] = [
        "gclid",
        "fbclid",
        "msclkid",
        "ttclid",
        "li_fat_id",
        "twclid",
        "gbraid",
        "wbraid",
        "dclid",
    ];
    name.starts_with("utm_") || CLICK_IDS.contains(&name)
}

/// Appends the parameters that fit into `max` bytes, in their order.
fn push_parameters(text: &mut String, parameters: &str, max: usize) {
    let mut left = max.saturating_sub(text.len());
    let mut kept: Vec<_> = parameters.split('&').map(|parameter| (parameter, false)).collect();
    for campaign in [true, false] {
        for (parameter, keep) in &mut kept {
            let name = parameter.split('=').next().unwrap_or_default();
            // With the character in front of it.
            let bytes = parameter.len() + 1;
            if is_campaign(name) == campaign && bytes <= left {
                left -= bytes;
                *keep = true;
            }
        }
    }
    let mut separator = '?';
    for (parameter, _) in kept.iter().filter(|(_, keep)| *keep) {
        text.push(separator);
        text.push_str(parameter);
        separator = '&';
    }
}

/// Where the authority begins: after `//`, at the start or after the scheme.
fn authority_start(text: &str) -> Option<usize> {
    let slashes = text.find("//")?;
    let before = &text[..slashes];
    let is_start = before.is_empty() || before.ends_with(':') && !before.contains(['/', '?', '#']);
    is_start.then_some(slashes + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credentials_are_removed_however_the_host_is_written() {
        for text in [
            "https://user:hush@\\me:hush@shop.example/a",
            " //me:hush@shop.example/a",
            "/\t/me:hush@shop.example/a",
            "\\\\me:hush@shop.example/a",
        ] {
            let mut text = text.to_owned();
            assert!(remove_credentials(&mut text), "{text}");
            assert!(!text.contains("hush") && text.ends_with("shop.example/a"), "{text}");
        }
    }

    #[test]
    fn credentials_are_removed_and_nothing_else() {
        for (sent, kept) in [
            ("https://user:secret@a.example/x?y#z", Some("https://a.example/x?y#z")),
            ("https://secret@a.example/", Some("https://a.example/")),
            ("https://:secret@a.example/", Some("https://a.example/")),
            ("https://us%40er:p@ss@a.example:8443/", Some("https://a.example:8443/")),
            ("https:\\\\user:secret@a.example/", Some("https://a.example/")),
            ("https:user:secret@a.example/", Some("https://a.example/")),
            ("HTTPS://user:secret@a.example/", Some("https://a.example/")),
            ("capacitor://user:secret@localhost/a", Some("capacitor://localhost/a")),
            ("//user:secret@a.example/x", Some("//a.example/x")),
            ("https://user:secret@a.example:99999/x", Some("https://a.example:99999/x")),
            ("https://a.example/@name?mail=me@a.example#@", None),
            ("/login?next=//a@b", None),
            ("mailto:me@a.example", None),
            ("https://a.example/", None),
            ("not a URL: me@a.example", None),
            ("", None),
        ] {
            let mut text = sent.to_owned();
            assert_eq!(remove_credentials(&mut text), kept.is_some(), "{sent}");
            assert_eq!(text, kept.unwrap_or(sent));
        }
    }

    #[test]
    fn the_least_important_parts_go_first() {
        let whole = "https://a.example/p/ath?q=1&gclid=7&utm_source=m&r=22#frag";
        for (max, kept) in [
            (whole.len(), whole),
            (whole.len() - 1, "https://a.example/p/ath?q=1&gclid=7&utm_source=m&r=22"),
            (52, "https://a.example/p/ath?q=1&gclid=7&utm_source=m"),
            (47, "https://a.example/p/ath?gclid=7&utm_source=m"),
            (43, "https://a.example/p/ath?q=1&gclid=7&r=22"),
            (24, "https://a.example/p/ath"),
            (23, "https://a.example/p/ath"),
            (21, "https://a.example/p/a"),
            (18, "https://a.example/"),
            (17, "https://a.example"),
        ] {
            let mut text = whole.to_owned();
            assert!(shorten(&mut text, max), "{max}");
            assert_eq!(text, kept, "{max}");
        }
        assert!(!shorten(&mut whole.to_owned(), 16), "the host does not fit");
        for (sent, max, kept) in [
            ("/relative/path?x=1#y", 9, "/relative"),
            ("https://a.example/%C3%A9", 20, "https://a.example/"),
            ("https://a.example/%C3%A9", 21, "https://a.example/%C3"),
            ("https://a.example/é", 19, "https://a.example/"),
            ("app:index.html", 7, "app:ind"),
            ("https://a.example/?#", 19, "https://a.example/?"),
            ("?x=1&y=2", 5, "?x=1"),
        ] {
            let mut text = sent.to_owned();
            assert!(shorten(&mut text, max), "{sent}");
            assert_eq!(text, kept, "{sent} to {max}");
        }
    }

    #[test]
    fn unwanted_parameters_are_removed() {
        let unwanted = Globs::parse(["email", "*token"].map(str::to_owned).to_vec()).unwrap();
        for (sent, removed, kept) in [
            ("https://a.example/?email=me", 1, "https://a.example/"),
            ("https://a.example/?a=1&Email=me&b=2#x", 1, "https://a.example/?a=1&b=2#x"),
            ("https://a.example/?e%6Dail=me&email&email=", 3, "https://a.example/"),
            ("https://a.example/x?access_token=1&q=%C3%A9+x", 1, "https://a.example/x?q=%C3%A9+x"),
            ("https://a.example/#access_token=1&state=2", 1, "https://a.example/#state=2"),
            ("https://a.example/#access_token=1", 1, "https://a.example/"),
            ("https://a.example/#/reset?token=1", 1, "https://a.example/#/reset"),
            ("https://a.example/?x#/reset?token=1&y=2", 1, "https://a.example/?x#/reset?y=2"),
            ("/relative?token=1", 1, "/relative"),
            ("https://a.example/token?tokens=1#token", 0, "https://a.example/token?tokens=1#token"),
            ("https://a.example/?#", 0, "https://a.example/?#"),
            ("https://a.example/", 0, "https://a.example/"),
        ] {
            let mut text = sent.to_owned();
            assert_eq!(remove_parameters(&mut text, &unwanted), removed, "{sent}");
            assert_eq!(text, kept);
            assert_eq!(remove_parameters(&mut text, &Globs::default()), 0);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_shortened(
            text in "(https?:|app:)?/{0,3}[a-zé@:]{0,12}[/?#&=%aé1]{0,40}", max in 0_usize..60,
        ) {
            let mut short = text.clone();
            let fits = shorten(&mut short, max);
            prop_assert!(!fits || short.len() <= max, "{short}");
            prop_assert!(text.len() > max || short == text);
            let host = |text: &str| Url::parse(text).ok()?.host_str().map(str::to_owned);
            prop_assert!(!fits || host(&text).is_none() || host(&text) == host(&short), "{short}");
        }

        #[test]
        fn no_credentials_are_left(
            text in "(https?:|app:|file:)?[/\\\\]{0,3}[a-z@:%]{0,12}[a-z@:/?#]{0,20}",
        ) {
            let mut text = text;
            remove_credentials(&mut text);
            if let Ok(url) = Url::parse(&text) {
                prop_assert!(url.username().is_empty() && url.password().is_none(), "{text}");
            }
        }
    }
}
