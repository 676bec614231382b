//! The targets: each takes any bytes.

use std::fmt::Debug;
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use bklit_console_core::model::Purpose;
use bklit_console_core::model::query::Query;
use bklit_pipeline::intake::validate::MAX_TEXT;
use bklit_pipeline::intake::visitor::{
    ClientIpHeader, IpPrivacy, LocationDatabase, LocationHeaders, Networks, Proxies, Seen, Visitors,
};
use bklit_tui::config::{Environment, Settings};
use bklit_wire::debug_log::DebugLog;
use bklit_wire::event::{EventKind, LiveEvent, Payload, QueuedEvent};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use super::intake;

type Target = fn(&[u8]);

/// All targets by name.
pub const ALL: &[(&str, Target)] = &[
    ("body", body),
    ("contract", contract),
    ("query", query),
    ("url", url),
    ("forwarded", forwarded),
    ("mmdb", mmdb),
    ("config", config),
];

/// A request body: an accepted event is within its limits, and another process reads it unchanged
/// from the queue.
pub fn body(data: &[u8]) {
    for kind in [EventKind::Pageview, EventKind::Event, EventKind::SessionEnd] {
        let Some(event) = intake::event(kind, data) else { continue };
        let json = event.to_json();
        let read = QueuedEvent::from_json(&json).expect("what is queued can be read");
        assert_eq!(read.to_json(), json);
        if let Payload::Pageview(view) = &event.payload {
            assert!(view.url.len() <= MAX_TEXT, "{}", view.url.len());
            for (name, text) in view.texts() {
                assert!(text.len() <= MAX_TEXT, "{name}: {}", text.len());
            }
        }
    }
}

/// JSON of other programs: an event that can be read stays the same when written and read again.
pub fn contract(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(event) = QueuedEvent::from_json(text) {
        let again = QueuedEvent::from_json(&event.to_json()).expect("what was written can be read");
        // The first time, missing times are filled in.
        let json = again.to_json();
        let again = QueuedEvent::from_json(&json).expect("what was written can be read");
        assert_eq!(again.to_json(), json);
    }
    written_as_read::<DebugLog>(text);
    written_as_read::<LiveEvent>(text);
}

fn written_as_read<T: DeserializeOwned + Serialize + PartialEq + Debug>(text: &str) {
    let Ok(value) = serde_json::from_str::<T>(text) else { return };
    let json = serde_json::to_string(&value).expect("it can be written");
    assert_eq!(serde_json::from_str::<T>(&json).expect("what was written can be read"), value);
}

/// A query of the console: matches are within the text, and errors within the query.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The first line is the query, the rest is what it searches.
    let (source, text) = text.split_once('\n').unwrap_or((text, text));
    for purpose in [Purpose::Search, Purpose::Filter] {
        let (query, mistake) = Query::read(source, purpose);
        if let Some(mistake) = mistake {
            assert!(mistake.length > 0 || source.is_empty(), "{mistake:?}");
            assert!(mistake.at <= source.chars().count(), "{mistake:?}");
        }
        let Some(query) = query else { continue };
        for found in query.found_in(text) {
            assert!(text.get(found.clone()).is_some(), "{found:?}");
        }
        let _ = query.ast().to_string();
    }
}

/// URLs of page views: stored URLs have no credentials, and that of the page is absolute.
pub fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let body = json!({ "projectId": "p", "url": text, "referrer": text, "canonicalUrl": text });
    let Some(event) = intake::event(EventKind::Pageview, body.to_string().as_bytes()) else {
        return;
    };
    let Payload::Pageview(view) = &event.payload else { panic!("{event:?}") };
    let page = Url::parse(&view.url).expect("an absolute URL");
    let others = [&view.referrer, &view.canonical_url].into_iter().flatten();
    // A URL that is not absolute has credentials only relative to a page.
    let others = others.filter_map(|other| page.join(other).ok());
    for url in others.chain([page.clone()]) {
        assert_eq!((url.username(), url.password()), ("", None), "{url}");
    }
}

/// Proxy headers: the stored address is truncated.
pub fn forwarded(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    for header in ClientIpHeader::ALL {
        let networks = Networks::parse(["loopback", "10.0.0.0/8"]).expect("they are valid");
        let proxies = Proxies::new(networks, header);
        let visitors = Visitors::new(proxies, LocationHeaders::None, IpPrivacy::Cut, None);
        let mut headers = HeaderMap::new();
        headers.append(HeaderName::from_static(header.as_str()), value.clone());
        headers.append(HeaderName::from_static(header.as_str()), value.clone());
        let client = visitors.client([127, 0, 0, 1].into(), &headers);
        let visitor = visitors.visitor(client, &headers);
        let shown: IpAddr = visitor.shown_ip().expect("an address").parse().expect("an address");
        match shown {
            IpAddr::V4(ip) => assert_eq!(ip.octets()[3], 0),
            IpAddr::V6(ip) => assert_eq!(&ip.octets()[8..], [0; 8]),
        }
    }
}

/// A location database: it is refused, or locations may be wrong.
pub fn mmdb(data: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), data).expect("it is written");
    let database = Arc::new(LocationDatabase::new(file.path().to_owned()));
    database.check(&mut Seen::default());
    let (proxies, database) = (Proxies::default(), Some(database));
    let visitors = Visitors::new(proxies, LocationHeaders::None, IpPrivacy::Cut, database);
    for ip in [IpAddr::from([203, 0, 113, 9]), IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, 1])] {
        let headers = HeaderMap::new();
        let _ = visitors.visitor(visitors.client(ip, &headers), &headers);
    }
}

/// A config file, and after a NUL byte variables as lines `NAME=value`: it is valid, or the error is
/// text.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (toml, variables) = text.split_once('\0').unwrap_or((text, ""));
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), toml).expect("it is written");
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let environment = Environment::new(variables.map(owned));
    if let Err(error) = Settings::load(Some(file.path()), &environment, &[]) {
        assert!(!error.to_string().is_empty());
    }
}
