//! Where visitors are: from a database, and from the headers of a CDN.

use bklit_pipeline::intake::visitor::LocationHeaders;
use bklit_tui::config::Settings;
use bklit_wire::event::PageView;

use super::{behind_proxy, loaded, mmdb, viewed};

/// The texts of a location.
fn texts(view: &PageView) -> [Option<&str>; 8] {
    [
        view.country_code.as_deref(),
        view.country.as_deref(),
        view.region.as_deref(),
        view.region_name.as_deref(),
        view.city.as_deref(),
        view.zip.as_deref(),
        view.timezone.as_deref(),
        view.isp.as_deref(),
    ]
}

const TROMSO: (Option<f64>, Option<f64>) = (Some(69.6489), Some(18.9551));

#[tokio::test]
async fn the_formats_of_all_publishers_are_read() {
    const CITY: [Option<&str>; 6] =
        [Some("NO"), Some("Norway"), Some("55"), Some("Troms"), Some("Tromsø"), Some("9008")];
    let [code, country, region, region_name, city, zip] = CITY;
    let (zone, isp) = (Some("Europe/Oslo"), Some("Example Net"));
    for (name, file, expected, point) in [
        (
            "MaxMind",
            mmdb::maxmind(),
            [code, country, region, region_name, city, zip, zone, isp],
            TROMSO,
        ),
        ("DB-IP", mmdb::dbip(), [code, country, None, region_name, city, None, None, None], TROMSO),
        (
            "IPinfo",
            mmdb::ipinfo(),
            [code, country, region, region_name, city, zip, zone, None],
            TROMSO,
        ),
        (
            "IPinfo Lite",
            mmdb::ipinfo_lite(),
            [code, country, None, None, None, None, None, isp],
            (None, None),
        ),
        (
            "IPinfo Core",
            mmdb::ipinfo_core(),
            [code, country, region, region_name, city, zip, zone, isp],
            TROMSO,
        ),
    ] {
        let database = loaded(&file);
        // The address is looked up whole: the other half of this network is in another country.
        for ip in ["203.0.113.9", "2001:db8:1:2:3::9"] {
            let view = viewed(Some(&database), behind_proxy, &[("X-Forwarded-For", ip)]).await;
            assert_eq!(texts(&view), expected, "{name} {ip}");
            assert_eq!((view.lat, view.lon), point, "{name} {ip}");
        }
        if !name.starts_with("IPinfo ") {
            let sweden = [("X-Forwarded-For", "203.0.113.200")];
            let view = viewed(Some(&database), behind_proxy, &sweden).await;
            assert_eq!(view.ip.as_deref(), Some("203.0.113.0"));
            let named = (view.country_code.as_deref(), view.country.as_deref());
            assert_eq!(named, (Some("SE"), Some("Sweden")), "{name}");
        }
        let unknown = [("X-Forwarded-For", "198.51.100.1")];
        let view = viewed(Some(&database), behind_proxy, &unknown).await;
        assert_eq!(texts(&view), [None; 8], "{name}");
    }
}

const HEADERS: [(&str, &str); 6] = [
    ("X-Forwarded-For", "203.0.113.9"),
    ("CF-IPCountry", "NO"),
    ("X-Vercel-IP-Country", "BR"),
    ("X-Vercel-IP-City", "S%C3%A3o%20Paulo"),
    ("CloudFront-Viewer-Country", "US"),
    ("CloudFront-Viewer-City", "Columbus"),
];

#[tokio::test]
async fn visitors_cannot_choose_their_location_through_the_headers_of_another_vendor() {
    for (vendor, country, city) in [
        (LocationHeaders::None, None, None),
        (LocationHeaders::Cloudflare, Some("Norway"), None),
        (LocationHeaders::Vercel, Some("Brazil"), Some("São Paulo")),
        (LocationHeaders::Cloudfront, Some("United States"), Some("Columbus")),
    ] {
        let change = |settings: &mut Settings| {
            behind_proxy(settings);
            settings.http.location_headers = vendor;
        };
        let view = viewed(None, change, &HEADERS).await;
        assert_eq!((view.country.as_deref(), view.city.as_deref()), (country, city), "{vendor:?}");
        let untrusted = |settings: &mut Settings| settings.http.location_headers = vendor;
        assert_eq!(texts(&viewed(None, untrusted, &HEADERS).await), [None; 8], "{vendor:?}");
    }
}

#[tokio::test]
async fn a_database_completes_headers_of_the_same_country() {
    let database = loaded(&mmdb::maxmind());
    let change = |settings: &mut Settings| {
        behind_proxy(settings);
        settings.http.location_headers = LocationHeaders::Cloudflare;
    };
    let view = viewed(Some(&database), change, &HEADERS).await;
    assert_eq!((view.country.as_deref(), view.city.as_deref()), (Some("Norway"), Some("Tromsø")));
    let moved = [("X-Forwarded-For", "203.0.113.9"), ("CF-IPCountry", "SE")];
    let view = viewed(Some(&database), change, &moved).await;
    assert_eq!((view.country.as_deref(), view.city.as_deref()), (Some("Sweden"), None));
    let unknown = [("X-Forwarded-For", "203.0.113.9"), ("CF-IPCountry", "XX")];
    let view = viewed(Some(&database), change, &unknown).await;
    assert_eq!((view.country.as_deref(), view.city.as_deref()), (Some("Norway"), Some("Tromsø")));
}
