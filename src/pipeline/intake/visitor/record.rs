//! Reads a record of a location database. Publishers arrange the same facts differently: MaxMind and
//! DB-IP in nested maps, IPinfo and others in a flat one.

use std::fmt;

use maxminddb::{LookupResult, MaxMindDbError};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::location::{self, Location};

/// Where a fact may be in a record, most likely first: the keys that lead to it.
type FieldPaths = &'static [&'static [&'static str]];

const COUNTRY_CODE: FieldPaths = &[
    &["country", "iso_code"],
    &["country_code"],
    &["geo", "country_code"],
    // IPinfo's older files.
    &["country"],
    // Where an address is registered, if the place of its use is unknown.
    &["registered_country", "iso_code"],
];
const COUNTRY: FieldPaths =
    &[&["country", "names", "en"], &["country_name"], &["geo", "country"], &["country"]];
const REGION: FieldPaths =
    &[&["subdivisions", "iso_code"], &["region_code"], &["geo", "region_code"]];
const REGION_NAME: FieldPaths =
    &[&["subdivisions", "names", "en"], &["region"], &["geo", "region"], &["state1"]];
const CITY: FieldPaths = &[&["city", "names", "en"], &["city"], &["geo", "city"]];
const ZIP: FieldPaths =
    &[&["postal", "code"], &["postal_code"], &["geo", "postal_code"], &["postcode"]];
const TIMEZONE: FieldPaths = &[&["location", "time_zone"], &["timezone"], &["geo", "timezone"]];
const ISP: FieldPaths = &[&["traits", "isp"], &["isp"], &["as_name"], &["as", "name"]];
const LAT: FieldPaths = &[&["location", "latitude"], &["latitude"], &["lat"], &["geo", "latitude"]];
const LON: FieldPaths =
    &[&["location", "longitude"], &["longitude"], &["lng"], &["geo", "longitude"]];

/// The keys in the paths above. The rest of a record, such as the names of places in other languages,
/// is skipped: it is most of it.
fn is_wanted(key: &str) -> bool {
    matches!(
        key,
        "as" | "as_name"
            | "city"
            | "code"
            | "country"
            | "country_code"
            | "country_name"
            | "en"
            | "geo"
            | "iso_code"
            | "isp"
            | "lat"
            | "latitude"
            | "lng"
            | "location"
            | "longitude"
            | "name"
            | "names"
            | "postal"
            | "postal_code"
            | "postcode"
            | "region"
            | "region_code"
            | "registered_country"
            | "state1"
            | "subdivisions"
            | "time_zone"
            | "timezone"
            | "traits"
    )
}

/// The location in a record.
///
/// # Errors
/// When the record is damaged.
pub(super) fn read(record: &LookupResult<'_, Vec<u8>>) -> Result<Location, MaxMindDbError> {
    let Some(record) = record.decode::<Node<'_>>()? else { return Ok(Location::default()) };
    let texts = |paths: FieldPaths| paths.iter().filter_map(|path| record.at(path)?.text());
    let name = |paths| texts(paths).find_map(location::name);
    let country_code = texts(COUNTRY_CODE).find_map(location::country_code);
    // In some files the field with the name has the code.
    let is_name = |name: &String| country_code.as_deref() != Some(name);
    let degrees = |paths: FieldPaths, most| {
        let number = paths.iter().find_map(|path| record.at(path)?.number())?;
        location::degrees(number, most)
    };
    Ok(Location {
        country: name(COUNTRY).filter(is_name),
        region: name(REGION),
        region_name: name(REGION_NAME),
        city: name(CITY),
        zip: name(ZIP),
        timezone: name(TIMEZONE).filter(|zone| location::is_time_zone(zone)),
        isp: name(ISP),
        lat: degrees(LAT, 90.0),
        lon: degrees(LON, 180.0),
        country_code,
    })
}

/// The wanted part of a value in a database. Of a list it is the first member.
enum Node<'a> {
    Text(&'a str),
    Number(f64),
    Map(Vec<(&'a str, Node<'a>)>),
    Other,
}

impl<'a> Node<'a> {
    fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| match node {
            Self::Map(members) => {
                members.iter().find(|(name, _)| name == key).map(|(_, node)| node)
            }
            _ => None,
        })
    }

    fn text(&self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, which may be written as text.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a location database")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(text))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node<'de>, E> {
        Ok(Node::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(number as f64))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node<'de>, E> {
        Ok(Node::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node<'de>, E> {
        Ok(Node::Other)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node<'de>, E> {
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node<'de>, A::Error> {
        let first = list.next_element()?.unwrap_or(Node::Other);
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<&'de str>()? {
            if is_wanted(key) {
                members.push((key, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Node::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_the_paths_are_wanted() {
        let all = [COUNTRY_CODE, COUNTRY, REGION, REGION_NAME, CITY, ZIP, TIMEZONE, ISP, LAT, LON];
        for key in all.into_iter().flatten().copied().flatten() {
            assert!(is_wanted(key), "{key}");
        }
        assert!(!is_wanted("de"));
    }
}
