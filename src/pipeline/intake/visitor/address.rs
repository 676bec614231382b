//! A visitor's address as it may be stored and shown.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use bklit_wire::json::{Fields, object, quoted, repaired};

/// How much of a visitor's address leaves memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpPrivacy {
    /// The network: an IPv4 address without its last octet, an IPv6 address without its last 64 bits.
    #[default]
    Cut,
    /// The whole address.
    Full,
    /// Nothing.
    None,
}

impl IpPrivacy {
    /// The text of an address for everything that is queued, stored, logged or shown; `None` if there
    /// is to be none. Nothing else may turn a client's address into text.
    pub fn text(self, ip: IpAddr) -> Option<String> {
        let ip = ip.to_canonical();
        match self {
            Self::Cut => Some(network(ip).to_string()),
            Self::Full => Some(ip.to_string()),
            Self::None => None,
        }
    }
}

impl IpPrivacy {
    /// Applies the setting to the address in an event from the queue, where other programs put whole
    /// addresses. What is not an address is removed unless everything is kept. Returns whether the
    /// text was changed.
    pub fn apply(self, text: &mut Option<String>) -> bool {
        let Some(sent) = text.as_deref() else { return false };
        if self == Self::Full {
            return false;
        }
        let parsed: Result<IpAddr, _> = sent.parse();
        // As this program queues it: nothing to allocate.
        if self == Self::Cut && parsed.is_ok_and(|ip| network(ip.to_canonical()) == ip) {
            return false;
        }
        *text = parse(sent.trim()).and_then(|ip| self.text(ip));
        true
    }

    /// The body of an item of the queue as it may be shown: with this setting applied to its address.
    pub fn shown(self, body: &str) -> Cow<'_, str> {
        if self == Self::Full {
            return Cow::Borrowed(body);
        }
        self.without_address(body).map_or(Cow::Borrowed(body), Cow::Owned)
    }

    /// The body with another address; `None` if there is nothing to change.
    fn without_address(self, body: &str) -> Option<String> {
        let json = repaired(body);
        let item = Fields::of(&json)?;
        let payload = Fields::of(item.get("payload")?.get())?;
        let mut has_changed = false;
        let mut changed = |name: &str, value: &str| {
            let mut text = (name == "ip").then(|| serde_json::from_str(value).ok()).flatten();
            let changed = self.apply(&mut text).then(|| text.as_deref().map_or_else(null, quoted));
            has_changed |= changed.is_some();
            changed.unwrap_or_else(|| value.to_owned())
        };
        let payload: Vec<_> = (payload.0.iter())
            .map(|(name, value)| (name.as_ref(), changed(name, value.get())))
            .collect();
        let payload = object(payload.iter().map(|(name, value)| (*name, value.as_str())));
        let fields = item.0.iter().map(|(name, value)| match name.as_ref() {
            "payload" => ("payload", payload.as_str()),
            name => (name, value.get()),
        });
        has_changed.then(|| object(fields))
    }
}

fn null() -> String {
    "null".to_owned()
}

/// The address with the part that identifies a single host set to zero.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Parses an address with an optional port or zone: `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`,
/// `[2001:db8::7]:4711`, `fe80::1%eth0`.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    let host = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            let port = port.strip_prefix(':').unwrap_or(port);
            if !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            host
        }
        // More than one colon: an IPv6 address, which has a port only in brackets.
        None => match text.split_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => text,
        },
    };
    let host = host.split_once('%').map_or(host, |(host, _zone)| host);
    host.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_host_part_is_cut_off() {
        for (ip, cut) in [
            ("203.0.113.9", "203.0.113.0"),
            ("127.0.0.1", "127.0.0.0"),
            ("::ffff:203.0.113.9", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("fe80::1", "fe80::"),
            ("::1", "::"),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(IpPrivacy::Cut.text(ip).as_deref(), Some(cut));
            assert_eq!(IpPrivacy::Full.text(ip), Some(ip.to_canonical().to_string()));
            assert_eq!(IpPrivacy::None.text(ip), None);
        }
    }

    proptest! {
        #[test]
        fn all_hosts_of_a_network_get_the_same_text(bits: u128, host: u64, low: u8) {
            let six = bits & !u128::from(u64::MAX);
            let text = |bits| IpPrivacy::Cut.text(Ipv6Addr::from_bits(bits).into());
            // All but the addresses that mean an IPv4 address.
            prop_assume!(six != 0);
            prop_assert_eq!(text(six), text(six | u128::from(host)));
            let four = (bits as u32) & !0xff;
            let text = |bits| IpPrivacy::Cut.text(Ipv4Addr::from_bits(bits).into());
            prop_assert_eq!(text(four), text(four | u32::from(low)));
        }

        #[test]
        fn addresses_are_parsed_in_every_notation(bits: u128, four: u32, port: u16) {
            let (six, four) = (Ipv6Addr::from_bits(bits), Ipv4Addr::from_bits(four));
            let canonical = IpAddr::from(six).to_canonical();
            for text in [format!("{six}"), format!("[{six}]"), format!("[{six}]:{port}")] {
                prop_assert_eq!(parse(&text), Some(canonical), "{}", text);
            }
            for text in [format!("{four}"), format!("{four}:{port}")] {
                prop_assert_eq!(parse(&text), Some(four.into()), "{}", text);
            }
        }

        #[test]
        fn other_text_is_not_an_address(text in "\\PC{0,40}") {
            if let Some(ip) = parse(&text) {
                prop_assert!(text.contains(['.', ':']), "{} is {}", text, ip);
            }
        }
    }

    #[test]
    fn addresses_of_other_programs_are_cut_or_removed() {
        for (sent, cut, full) in [
            ("203.0.113.0", Some("203.0.113.0"), Some("203.0.113.0")),
            ("203.0.113.9", Some("203.0.113.0"), Some("203.0.113.9")),
            (" 203.0.113.9:4711", Some("203.0.113.0"), Some(" 203.0.113.9:4711")),
            ("::ffff:203.0.113.9", Some("203.0.113.0"), Some("::ffff:203.0.113.9")),
            ("::ffff:203.0.113.0", Some("203.0.113.0"), Some("::ffff:203.0.113.0")),
            ("2001:db8::9", Some("2001:db8::"), Some("2001:db8::9")),
            ("203.0.113.9, 10.0.0.1", None, Some("203.0.113.9, 10.0.0.1")),
            ("", None, Some("")),
        ] {
            for (privacy, stored) in
                [(IpPrivacy::Cut, cut), (IpPrivacy::Full, full), (IpPrivacy::None, None)]
            {
                let mut text = Some(sent.to_owned());
                let changed = privacy.apply(&mut text);
                assert_eq!(text.as_deref(), stored, "{sent}");
                assert_eq!(changed, stored != Some(sent), "{sent}");
                let payload =
                    |ip: &str| format!(r#"{{"a":[1e400],"payload":{{"ip":{ip},"b":1}}}}"#);
                let shown = privacy.shown(&payload(&quoted(sent))).into_owned();
                assert_eq!(shown, payload(&stored.map_or_else(null, quoted)), "{sent}");
            }
        }
        assert!(!IpPrivacy::Cut.apply(&mut None));
        for body in
            ["", "garbage", r#"{"payload":7}"#, r#"{"payload":{"ip":7}}"#, r#"{"ip":"1.2.3.4"}"#]
        {
            assert_eq!(IpPrivacy::Cut.shown(body), body);
        }
    }

    #[test]
    fn what_is_not_an_address_is_not_guessed() {
        for text in ["", "unknown", "_hidden", "[::1", "[::1]x", "[::1]:x", "1.2.3", "1.2.3.4:x"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("fe80::1%eth0"), "fe80::1".parse().ok());
    }
}
