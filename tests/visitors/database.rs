//! The file of the location database: missing, broken, replaced.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::local::LocalDebugBus;
use bklit_pipeline::intake::visitor::{
    Check, DatabaseError, IpPrivacy, LocationDatabase, LocationHeaders, Proxies, Seen, Visitors,
    examine,
};
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::telemetry::Telemetry;
use bklit_wire::debug_bus::{DebugBus, DebugMessage};
use hyper::HeaderMap;
use proptest::prelude::*;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::mmdb;
use crate::support::{Cli, DEADLINE, Daemon, eventually};

const NOW: Duration = Duration::ZERO;

/// The country that a database has for all addresses.
fn country(database: &Arc<LocationDatabase>) -> Option<String> {
    let (proxies, database) = (Proxies::default(), Some(Arc::clone(database)));
    let visitors = Visitors::new(proxies, LocationHeaders::None, IpPrivacy::Cut, database);
    let headers = HeaderMap::new();
    let client = visitors.client([203, 0, 113, 9].into(), &headers);
    let visitor = visitors.visitor(client, &headers);
    visitor.location().country_code.clone()
}

#[test]
fn a_changed_file_is_read_once_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    fs::write(&path, mmdb::everywhere("NO", NOW)).unwrap();
    let database = Arc::new(LocationDatabase::new(path.clone()));
    let mut seen = Seen::default();
    assert!(matches!(database.check(&mut seen), Check::Loaded(_)), "the first time at once");
    assert_eq!(country(&database).as_deref(), Some("NO"));
    assert!(matches!(database.check(&mut seen), Check::Same));

    let new = mmdb::everywhere("SE", NOW);
    for written in [10, new.len() / 2, new.len()] {
        fs::write(&path, &new[..written]).unwrap();
        assert!(matches!(database.check(&mut seen), Check::Same), "it may grow: {written}");
        assert_eq!(country(&database).as_deref(), Some("NO"));
    }
    assert!(matches!(database.check(&mut seen), Check::Loaded(_)));
    assert_eq!(country(&database).as_deref(), Some("SE"));

    let new = dir.path().join("new.mmdb");
    fs::write(&new, mmdb::everywhere("DK", NOW)).unwrap();
    fs::rename(&new, &path).unwrap();
    assert!(matches!(database.check(&mut seen), Check::Same));
    assert!(matches!(database.check(&mut seen), Check::Loaded(_)));
    assert_eq!(country(&database).as_deref(), Some("DK"));
}

#[test]
fn the_last_good_file_stays_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    let good = mmdb::everywhere("NO", NOW);
    fs::write(&path, &good).unwrap();
    let database = Arc::new(LocationDatabase::new(path.clone()));
    let mut seen = Seen::default();
    database.check(&mut seen);
    let is_broken = |seen: &mut Seen| {
        assert!(matches!(database.check(seen), Check::Same));
        let check = database.check(seen);
        assert!(matches!(check, Check::Failed(DatabaseError::Broken(_))), "{check:?}");
        assert_eq!(country(&database).as_deref(), Some("NO"));
        assert!(matches!(database.check(seen), Check::Same), "it is not read again and again");
    };
    fs::write(&path, &good[..good.len() - 20]).unwrap();
    is_broken(&mut seen);
    fs::write(&path, "no database").unwrap();
    is_broken(&mut seen);
    // Partially overwritten from the start: the end is that of the old file.
    let mut halfway = mmdb::maxmind();
    let tail = halfway.len() / 2;
    halfway[..tail].fill(0xff);
    fs::write(&path, &halfway).unwrap();
    is_broken(&mut seen);

    fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        assert!(matches!(database.check(&mut seen), Check::Failed(DatabaseError::Io(_))));
    }
    assert_eq!(country(&database).as_deref(), Some("NO"));
    fs::write(&path, &good).unwrap();
    database.check(&mut seen);
    assert!(matches!(database.check(&mut seen), Check::Loaded(_)));
}

#[test]
fn only_databases_of_locations_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("asn.mmdb");
    let asn = json!({ "autonomous_system_number": 64500 });
    fs::write(&path, mmdb::file("GeoLite2-ASN", NOW, &[(mmdb::ANYWHERE, asn)])).unwrap();
    let error = examine(&path).unwrap_err().to_string();
    assert_eq!(error, "GeoLite2-ASN is not a database of countries or cities");
    assert!(matches!(examine(dir.path()), Err(DatabaseError::NotAFile)), "a directory");
    fs::write(&path, mmdb::everywhere("NO", NOW)).unwrap();
    assert_eq!(examine(&path).unwrap().name, "GeoLite2-Country");
}

proptest! {
    /// A damaged file is refused, or it is wrong about a location. It never stops the process.
    #[test]
    fn damaged_files_do_no_harm(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ip: u32,
    ) {
        let mut bytes = mmdb::maxmind();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        let database = Arc::new(LocationDatabase::new(file.path().to_owned()));
        database.check(&mut Seen::default());
        let visitors =
            Visitors::new(Proxies::default(), LocationHeaders::None, IpPrivacy::Cut, Some(database));
        for ip in [[203, 0, 113, 9].into(), Ipv4Addr::from_bits(ip).into()] {
            visitors.visitor(visitors.client(ip, &HeaderMap::new()), &HeaderMap::new());
        }
    }
}

/// The clock is the runtime's: it advances while all tasks are idle.
#[tokio::test(start_paused = true)]
async fn a_running_pipeline_notices_a_new_file_and_reports_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    let metrics = Arc::new(Metrics::new());
    let bus = Arc::new(LocalDebugBus::new(Arc::clone(&metrics)));
    let mut lines = bus.subscribe();
    let log = Arc::new(Telemetry::new(bus.clone(), metrics, u64::MAX));
    let database = Arc::new(LocationDatabase::new(path.clone()));
    let mut seen = Seen::default();
    database.report(&database.check(&mut seen), &log);
    let stop = CancellationToken::new();
    let watch = Arc::clone(&database).watch(seen, Arc::clone(&log), stop.clone());
    let watch = tokio::spawn(watch);
    let mut warned = async || loop {
        if let DebugMessage::Log(line) = lines.next().await.unwrap() {
            break (line.message.to_string(), line.data["used"].clone());
        }
    };
    let message = "Location database not usable".to_owned();
    assert_eq!(warned().await, (message.clone(), json!("none")), "there is no file");
    fs::write(&path, mmdb::everywhere("NO", NOW)).unwrap();
    while !database.is_loaded() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(country(&database).as_deref(), Some("NO"));
    fs::write(&path, "no database").unwrap();
    assert_eq!(warned().await, (message, json!("the last good file")));
    assert_eq!(country(&database).as_deref(), Some("NO"));
    stop.cancel();
    watch.await.unwrap();
}

fn settings(path: &Path) -> String {
    format!("[geo]\ndatabase = '{}'", path.display())
}

#[test]
fn a_daemon_locates_its_visitors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    fs::write(&path, mmdb::everywhere("NO", NOW)).unwrap();
    let daemon = Daemon::with_settings(&settings(&path));
    daemon.track("https://a.example/");
    let stored = "SELECT max(country || ' ' || country_code || ' ' || ip) FROM page_view_event";
    eventually(DEADLINE, "it is stored", || daemon.scalar(stored) == "Norway NO 127.0.0.0");
    assert!(daemon.stderr().contains("location database loaded"), "{}", daemon.stderr());
}

#[test]
fn a_daemon_starts_without_its_database_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_settings(&settings(&dir.path().join("missing.mmdb")));
    daemon.track("https://a.example/");
    let text = daemon.stderr();
    assert!(text.contains("the location database cannot be used"), "{text}");
    assert!(text.contains("missing.mmdb") && text.contains("No such file"), "{text}");
}

/// The finding about locations.
fn doctor(cli: &Cli) -> (String, String, String) {
    let output = cli.run(&["doctor", "--json"]);
    let findings = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut of_location =
        findings.filter(|finding: &serde_json::Value| finding["part"] == "location");
    let found = of_location.next().unwrap_or_else(|| panic!("{output:#?}"));
    assert_eq!(of_location.next(), None);
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    (text("severity"), text("what"), text("advice"))
}

#[test]
fn doctor_reports_where_locations_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    let cli = || Cli::new().env("BKLIT_LISTEN", "127.0.0.1:0");
    let (severity, what, advice) = doctor(&cli());
    assert_eq!((severity.as_str(), what.contains("without a country")), ("warning", true));
    assert!(advice.contains("geo.database") && advice.contains("http.location_headers"));

    let cdn = cli().env("BKLIT_LOCATION_HEADERS", "cloudflare");
    assert_eq!(doctor(&cdn).0, "warning", "headers count only from trusted proxies");
    assert_eq!(doctor(&cdn.env("BKLIT_TRUSTED_PROXIES", "private")).0, "ok");

    let with_file = || cli().env("BKLIT_GEO_DATABASE", path.to_str().unwrap());
    assert_eq!(doctor(&with_file()).0, "problem", "it is missing");
    fs::write(&path, "no database").unwrap();
    let (severity, what, _) = doctor(&with_file());
    assert_eq!(severity, "problem");
    assert!(what.contains("city.mmdb: not an intact MMDB file"), "{what}");
    let day = Duration::from_secs(24 * 3600);
    for (days, severity) in [(3, "ok"), (90, "warning")] {
        fs::write(&path, mmdb::everywhere("NO", day * days)).unwrap();
        let (found, what, _) = doctor(&with_file());
        assert_eq!(found, severity);
        assert!(what.contains(&format!("(GeoLite2-Country) was built {days} days ago")), "{what}");
    }
}
