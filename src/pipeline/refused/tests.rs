use super::groups::Groups;
use super::*;
use crate::auth::Denied;

const MINUTE: i64 = 60_000;

fn key(reason: &'static str, project: usize, page: usize) -> Key {
    let (project, page) = (Some(project.to_string()), Some(page.to_string()));
    Key { is_stranger: false, reason, field: None, problem: None, project, page, token: None }
}

fn new(at: i64, body: usize) -> New {
    New {
        at: UtcMillis::from_epoch_millis(at),
        status: 400,
        error: "url: missing".to_owned(),
        path: "/track".to_owned(),
        peer: None,
        kind: None,
        body: Some("x".repeat(body)),
        truncated: false,
    }
}

fn all(most: usize) -> Wanted {
    Wanted { most, ..Wanted::default() }
}

#[test]
fn the_number_of_groups_is_bounded_and_old_ones_make_room() {
    let mut groups = Groups::new(RefusedSettings::default());
    for n in 0..3_000 {
        groups.add(key("invalid event", n % 700, n), new(n as i64, 10));
    }
    let [count, kept, _] = groups.size();
    assert_eq!((count, kept), (601, 500));
    let shown = groups.groups(&all(0));
    assert_eq!(shown.iter().map(|group| group.count).sum::<u64>(), 3_000);
    let rest = &shown[0];
    assert_eq!((rest.project.as_deref(), rest.page.as_deref()), (None, None), "{rest:?}");
    groups.add(key("queue", 1, 1), new(62 * MINUTE, 10));
    assert_eq!(groups.size()[..2], [1, 1]);
    assert_eq!(groups.groups(&all(0))[0].page.as_deref(), Some("1"));
}

#[test]
fn strangers_use_up_neither_the_groups_nor_the_kept_events_of_others() {
    let settings = RefusedSettings { max_events: 50, max_bytes: 100_000 };
    let mut groups = Groups::new(settings);
    for n in 0..5 {
        groups.add(key("invalid event", 1, n), new(0, 10));
    }
    for n in 0..10_000 {
        let stranger = Key { is_stranger: true, ..key("token not valid", n, n) };
        groups.add(stranger, new(1, n % 4_000));
    }
    groups.add(key("invalid event", 2, 7), new(2, 10));
    let [count, kept, bytes] = groups.size();
    assert_eq!(count, 6 + MAX_STRANGER_GROUPS + MAX_WITHOUT_PAGE + 1);
    assert!((7..=16).contains(&kept) && bytes <= 20_000 + 6 * 500, "{kept} {bytes}");
    let of = |reason: &str| Wanted { reason: Some(reason.to_owned()), ..all(50) };
    let pages = groups.groups(&of("invalid event"));
    assert_eq!(pages.len(), 6);
    assert!(pages.iter().all(|group| group.page.is_some()), "{pages:?}");
    assert_eq!(groups.recent(&of("invalid event")).len(), 6);
    let strangers = groups.groups(&of("token not valid"));
    assert_eq!(strangers.iter().map(|group| group.count).sum::<u64>(), 10_000);
}

#[test]
fn a_flood_leaves_other_events_there() {
    let settings = RefusedSettings { max_events: 20, max_bytes: 1 << 20 };
    let mut groups = Groups::new(settings);
    groups.add(key("invalid event", 1, 1), new(0, 10));
    for n in 0..10_000 {
        groups.add(key("queue", 1, 1), new(n, 10));
    }
    assert_eq!(groups.size()[..2], [2, 5]);
    let recent = groups.recent(&all(9));
    assert_eq!(
        (recent.len(), recent[0].id, recent[4].reason.as_str()),
        (5, 10_001, "invalid event")
    );
    let wanted = Wanted { most: 9, id: Some(1), ..Wanted::default() };
    assert_eq!((groups.groups(&wanted).len(), groups.recent(&wanted).len()), (0, 1));
    let wanted = Wanted { most: 9, reason: Some("queue".to_owned()), ..Wanted::default() };
    assert_eq!((groups.groups(&wanted).len(), groups.recent(&wanted).len()), (1, 4));
}

#[test]
fn the_bytes_of_kept_events_are_bounded() {
    let settings = RefusedSettings { max_events: 1_000, max_bytes: 10_000 };
    let mut groups = Groups::new(settings);
    for n in 0..1_000 {
        groups.add(key("queue", n % 10, 1), new(n as i64, n % 3_000));
        assert!(groups.size()[2] <= 10_000);
    }
    groups.add(key("queue", 1, 1), new(0, 20_000));
    assert!((1..25).contains(&groups.size()[1]));
    let mut none = Groups::new(RefusedSettings { max_events: 0, max_bytes: 1 });
    none.add(key("queue", 1, 1), new(0, 0));
    assert_eq!((none.size(), none.total()), ([1, 0, 0], 1));
    assert!(none.groups(&all(0))[0].sample.is_none());
}

fn refused<'a>(rejection: &'a Rejection, token: Option<&'a str>, body: &'a [u8]) -> Refused<'a> {
    let why = Why {
        reason: rejection.kind(),
        status: rejection.status().as_u16(),
        error: rejection.to_string(),
        rejection: Some(rejection),
    };
    Refused {
        why,
        project: None,
        is_stranger: !token.is_some_and(|token| token.starts_with("tok_")),
        token,
        page: Some(b"https://shop.example/cart?x=1"),
        path: "/track",
        client: "192.0.2.1".parse().unwrap(),
        peer: None,
        kind: Some(EventKind::Pageview),
        body: Some(body),
    }
}

#[test]
fn groups_differ_by_reason_field_page_project_and_token() {
    let (refusals, metrics) = (Refusals::default(), Metrics::new());
    let missing = Rejection::field("url", "missing");
    let made = Rejection::field("made.up", format!("expected {}", 7));
    let denied = Rejection::from(Denied::Unknown);
    let body = br#"{"projectId":"p","url":"https://me:x@a.example/b?c#d"}"#;
    for _ in 0..3 {
        refusals.add(refused(&missing, Some("tok_1"), body), &metrics);
        refusals.add(refused(&made, Some("tok_1"), b"{}"), &metrics);
        refusals.add(refused(&denied, Some("bk_live_0123"), b""), &metrics);
    }
    refusals.add(refused(&missing, Some("tok_2"), body), &metrics);
    let view = refusals.view(&all(3));
    assert_eq!((view.total, view.groups.len(), view.recent.len()), (10, 4, 3));
    let counts: Vec<u64> = view.groups.iter().map(|group| group.count).collect();
    assert_eq!(counts, [3, 3, 3, 1]);
    let last = &view.groups[3];
    assert_eq!(
        (last.project.as_deref(), last.page.as_deref()),
        (Some("p"), Some("https://a.example/b"))
    );
    assert_eq!((last.token.as_deref(), last.field.as_deref()), (Some("tok_2"), Some("url")));
    let is_denied = |group: &&bklit_wire::refused::RefusedGroup| group.reason == "token not valid";
    let unknown = view.groups.iter().find(is_denied).unwrap();
    assert_eq!(unknown.page.as_deref(), Some("https://shop.example/cart"));
    let text = metrics.to_prometheus();
    for line in [
        "bklit_refused_events_total{reason=\"invalid event\",field=\"url\"} 4",
        "bklit_refused_events_total{reason=\"invalid event\",field=\"other\"} 3",
        "bklit_refused_events_total{reason=\"token not valid\",field=\"\"} 3",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn pages_are_shown_without_what_is_private() {
    for (url, shown) in [
        ("https://me:x@a.example:8443/b?c=d#e", Some("https://a.example:8443/b")),
        ("app://host/screen", Some("app://host/screen")),
        ("file:///x.html", Some("file:///x.html")),
        ("null", None),
    ] {
        assert_eq!(page(url).as_deref(), shown, "{url}");
    }
}

#[test]
fn a_flood_of_large_refused_events_is_bounded() {
    let (refusals, metrics) = (Refusals::default(), Metrics::new());
    let filler = "x".repeat(60_000);
    let rejection = Rejection::field("url", "missing");
    // A flood from pages without end.
    for n in 0..20_000 {
        let body = format!(r#"{{"projectId":"p","url":"https://a.example/{n}","x":"#);
        let body = [body.as_bytes(), &filler.as_bytes()[..if n % 100 == 0 { 60_000 } else { 500 }]];
        refusals.add(refused(&rejection, Some("tok_1"), &body.concat()), &metrics);
    }
    let groups = refusals.groups();
    let [count, kept, bytes] = groups.size();
    assert!(count <= MAX_GROUPS + MAX_WITHOUT_PAGE + 1 && kept <= 500 && bytes <= 2 << 20);
    assert_eq!(groups.total(), 20_000);
}
