//! Sets of networks, as in a setting: single addresses, networks and named groups.

use std::net::IpAddr;

use bklit_wire::setting;
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A named group of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Loopback,
    Private,
}

impl Group {
    const ALL: [Self; 2] = [Self::Loopback, Self::Private];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
        }
    }

    fn contains(self, ip: IpAddr) -> bool {
        match self {
            Self::Loopback => ip.is_loopback(),
            Self::Private => is_private(ip),
        }
    }
}

/// Whether an address is one that is not routed on the internet: private (RFC 1918, unique local), of
/// a carrier's or cloud's internal network (100.64.0.0/10), or link-local.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether an address belongs to this machine or to an internal network.
pub(super) fn is_internal(ip: IpAddr) -> bool {
    ip.is_loopback() || is_private(ip)
}

/// A set of networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Member>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    Network(IpNetwork),
    Group(Group),
}

impl Networks {
    /// Reads members such as `10.0.0.0/8`, `192.0.2.7`, `loopback` and `private`.
    ///
    /// # Errors
    /// Names the member that is none of these.
    pub fn parse<'a>(members: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        members.into_iter().map(Member::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the set has no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is in the set. IPv4-mapped addresses count as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|member| match member {
            Member::Network(network) => network.contains(ip),
            Member::Group(group) => group.contains(ip),
        })
    }

    /// Whether every address of either version is in the set.
    pub fn is_everything(&self) -> bool {
        let whole = |network: &Member| matches!(network, Member::Network(n) if n.prefix() == 0);
        self.0.iter().any(whole)
    }
}

impl Member {
    fn parse(text: &str) -> Result<Self, String> {
        let name = text.trim();
        if let Some(group) = Group::ALL.into_iter().find(|group| group.as_str() == name) {
            return Ok(Self::Group(group));
        }
        let network: Option<IpNetwork> = name.parse().ok();
        network.and_then(canonical).map(Self::Network).ok_or_else(|| {
            let groups = Group::ALL.map(Group::as_str).join(", ");
            format!("{name} is not an address, a network such as 10.0.0.0/8, or one of {groups}")
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Network(network) => network.to_string(),
            Self::Group(group) => group.as_str().to_owned(),
        }
    }
}

/// The network without host bits, and IPv4-mapped ones as IPv4.
fn canonical(network: IpNetwork) -> Option<IpNetwork> {
    match (network.network(), network.prefix()) {
        (IpAddr::V4(ip), prefix) => Ipv4Network::new(ip, prefix).ok().map(IpNetwork::V4),
        (IpAddr::V6(ip), prefix) => match (ip.to_ipv4_mapped(), prefix.checked_sub(96)) {
            (Some(four), Some(prefix)) => Ipv4Network::new(four, prefix).ok().map(IpNetwork::V4),
            _ => Ipv6Network::new(ip, prefix).ok().map(IpNetwork::V6),
        },
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Member::text))
    }
}

impl<'de> Deserialize<'de> for Networks {
    /// A list in a file, comma-separated members elsewhere.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = setting::list(deserializer)?;
        Self::parse(members.iter().map(String::as_str)).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_networks_and_groups_are_members() {
        let set = Networks::parse(["192.0.2.7", "198.51.100.99/24", "2001:db8::/32", "loopback"]);
        let set = set.unwrap();
        for inside in ["192.0.2.7", "198.51.100.1", "2001:db8:9::1", "127.8.8.8", "::1"] {
            assert!(set.contains(ip(inside)), "{inside}");
            if let IpAddr::V4(four) = ip(inside) {
                assert!(set.contains(four.to_ipv6_mapped().into()), "{inside} as IPv6");
            }
        }
        for outside in ["192.0.2.8", "198.51.101.1", "2001:db9::1", "10.0.0.1"] {
            assert!(!set.contains(ip(outside)), "{outside}");
        }
        let mapped = Networks::parse(["::ffff:192.0.2.0/120"]).unwrap();
        assert!(mapped.contains(ip("192.0.2.200")) && !mapped.contains(ip("192.0.3.1")));
    }

    #[test]
    fn private_networks_are_recognised() {
        let private = Networks::parse(["private"]).unwrap();
        for inside in [
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.0.1",
            "fd00::1",
            "fc00::1",
            "fe80::1",
            "febf::1",
        ] {
            assert!(private.contains(ip(inside)), "{inside}");
            assert!(is_internal(ip(inside)), "{inside}");
        }
        for outside in ["172.32.0.1", "100.63.0.1", "100.128.0.1", "127.0.0.1", "::1", "fec0::1"] {
            assert!(!private.contains(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn a_setting_is_read_from_a_list_or_from_text() {
        let list: Networks = serde_json::from_str(r#"["loopback", "10.0.0.0/8"]"#).unwrap();
        let text: Networks = serde_json::from_str(r#"" loopback, 10.0.0.0/8,""#).unwrap();
        assert_eq!(list, text);
        assert_eq!(serde_json::to_string(&list).unwrap(), r#"["loopback","10.0.0.0/8"]"#);
        let wrong = serde_json::from_str::<Networks>(r#"["10.0.0.0/33"]"#).unwrap_err();
        assert!(wrong.to_string().starts_with("10.0.0.0/33 is not an address, a network"));
        assert!(Networks::parse(["0.0.0.0/0"]).unwrap().is_everything());
        assert!(!list.is_everything() && !list.is_empty() && Networks::default().is_empty());
    }
}
