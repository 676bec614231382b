use super::*;

fn traffic(seed: u64, bad_percent: u8) -> Traffic {
    let start = "2026-01-31T12:00:00Z".parse().unwrap();
    Traffic::new(Plan { project: "p".to_owned(), bad_percent, start, seed })
}

/// `count` requests at `rate` per second.
fn requests(seed: u64, bad_percent: u8, rate: f64, count: u32) -> Vec<Planned> {
    let mut traffic = traffic(seed, bad_percent);
    (0..count).map(|n| traffic.next(Duration::from_secs_f64(f64::from(n) / rate))).collect()
}

fn body(planned: &Planned) -> Value {
    serde_json::from_slice(&planned.body).unwrap()
}

fn of(requests: &[Planned], kind: EventKind) -> Vec<Value> {
    let expects = Expected::Accepted(kind);
    requests.iter().filter(|planned| planned.expects == expects).map(body).collect()
}

#[test]
fn the_same_seed_repeats_the_traffic() {
    let first = requests(7, 10, 50.0, 2000);
    assert_eq!(first, requests(7, 10, 50.0, 2000));
    assert_ne!(first, requests(8, 10, 50.0, 2000));
}

#[test]
fn valid_requests_are_parsed_by_the_pipeline() {
    use bklit_wire::event::{CustomEvent, PageView, SessionEnd, parse_naming_field};
    for planned in requests(1, 0, 50.0, 3000) {
        let body = &planned.body;
        match planned.expects {
            Expected::Accepted(EventKind::Pageview) => {
                let view: PageView = parse_naming_field(body, "").unwrap();
                assert!(url::Url::parse(&view.url).is_ok(), "{}", view.url);
            }
            Expected::Accepted(EventKind::Event) => {
                let event: CustomEvent = parse_naming_field(body, "").unwrap();
                assert!(event.metadata.is_some());
            }
            Expected::Accepted(EventKind::SessionEnd) => {
                parse_naming_field::<SessionEnd>(body, "").unwrap();
                assert_eq!(planned.token, TokenChoice::None);
            }
            Expected::Refused(_) => panic!("{planned:?}"),
        }
        assert_eq!(self::body(&planned)["projectId"], "p");
    }
}

#[test]
fn sessions_begin_with_a_view_and_nothing_follows_their_end() {
    let mut states: HashMap<String, (UtcMillis, bool)> = HashMap::new();
    let requests = requests(3, 0, 100.0, 10_000);
    for planned in &requests {
        let body = body(planned);
        let session = body["sessionId"].as_str().unwrap().to_owned();
        let moment: UtcMillis = body["timestamp"].as_str().unwrap().parse().unwrap();
        match states.get(&session) {
            None => assert_eq!(planned.path, "/track"),
            Some((last, ended)) => {
                assert!(!ended, "{body}");
                let pause = moment.epoch_millis() - last.epoch_millis();
                assert!(pause >= 100, "{pause} ms are not human: {body}");
            }
        }
        states.insert(session, (moment, planned.path == "/session-end"));
    }
    let ended = states.values().filter(|(_, ended)| *ended).count();
    assert!(ended * 2 > states.len(), "{ended} of {} sessions ended", states.len());
}

#[test]
fn the_mix_resembles_a_web_site() {
    let requests = requests(5, 0, 200.0, 20_000);
    let views = of(&requests, EventKind::Pageview);
    let events = of(&requests, EventKind::Event);
    let ends = of(&requests, EventKind::SessionEnd);
    assert!(views.len() > 10_000 && events.len() > 1_500 && ends.len() > 1_500);
    let home = views.iter().filter(|view| view["canonicalUrl"] == format!("{SITE}/")).count();
    let share = home as f64 / views.len() as f64;
    assert!((0.15..0.35).contains(&share), "{share} of the views are of the first page");
    let distinct = |values: &[Value], field: &str| {
        values.iter().map(|v| v[field].to_string()).collect::<std::collections::HashSet<_>>()
    };
    assert_eq!(distinct(&views, "canonicalUrl").len(), PAGES.len());
    assert_eq!(distinct(&views, "userAgent").len(), AGENTS.len());
    assert_eq!(distinct(&views, "language").len(), LANGUAGES.len());
    assert_eq!(distinct(&events, "trackingId").len(), EVENTS.len());
    for field in ["gclid", "fbclid", "msclkid", "ttclid", "liFatId", "twclid"] {
        assert!(views.iter().any(|view| view[field].is_string()), "{field}");
    }
}

#[test]
fn the_given_share_is_invalid_in_every_way() {
    let requests = requests(2, 20, 100.0, 5000);
    let bad: Vec<_> =
        requests.iter().filter(|planned| matches!(planned.expects, Expected::Refused(_))).collect();
    assert!((800..1200).contains(&bad.len()), "{}", bad.len());
    let has = |test: &dyn Fn(&Planned) -> bool| bad.iter().any(|planned| test(planned));
    let field = |planned: &Planned, name: &str| {
        serde_json::from_slice::<Value>(&planned.body).ok().map(|body| body[name].clone())
    };
    assert!(has(&|p| p.token == TokenChoice::None));
    assert!(has(&|p| matches!(p.token, TokenChoice::Wrong(_))));
    assert!(has(&|p| field(p, "url") == Some(Value::Null)));
    assert!(has(&|p| field(p, "url") == Some(serde_json::json!([7]))));
    assert!(has(&|p| field(p, "url").is_none()));
    assert!(has(&|p| field(p, "projectId").is_some_and(|project| project != "p")));
    assert_eq!(self::requests(2, 100, 100.0, 500).len(), 500);
}

#[test]
fn the_number_of_visitors_is_bounded() {
    let mut traffic = traffic(1, 0);
    traffic.most_visitors = 500;
    for _ in 0..2000 {
        traffic.next(Duration::ZERO);
        assert!(traffic.visitors.len() <= 500);
    }
    assert_eq!(traffic.visitors.len(), 500);
    assert_eq!(traffic.visitors.len(), traffic.waiting.len());
}
