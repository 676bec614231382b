//! Reads a record of a location database. Publishers arrange the same facts differently: MaxMind and
//! DB-IP in nested maps, IPinfo and others in a flat one.

use maxminddb::{LookupResult, PathElement};

use super::location::{self, Location};

/// Where a fact may be in a record, most likely first.
type Places = &'static [&'static [PathElement<'static>]];

macro_rules! places {
    ($([$($step:expr),+]),+ $(,)?) => { &[$(&[$(step($step)),+]),+] };
}

/// A key; a number in brackets is an index.
const fn step(key: &'static str) -> PathElement<'static> {
    match key.as_bytes() {
        b"[0]" => PathElement::Index(0),
        _ => PathElement::Key(key),
    }
}

const COUNTRY_CODE: Places = places![
    ["country", "iso_code"],
    ["country_code"],
    ["geo", "country_code"],
    // IPinfo's older files.
    ["country"],
    // Where an address is registered, if it is not known where it is used.
    ["registered_country", "iso_code"],
];
const COUNTRY: Places =
    places![["country", "names", "en"], ["country_name"], ["geo", "country"], ["country"]];
const REGION: Places =
    places![["subdivisions", "[0]", "iso_code"], ["region_code"], ["geo", "region_code"]];
const REGION_NAME: Places =
    places![["subdivisions", "[0]", "names", "en"], ["region"], ["geo", "region"], ["state1"],];
const CITY: Places = places![["city", "names", "en"], ["city"], ["geo", "city"]];
const ZIP: Places =
    places![["postal", "code"], ["postal_code"], ["geo", "postal_code"], ["postcode"]];
const TIMEZONE: Places = places![["location", "time_zone"], ["timezone"], ["geo", "timezone"]];
const ISP: Places = places![["traits", "isp"], ["isp"], ["as_name"], ["as", "name"]];
const LAT: Places = places![["location", "latitude"], ["latitude"], ["lat"], ["geo", "latitude"]];
const LON: Places =
    places![["location", "longitude"], ["longitude"], ["lng"], ["geo", "longitude"]];

/// The location in a record.
pub(super) fn read(record: &LookupResult<'_, Vec<u8>>) -> Location {
    if !record.has_data() {
        return Location::default();
    }
    let texts = |places: Places| places.iter().filter_map(|place| text(record, place));
    let name = |places| texts(places).find_map(location::name);
    let country_code = texts(COUNTRY_CODE).find_map(location::country_code);
    // In some files the field with the name has the code.
    let is_name = |name: &String| country_code.as_deref() != Some(name);
    let degrees = |places: Places, most| {
        let number = places.iter().find_map(|place| number(record, place))?;
        location::degrees(number, most)
    };
    Location {
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
    }
}

/// The text at a place; `None` if something else is there.
fn text<'a>(record: &LookupResult<'a, Vec<u8>>, place: &[PathElement<'_>]) -> Option<&'a str> {
    record.decode_path(place).ok().flatten()
}

/// The number at a place, which may be written as text.
fn number(record: &LookupResult<'_, Vec<u8>>, place: &[PathElement<'_>]) -> Option<f64> {
    let number = record.decode_path(place).ok().flatten();
    number.or_else(|| text(record, place)?.parse().ok())
}
