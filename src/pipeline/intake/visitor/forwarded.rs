//! Reads the header `Forwarded` (RFC 7239).

use std::net::IpAddr;

use super::address;

/// The addresses in the `for` parameters of a header line, one for each element; `None` for an element
/// without one, or with a name instead of an address. Empty elements do not count.
///
/// Returns `None` for a malformed line. Nothing is salvaged from it: a visitor could send an opening
/// quote that swallows what the proxy appends.
pub(super) fn hops(line: &str) -> Option<Vec<Option<IpAddr>>> {
    split(line, ',')?.into_iter().filter(|element| !element.trim().is_empty()).map(hop).collect()
}

fn hop(element: &str) -> Option<Option<IpAddr>> {
    let mut found = None;
    for pair in split(element, ';')? {
        if pair.trim().is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=')?;
        let value = unquoted(value.trim())?;
        if name.trim().eq_ignore_ascii_case("for") {
            found = address::parse(&value);
        }
    }
    Some(found)
}

/// Splits at a separator outside quotes; `None` if a quote is not closed.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        } else if c == separator && !quoted {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

/// A token, or the contents of a quoted string; `None` if it is neither.
fn unquoted(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains(['"', '\\'])).then(|| value.to_owned());
    };
    let mut text = String::new();
    let mut rest = rest.chars();
    loop {
        match rest.next()? {
            '\\' => text.push(rest.next()?),
            // Nothing may follow the closing quote.
            '"' => return rest.next().is_none().then_some(text),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> Option<Vec<Option<String>>> {
        let hops = hops(line)?;
        Some(hops.into_iter().map(|ip| ip.map(|ip| ip.to_string())).collect())
    }

    #[test]
    fn the_notations_of_the_standard_are_read() {
        for (line, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", &[Some("192.0.2.60")][..]),
            ("For=\"[2001:db8:cafe::17]:4711\"", &[Some("2001:db8:cafe::17")]),
            ("for=192.0.2.43, for=198.51.100.17", &[Some("192.0.2.43"), Some("198.51.100.17")]),
            ("proto=https;for=\"192.0.2.43:80\" ,by=_x", &[Some("192.0.2.43"), None]),
            ("for=\"1\\92.0.2.1\"", &[Some("192.0.2.1")]),
            ("for=unknown", &[None]),
            ("for=\"_gazonk,;\"", &[None]),
            ("", &[]),
            ("for=192.0.2.43, ,", &[Some("192.0.2.43")]),
        ] {
            let expected: Vec<_> = expected.iter().map(|ip| ip.map(str::to_owned)).collect();
            assert_eq!(read(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn quotes_of_a_visitor_do_not_swallow_what_a_proxy_appends() {
        for sent in
            ["for=\"", "for=6.6.6.6;x=\"", "for=\"6.6.6.6\\", "for=6.6.6.6\"", "for=\"6.6.6.6\"x"]
        {
            for appended in ["for=203.0.113.9", "for=\"[2001:db8::9]:4711\";proto=https"] {
                assert_eq!(hops(&format!("{sent}, {appended}")), None, "{sent}, {appended}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_last_hop_is_what_the_proxy_wrote_whatever_a_visitor_sent(
            sent in "[ -~]{0,60}", four: u32, quoted: bool,
        ) {
            let ip = IpAddr::from(std::net::Ipv4Addr::from_bits(four));
            let appended = if quoted { format!("for=\"{ip}:80\"") } else { format!("for={ip}") };
            if let Some(hops) = hops(&format!("{sent}, {appended}")) {
                prop_assert_eq!(hops.last(), Some(&Some(ip)), "{}", sent);
            }
        }
    }
}
