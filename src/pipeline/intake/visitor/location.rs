//! Where a visitor is.

use bklit_wire::event::PageView;

/// The longest name of a place, in bytes; longer ones are left out.
const MAX_NAME: usize = 256;

/// A visitor's location, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Location {
    /// ISO 3166-1 code, two capital letters.
    pub country_code: Option<String>,
    /// English name of the country.
    pub country: Option<String>,
    /// Code of the region within the country.
    pub region: Option<String>,
    /// Name of the region.
    pub region_name: Option<String>,
    /// Name of the city.
    pub city: Option<String>,
    /// Postal code.
    pub zip: Option<String>,
    /// IANA time zone.
    pub timezone: Option<String>,
    /// Internet provider.
    pub isp: Option<String>,
    /// Latitude in degrees.
    pub lat: Option<f64>,
    /// Longitude in degrees.
    pub lon: Option<f64>,
}

impl Location {
    /// Takes what is missing here from `other`, if both are in the same country: parts of different
    /// places must not be combined.
    pub(super) fn or(self, other: Self) -> Self {
        if self.country_code.is_none() {
            return other;
        }
        if self.country_code != other.country_code {
            return self;
        }
        Self {
            country_code: self.country_code,
            country: self.country.or(other.country),
            region: self.region.or(other.region),
            region_name: self.region_name.or(other.region_name),
            city: self.city.or(other.city),
            zip: self.zip.or(other.zip),
            timezone: self.timezone.or(other.timezone),
            isp: self.isp.or(other.isp),
            lat: self.lat.or(other.lat),
            lon: self.lon.or(other.lon),
        }
    }

    /// Adds the country's name to its code.
    pub(super) fn with_country_name(mut self) -> Self {
        if self.country.is_none() {
            let code = self.country_code.as_deref();
            let name = code.map(|code| country_emoji::code_to_name(code).unwrap_or(code));
            self.country = name.map(str::to_owned);
        }
        self
    }

    /// Sets a page view's location. The client's time zone stays where none is known for its address.
    pub(crate) fn fill(&self, view: &mut PageView) {
        view.country_code.clone_from(&self.country_code);
        view.country.clone_from(&self.country);
        view.region.clone_from(&self.region);
        view.region_name.clone_from(&self.region_name);
        view.city.clone_from(&self.city);
        view.zip.clone_from(&self.zip);
        view.isp.clone_from(&self.isp);
        (view.lat, view.lon) = (self.lat, self.lon);
        let own = view.timezone.take().filter(|zone| is_time_zone(zone));
        view.timezone = self.timezone.clone().or(own);
    }
}

/// A country's code. Cloudflare's codes for an unknown country and for Tor are not countries.
pub(super) fn country_code(text: &str) -> Option<String> {
    let code = text.trim().to_ascii_uppercase();
    let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_code && code != "XX" && code != "ZZ").then_some(code)
}

/// The name or code of a place.
pub(super) fn name(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= MAX_NAME && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}

/// Degrees from minus `most` to `most`.
pub(super) fn degrees(number: f64, most: f64) -> Option<f64> {
    (number.abs() <= most).then_some(number)
}

/// Whether a text can be the name of a time zone such as `Europe/Oslo`.
pub(super) fn is_time_zone(text: &str) -> bool {
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'+' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, city: Option<&str>) -> Location {
        let city = city.map(str::to_owned);
        Location { country_code: Some(code.into()), city, ..Location::default() }
    }

    #[test]
    fn two_sources_are_combined_only_within_one_country() {
        let detailed = Location { lat: Some(1.0), ..of("NO", Some("Oslo")) };
        let combined = of("NO", None).or(detailed.clone());
        assert_eq!((combined.city.as_deref(), combined.lat), (Some("Oslo"), Some(1.0)));
        assert_eq!(of("NO", Some("Bergen")).or(detailed.clone()).city.as_deref(), Some("Bergen"));
        assert_eq!(of("SE", None).or(detailed.clone()), of("SE", None));
        assert_eq!(Location::default().or(detailed.clone()), detailed);
    }

    #[test]
    fn countries_are_named_as_in_the_databases() {
        for (code, name) in [
            ("NO", "Norway"),
            ("US", "United States"),
            ("GB", "United Kingdom"),
            ("KR", "South Korea"),
            ("RU", "Russia"),
            ("XK", "Kosovo"),
            ("QQ", "QQ"),
        ] {
            let named = of(code, None).with_country_name();
            assert_eq!(named.country.as_deref(), Some(name));
        }
        let given = Location { country: Some("Norge".into()), ..of("NO", None) };
        assert_eq!(given.clone().with_country_name(), given);
        assert_eq!(Location::default().with_country_name(), Location::default());
    }

    #[test]
    fn codes_that_are_not_countries_are_left_out() {
        assert_eq!(country_code("no").as_deref(), Some("NO"));
        for wrong in ["", "XX", "T1", "ZZ", "NOR", "N", "ÆØ", "N1"] {
            assert_eq!(country_code(wrong), None, "{wrong}");
        }
        assert_eq!(name(&"x".repeat(MAX_NAME)).map(|name| name.len()), Some(MAX_NAME));
        for wrong in ["x".repeat(MAX_NAME + 1), "a\nb".to_owned(), " ".to_owned()] {
            assert_eq!(name(&wrong), None);
        }
        assert_eq!((degrees(-90.0, 90.0), degrees(90.1, 90.0)), (Some(-90.0), None));
        assert_eq!(degrees(f64::NAN, 90.0), None);
    }

    #[test]
    fn the_clients_time_zone_stays_where_none_is_known() {
        let sent = |zone: &str| PageView { timezone: Some(zone.into()), ..PageView::default() };
        let mut view = sent("Europe/Oslo");
        of("NO", None).fill(&mut view);
        assert_eq!(view.timezone.as_deref(), Some("Europe/Oslo"));
        let known = Location { timezone: Some("Arctic/Longyearbyen".into()), ..of("NO", None) };
        known.fill(&mut view);
        assert_eq!(view.timezone.as_deref(), Some("Arctic/Longyearbyen"));
        let mut view = sent("<b>");
        Location::default().fill(&mut view);
        assert_eq!(view.timezone, None);
    }
}
