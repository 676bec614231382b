//! The visitor's location in the headers of a content delivery network.

use hyper::HeaderMap;
use serde::{Deserialize, Serialize};

use super::location::{self, Location};
use bklit_wire::text::of_header;

/// The network whose location headers count. It overwrites its own headers when a visitor sends them,
/// but passes on those of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocationHeaders {
    /// None.
    #[default]
    None,
    /// Cloudflare; the managed transform "Add visitor location headers" adds more than the country.
    Cloudflare,
    /// Vercel.
    Vercel,
    /// CloudFront, with the headers added by an origin request policy.
    Cloudfront,
}

/// The names of a network's headers; empty where it has none.
struct Names {
    country_code: &'static str,
    country: &'static str,
    region: &'static str,
    region_name: &'static str,
    city: &'static str,
    zip: &'static str,
    timezone: &'static str,
    lat: &'static str,
    lon: &'static str,
}

const CLOUDFLARE: Names = Names {
    country_code: "cf-ipcountry",
    country: "",
    region: "cf-region-code",
    region_name: "cf-region",
    city: "cf-ipcity",
    zip: "cf-postal-code",
    timezone: "cf-timezone",
    lat: "cf-iplatitude",
    lon: "cf-iplongitude",
};

const VERCEL: Names = Names {
    country_code: "x-vercel-ip-country",
    country: "",
    region: "x-vercel-ip-country-region",
    region_name: "",
    city: "x-vercel-ip-city",
    zip: "x-vercel-ip-postal-code",
    timezone: "x-vercel-ip-timezone",
    lat: "x-vercel-ip-latitude",
    lon: "x-vercel-ip-longitude",
};

const CLOUDFRONT: Names = Names {
    country_code: "cloudfront-viewer-country",
    country: "cloudfront-viewer-country-name",
    region: "cloudfront-viewer-country-region",
    region_name: "cloudfront-viewer-country-region-name",
    city: "cloudfront-viewer-city",
    zip: "cloudfront-viewer-postal-code",
    timezone: "cloudfront-viewer-time-zone",
    lat: "cloudfront-viewer-latitude",
    lon: "cloudfront-viewer-longitude",
};

impl LocationHeaders {
    /// The location in the headers of a request that came through the network.
    pub(super) fn location(self, headers: &HeaderMap) -> Location {
        let names = match self {
            Self::None => return Location::default(),
            Self::Cloudflare => CLOUDFLARE,
            Self::Vercel => VERCEL,
            Self::Cloudfront => CLOUDFRONT,
        };
        // The last one: the network's own comes after what it passes on.
        let value = |name: &str| {
            let value = headers.get_all(name).iter().next_back()?;
            Some(decoded(&of_header(value.as_bytes())))
        };
        let text = |name: &str| location::name(&value(name)?);
        let number = |name: &str, most| location::degrees(value(name)?.trim().parse().ok()?, most);
        Location {
            country_code: value(names.country_code).and_then(|code| location::country_code(&code)),
            country: text(names.country),
            region: text(names.region),
            region_name: text(names.region_name),
            city: text(names.city),
            zip: text(names.zip),
            timezone: text(names.timezone).filter(|zone| location::is_time_zone(zone)),
            isp: None,
            lat: number(names.lat, 90.0),
            lon: number(names.lon, 180.0),
        }
    }
}

/// Decodes names, which Vercel and CloudFront send percent-encoded. A `+` stays a `+`.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(network: LocationHeaders, lines: &[(&'static str, &str)]) -> Location {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.as_bytes().try_into().unwrap());
        }
        network.location(&headers)
    }

    const ALL: [(&str, &str); 11] = [
        ("cf-ipcountry", "NO"),
        ("cf-ipcity", "Oslo"),
        ("cf-timezone", "Europe/Oslo"),
        ("x-vercel-ip-country", "BR"),
        ("x-vercel-ip-country-region", "SP"),
        ("x-vercel-ip-city", "S%C3%A3o%20Paulo"),
        ("x-vercel-ip-latitude", "-23.55"),
        ("cloudfront-viewer-country", "US"),
        ("cloudfront-viewer-country-name", "United States"),
        ("cloudfront-viewer-longitude", "-181"),
        ("cloudfront-viewer-country-region-name", "Ohio"),
    ];

    #[test]
    fn only_the_headers_of_the_configured_network_count() {
        let text = |text: &str| Some(text.to_owned());
        let norway = Location {
            country_code: text("NO"),
            city: text("Oslo"),
            timezone: text("Europe/Oslo"),
            ..Location::default()
        };
        assert_eq!(read(LocationHeaders::Cloudflare, &ALL), norway);
        let brazil = Location {
            country_code: text("BR"),
            region: text("SP"),
            city: text("São Paulo"),
            lat: Some(-23.55),
            ..Location::default()
        };
        assert_eq!(read(LocationHeaders::Vercel, &ALL), brazil);
        let ohio = Location {
            country_code: text("US"),
            country: text("United States"),
            region_name: text("Ohio"),
            ..Location::default()
        };
        assert_eq!(read(LocationHeaders::Cloudfront, &ALL), ohio);
        assert_eq!(read(LocationHeaders::None, &ALL), Location::default());
    }

    #[test]
    fn the_networks_own_line_counts_and_nonsense_does_not() {
        let lines = [("cf-ipcountry", "US"), ("cf-ipcountry", "NO"), ("cf-iplatitude", "north")];
        let location = read(LocationHeaders::Cloudflare, &lines);
        assert_eq!((location.country_code.as_deref(), location.lat), (Some("NO"), None));
        for code in ["T1", "XX", ""] {
            let location = read(LocationHeaders::Cloudflare, &[("cf-ipcountry", code)]);
            assert_eq!(location, Location::default());
        }
        for (sent, read) in
            [("S%C3%A3o%20Paulo", "São Paulo"), ("A+B%20C", "A+B C"), ("a&b=c", "a&b=c")]
        {
            assert_eq!(decoded(sent), read);
        }
    }
}
