use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name: hyper::header::HeaderName = name.parse().unwrap();
        map.append(name, value.parse().unwrap());
    }
    map
}

fn proxies(trusted: &[&str], header: ClientIpHeader) -> Proxies {
    Proxies::new(Networks::parse(trusted.iter().copied()).unwrap(), header)
}

fn client(proxies: &Proxies, peer: &str, lines: &[(&str, &str)]) -> (String, bool) {
    let client = proxies.client(peer.parse().unwrap(), &headers(lines));
    (client.ip.to_string(), client.via_proxy)
}

#[test]
fn the_visitor_is_the_last_hop_that_is_not_a_trusted_proxy() {
    let proxies = proxies(&["loopback", "private", "172.68.0.0/16"], ClientIpHeader::XForwardedFor);
    for (lists, ip) in [
        (&["203.0.113.9"][..], "203.0.113.9"),
        (&["203.0.113.9, 172.68.10.20"], "203.0.113.9"),
        (&["6.6.6.6, 203.0.113.9:4711, 127.0.0.1"], "203.0.113.9"),
        (&["[2001:db8::7]:80, fd00::1"], "2001:db8::7"),
        (&["::ffff:203.0.113.9"], "203.0.113.9"),
        (&["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (&["6.6.6.6, 203.0.113.9, 100.64.0.7, 169.254.1.1"], "203.0.113.9"),
        // The visitor is in the proxies' own network.
        (&["10.0.0.1, 192.168.0.2"], "10.0.0.1"),
        (&["6.6.6.6, unknown"], "127.0.0.1"),
        (&["6.6.6.6, unknown, 10.0.0.1"], "10.0.0.1"),
        (&["203.0.113.9,"], "203.0.113.9"),
        (&["6.6.6.6, 203.0.113.9", ", ,"], "203.0.113.9"),
        (&["6.6.6.6", "caf\u{e9}"], "127.0.0.1"),
        (&[""], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ] {
        let lines: Vec<_> = lists.iter().map(|list| ("X-Forwarded-For", *list)).collect();
        assert_eq!(client(&proxies, "127.0.0.1", &lines), (ip.to_owned(), true), "{lists:?}");
    }
}

#[test]
fn only_the_configured_header_of_a_trusted_proxy_counts() {
    let all: Vec<_> = [
        ("X-Forwarded-For", "198.51.100.1"),
        ("Forwarded", "for=198.51.100.2"),
        ("X-Real-IP", "198.51.100.3"),
        ("CF-Connecting-IP", "198.51.100.4"),
        ("True-Client-IP", "198.51.100.5"),
        ("Fly-Client-IP", "198.51.100.6"),
        ("Fastly-Client-IP", "198.51.100.7"),
    ]
    .to_vec();
    for (at, header) in ClientIpHeader::ALL.into_iter().enumerate() {
        let proxies = proxies(&["10.0.0.0/8"], header);
        let named = format!("198.51.100.{}", at + 1);
        assert_eq!(client(&proxies, "10.0.0.1", &all), (named.clone(), true), "{header}");
        assert_eq!(client(&proxies, "::ffff:10.0.0.1", &all), (named, true), "{header}");
        // Not through the proxy.
        assert_eq!(client(&proxies, "203.0.113.9", &all), ("203.0.113.9".to_owned(), false));
        // A visitor sends the other headers, but not this one.
        let others: Vec<_> =
            all.iter().filter(|(name, _)| !header.as_str().eq_ignore_ascii_case(name)).collect();
        let others: Vec<_> = others.into_iter().copied().collect();
        assert_eq!(client(&proxies, "10.0.0.1", &others), ("10.0.0.1".to_owned(), true));
        // The proxy's own line comes last.
        let mut twice = vec![(header.as_str(), "6.6.6.6")];
        twice.push(all[at]);
        assert_eq!(client(&proxies, "10.0.0.1", &twice).0, format!("198.51.100.{}", at + 1));
    }
    let none = Proxies::default();
    assert_eq!(client(&none, "127.0.0.1", &all), ("127.0.0.1".to_owned(), false));
    assert!(!none.any());
}

#[test]
fn a_header_of_a_cdn_that_names_another_client_is_noticed() {
    let proxies = proxies(&["loopback", "172.68.0.0/16"], ClientIpHeader::XForwardedFor);
    for (list, header, value, is_noticed) in [
        ("203.0.113.9, 198.51.100.20", "CF-Connecting-IP", "203.0.113.9", true),
        ("203.0.113.9, 198.51.100.20", "Fastly-Client-IP", "203.0.113.9", true),
        ("203.0.113.9, 172.68.10.20", "CF-Connecting-IP", "203.0.113.9", false),
        // nginx behind another proxy.
        ("203.0.113.9, 172.68.10.20", "X-Real-IP", "172.68.10.20", false),
        ("203.0.113.9", "X-Real-IP", "10.0.0.7", false),
        ("203.0.113.9", "True-Client-IP", "unknown", false),
    ] {
        let headers = headers(&[("X-Forwarded-For", list), (header, value)]);
        let found = proxies.client([127, 0, 0, 1].into(), &headers).ip;
        let noticed = proxies.naming_another(found, &headers).map(|noticed| noticed.to_string());
        let expected = is_noticed.then(|| header.to_lowercase());
        assert_eq!(noticed, expected, "{list}; {header}: {value}");
    }
    assert!(proxies.reported[2].load(Relaxed));
}

#[test]
fn a_long_list_is_read_up_to_a_bound() {
    let proxies = proxies(&["private"], ClientIpHeader::XForwardedFor);
    let list = |internal: usize| format!("203.0.113.9{}", ", 10.0.0.1".repeat(internal));
    for (internal, ip) in [(MAX_HOPS - 1, "203.0.113.9"), (MAX_HOPS, "10.0.0.1")] {
        let list = list(internal);
        assert_eq!(client(&proxies, "10.0.0.1", &[("X-Forwarded-For", &list)]).0, ip);
    }
}

#[test]
fn header_names_are_read_in_any_case() {
    assert_eq!("CF-Connecting-IP".parse(), Ok(ClientIpHeader::CfConnectingIp));
    for header in ClientIpHeader::ALL {
        assert_eq!(header.as_str().to_uppercase().parse(), Ok(header));
    }
    let error = "X-Client".parse::<ClientIpHeader>().unwrap_err();
    assert!(error.starts_with("unknown header X-Client (x-forwarded-for, forwarded,"), "{error}");
}

proptest! {
    /// Whatever a visitor sends in whichever header, the address is the one the proxy has seen.
    #[test]
    fn a_visitor_cannot_choose_the_address(
        sent in "[ -~]{0,60}", which in 0..ClientIpHeader::ALL.len(), list: bool,
    ) {
        let lists = [ClientIpHeader::XForwardedFor, ClientIpHeader::Forwarded];
        let header = lists[usize::from(list)];
        let proxies = proxies(&["10.0.0.0/8"], header);
        let own = if list { "for=203.0.113.9" } else { "203.0.113.9" };
        let mut map = HeaderMap::new();
        let sent: hyper::header::HeaderValue = sent.parse().unwrap();
        map.append(ClientIpHeader::ALL[which].as_str(), sent);
        map.append(header.as_str(), own.parse().unwrap());
        let client = proxies.client([10, 0, 0, 1].into(), &map);
        prop_assert_eq!(client.ip.to_string(), "203.0.113.9");
    }
}
