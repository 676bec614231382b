//! Visitors behind proxies, and what is kept of their addresses.

use std::time::Duration;

use serde_json::Value;

use super::{case, joined, list, post, stored};
use crate::support::{Cli, Daemon};
use crate::visitors::mmdb;

const VIEW: &[u8] = br#"{"url":"https://shop.example/","projectId":"default"}"#;

/// The addresses that a daemon with these HTTP settings stores for requests with these headers.
fn addresses(settings: &str, requests: &[&[(&str, &str)]]) -> (Daemon, String) {
    let daemon = Daemon::with_settings(&format!("[http]\n{settings}"));
    for headers in requests {
        let answer = post(&daemon, "/track", headers, VIEW);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    stored(&daemon, "page_view_event", requests.len());
    let addresses = list(&daemon, "SELECT ip AS x FROM page_view_event ORDER BY id");
    let shown = joined(addresses.iter().map(|ip| ip.as_str().unwrap_or("none")));
    (daemon, shown)
}

#[test]
fn two_proxies_in_a_row() {
    let input = "trusted proxy: X-Forwarded-For: 203.0.113.9, 172.68.10.20 with CF-Connecting-IP: 203.0.113.9; by that header, and by the CDN's network";
    case("umami 3478", input, "203.0.113.0; 203.0.113.0", || {
        let headers =
            [("X-Forwarded-For", "203.0.113.9, 172.68.10.20"), ("CF-Connecting-IP", "203.0.113.9")];
        let by_header = "trusted_proxies = ['loopback']\nclient_ip_header = 'cf-connecting-ip'";
        let by_network = "trusted_proxies = ['loopback', '172.64.0.0/13']";
        [by_header, by_network].map(|settings| addresses(settings, &[&headers]).1).join("; ")
    });
}

#[test]
fn only_the_real_ip() {
    let input =
        "trusted proxy: X-Real-IP: 203.0.113.9 only; with that header set, and with the default";
    case("umami 444, 814", input, "203.0.113.0; logged", || {
        let headers = [("X-Real-IP", "203.0.113.9")];
        let set = "trusted_proxies = ['loopback']\nclient_ip_header = 'x-real-ip'";
        let (_, shown) = addresses(set, &[&headers]);
        let (daemon, _) = addresses("trusted_proxies = ['loopback']", &[&headers]);
        let log = daemon.stderr();
        let logged = log.contains("http.client_ip_header") && log.contains("x-real-ip");
        format!("{shown}; {}", if logged { "logged" } else { "not logged" })
    });
}

#[test]
fn whole_addresses_are_not_kept() {
    let input = "visitors 203.0.113.9 and 2001:db8:1:2:3:4:5:6";
    let expected = "203.0.113.0, 2001:db8:1:2::; whole address in 0 files";
    case("@bklit/sdk anonymizeIP", input, expected, || {
        let (daemon, shown) = addresses(
            "trusted_proxies = ['loopback']",
            &[
                &[("X-Forwarded-For", "203.0.113.9")],
                &[("X-Forwarded-For", "2001:db8:1:2:3:4:5:6")],
            ],
        );
        let files = std::fs::read_dir(daemon.data_dir()).unwrap();
        let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let has = |bytes: &[u8], address: &str| {
            bytes.windows(address.len()).any(|window| window == address.as_bytes())
        };
        let leaks = files.filter(|path| {
            let bytes = std::fs::read(path).unwrap();
            has(&bytes, "203.0.113.9") || has(&bytes, "2001:db8:1:2:3:4:5:6")
        });
        format!("{shown}; whole address in {} files", leaks.count())
    });
}

#[test]
fn countries_without_a_cdn() {
    let input = "a visitor in Tromsø without headers of a CDN; doctor without a location database";
    case("plausible 3976", input, "Norway (NO), Tromsø; doctor warns", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("city.mmdb");
        std::fs::write(&path, mmdb::maxmind()).unwrap();
        let settings = format!("trusted_proxies = ['loopback']\n[geo]\ndatabase = {path:?}");
        let (daemon, _) = addresses(&settings, &[&[("X-Forwarded-For", "203.0.113.9")]]);
        let place = "country || ' (' || country_code || '), ' || city";
        let place = daemon.scalar(&format!("SELECT {place} FROM page_view_event"));
        let cli = Cli::new().env("BKLIT_LISTEN", "127.0.0.1:0");
        let findings = cli.run(&["doctor", "--json"]).stdout;
        let mut findings =
            findings.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let warns = findings.any(|finding| {
            finding["part"] == "location"
                && finding["severity"] == "warning"
                && finding["advice"].as_str().unwrap().contains("geo.database")
        });
        let doctor = if warns { "warns" } else { "is silent" };
        format!("{}; doctor {doctor}", place.as_str().unwrap())
    });
}

#[test]
fn locations_of_another_cdn() {
    let input = "trusted proxy of Cloudflare: cf-ipcountry: NO with x-vercel-ip-country: US, alone and together";
    case("hostile trial", input, "none, NO", || {
        let settings = "trusted_proxies = ['loopback']\nlocation_headers = 'cloudflare'";
        let (other, own) = (("x-vercel-ip-country", "US"), ("cf-ipcountry", "NO"));
        let (daemon, _) = addresses(settings, &[&[other], &[own, other]]);
        let codes = list(&daemon, "SELECT country_code AS x FROM page_view_event ORDER BY id");
        joined(codes.iter().map(|code| code.as_str().unwrap_or("none")))
    });
}

#[test]
fn a_database_of_the_whole_internet_that_is_old() {
    let input = "a location database that was built 400 days ago";
    case("plausible 3976", input, "NO; doctor warns", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("country.mmdb");
        let age = Duration::from_secs(400 * 24 * 3600);
        std::fs::write(&path, mmdb::everywhere("NO", age)).unwrap();
        let settings = format!("trusted_proxies = ['loopback']\n[geo]\ndatabase = {path:?}");
        let (daemon, _) = addresses(&settings, &[&[("X-Forwarded-For", "198.51.100.7")]]);
        let code = daemon.scalar("SELECT country_code FROM page_view_event");
        let cli = Cli::new().env("BKLIT_LISTEN", "127.0.0.1:0");
        let cli = cli.env("BKLIT_GEO_DATABASE", path.to_str().unwrap());
        let findings = cli.run(&["doctor", "--json"]).stdout;
        let warns = findings.lines().any(|line| {
            line.contains("\"location\"") && line.contains("400 days") && line.contains("warning")
        });
        format!("{}; doctor {}", code.as_str().unwrap(), if warns { "warns" } else { "is silent" })
    });
}
