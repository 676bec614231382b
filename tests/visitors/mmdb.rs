//! Location databases as their publishers arrange them, for a few documentation networks.

use std::time::{Duration, SystemTime};

use mmdb_writer::Writer;
use mmdb_writer::ipnet::IpNet;
use serde_json::{Value, json};

/// A network of each database, in Norway's Tromsø.
pub const TROMSO: &str = "203.0.113.0/25";
/// Its other half, of which only the country is known.
pub const SWEDEN: &str = "203.0.113.128/25";
/// The same in IPv6.
pub const TROMSO_6: &str = "2001:db8:1:2::/65";
/// The whole internet, in the database of a file that has nothing else.
pub const ANYWHERE: &str = "0.0.0.0/0";

/// A file of this type, built this long ago.
pub fn file(kind: &str, age: Duration, records: &[(&str, Value)]) -> Vec<u8> {
    let mut writer = Writer::builder(kind)
        .description(&[("en", "for tests")])
        .build_epoch(SystemTime::now() - age)
        .build();
    for (network, record) in records {
        writer.insert(network.parse::<IpNet>().unwrap(), record).unwrap();
    }
    writer.to_bytes().unwrap()
}

/// As GeoLite2 City and GeoIP2 City, which name places in several languages.
pub fn maxmind() -> Vec<u8> {
    let tromso = json!({
        "city": { "geoname_id": 3_133_895, "names": { "de": "Tromsö", "en": "Tromsø" } },
        "continent": { "code": "EU", "names": { "en": "Europe" } },
        "country": { "iso_code": "NO", "names": { "de": "Norwegen", "en": "Norway" } },
        "location": {
            "accuracy_radius": 20, "latitude": 69.6489, "longitude": 18.9551,
            "time_zone": "Europe/Oslo",
        },
        "postal": { "code": "9008" },
        "registered_country": { "iso_code": "SE", "names": { "en": "Sweden" } },
        "subdivisions": [{ "iso_code": "55", "names": { "en": "Troms" } }],
        "traits": { "isp": "Example Net" },
    });
    let sweden = json!({ "registered_country": { "iso_code": "SE", "names": { "en": "Sweden" } } });
    let records = [(TROMSO, tromso.clone()), (TROMSO_6, tromso), (SWEDEN, sweden)];
    file("GeoLite2-City", Duration::ZERO, &records)
}

/// In the format of DB-IP's IP to City Lite, which lacks region codes, postal codes and time zones.
pub fn dbip() -> Vec<u8> {
    let tromso = json!({
        "city": { "names": { "en": "Tromsø" } },
        "continent": { "code": "EU", "geoname_id": 6_255_148, "names": { "en": "Europe" } },
        "country": { "iso_code": "NO", "is_in_european_union": false, "names": { "en": "Norway" } },
        "location": { "latitude": 69.6489, "longitude": 18.9551 },
        "subdivisions": [{ "names": { "en": "Troms" } }],
    });
    let sweden = json!({ "country": { "iso_code": "SE" } });
    let records = [(TROMSO, tromso.clone()), (TROMSO_6, tromso), (SWEDEN, sweden)];
    file("DBIP-City-Lite", Duration::ZERO, &records)
}

/// As IPinfo's geolocation file: flat, and numbers are text.
pub fn ipinfo() -> Vec<u8> {
    let tromso = json!({
        "city": "Tromsø", "country": "NO", "geoname_id": "3133895", "lat": "69.6489",
        "lng": "18.9551", "postal_code": "9008", "region": "Troms", "region_code": "55",
        "timezone": "Europe/Oslo",
    });
    let sweden = json!({ "country": "SE" });
    let records = [(TROMSO, tromso.clone()), (TROMSO_6, tromso), (SWEDEN, sweden)];
    file("ipinfo standard_location.mmdb", Duration::ZERO, &records)
}

/// As IPinfo Lite: countries and providers.
pub fn ipinfo_lite() -> Vec<u8> {
    let norway = json!({
        "as_domain": "example.net", "as_name": "Example Net", "asn": "AS64500",
        "continent": "Europe", "continent_code": "EU", "country": "Norway", "country_code": "NO",
    });
    file(
        "ipinfo generic_lite.mmdb",
        Duration::ZERO,
        &[(TROMSO, norway.clone()), (TROMSO_6, norway)],
    )
}

/// As IPinfo Core: the location in a map of its own.
pub fn ipinfo_core() -> Vec<u8> {
    let tromso = json!({
        "as": { "asn": "AS64500", "name": "Example Net" },
        "geo": {
            "city": "Tromsø", "country": "Norway", "country_code": "NO", "latitude": 69.6489,
            "longitude": 18.9551, "postal_code": "9008", "region": "Troms", "region_code": "55",
            "timezone": "Europe/Oslo",
        },
    });
    file("ipinfo core.mmdb", Duration::ZERO, &[(TROMSO, tromso.clone()), (TROMSO_6, tromso)])
}

/// A country everywhere.
pub fn everywhere(code: &str, age: Duration) -> Vec<u8> {
    file("GeoLite2-Country", age, &[(ANYWHERE, json!({ "country": { "iso_code": code } }))])
}
