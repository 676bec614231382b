use bklit_wire::debug_log::{DebugLog, Level, Stage, folded};
use bklit_wire::time::UtcMillis;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::line::OwnedLine;

fn masked(text: &str) -> String {
    let mut out = String::new();
    mask(&mut out, text, MAX_PART);
    out
}

fn line(message: &str, data: &serde_json::Value, at: i64) -> OwnedLine {
    let mut log = DebugLog::new(Stage::Ingestion, Level::Warn, message.to_owned());
    log.timestamp = UtcMillis::from_epoch_millis(at);
    log.data = data.as_object().cloned().unwrap_or_default();
    OwnedLine::of(&log)
}

#[test]
fn what_differs_from_case_to_case_is_masked() {
    for (text, expected) in [
        ("connection refused (os error 111)", "connection refused (os error #)"),
        ("event evt_019c13f0a7b870009e37 is unknown", "event evt_# is unknown"),
        ("id 019c13f0-a7b8-7000-9e37-abcdefabcdef.", "id #."),
        ("took 1,234.5 ms, 250ms, 1.5s", "took # ms, #, #"),
        ("at 2026-01-31T12:00:00.123Z: late", "at #: late"),
        ("127.0.0.1:6379: connection refused", "#: connection refused"),
        ("[2001:db8::1]:6379 and 2001:db8::abcd, ::1.", "# and #, #."),
        ("from me.too@example.com.", "from #."),
        ("url: expected a string", "url: expected a string"),
        ("unknown type `auth` (\"a\", 'b', “c”)", "unknown type \"…\" (\"…\", \"…\", \"…\")"),
        ("nobody else's, can't, don't", "nobody else's, can't, don't"),
        ("GET https://a.example/x?y=1, then redis://h:1.", "GET <url>, then <url>."),
        ("expected Int64, found UInt8", "expected Int#, found UInt#"),
        ("HTTP/1.1 from worker17:4", "HTTP/# from worker#"),
        ("not UTF-8: byte 7", "not UTF-8: byte #"),
        ("-5 and +7 of 3", "# and # of #"),
        ("deadbeefdeadbeefdead deadbeef", "# deadbeef"),
        ("an \"open quote", "an \"open quote"),
        ("café ٣٤ 東京", "café # 東京"),
        ("", ""),
    ] {
        assert_eq!(masked(text), expected, "{text}");
    }
}

#[test]
fn lines_are_the_same_by_stage_level_status_message_and_reason() {
    let refused = |error: &str, status: u16| {
        line("Request refused", &json!({ "error": error, "status": status, "path": "/track" }), 0)
    };
    let key = |line: &OwnedLine| GroupKey::of(line.as_ref());
    let one = refused("event evt_1 is unknown", 400);
    assert_eq!(key(&one), key(&refused("event evt_22 is unknown", 400)));
    assert_ne!(key(&one), key(&refused("event evt_1 is unknown", 401)));
    assert_ne!(key(&one), key(&refused("not valid JSON: EOF", 400)));
    assert_eq!(key(&one).reason(), Some("event evt_# is unknown"));
    assert_eq!((key(&one).message(), key(&one).status()), ("Request refused", Some(400)));
    assert!(key(&one).is_of(refused("event evt_3 is unknown", 400).as_ref()));
    let message = folded("Request refused", 9_990);
    let many = line(&message, &json!({ "error": "event evt_7 is unknown", "status": 400 }), 0);
    assert_eq!(key(&many), key(&one));
    assert_eq!((lines_of(many.as_ref()), lines_of(one.as_ref())), (9_990, 1));
    assert!(is_same(one.as_ref(), many.as_ref()));
    assert_eq!(key(&line("Slow 17", &json!({}), 0)).what(), "Slow #");
    let lost = |problem: &str| line("Batch quarantined", &json!({ "problem": problem }), 0);
    assert_ne!(key(&lost("a row is missing")), key(&lost("a row is there twice")));
}

#[test]
fn a_group_counts_by_minute_and_project() {
    let mut groups = Groups::default();
    let minute = 60_000;
    let now = UtcMillis::from_epoch_millis(1_000 * minute);
    for nth in 0..100 {
        let mut log = DebugLog::new(Stage::Queue, Level::Error, "queue full");
        // The last ones come from a clock that is ahead.
        log.timestamp = UtcMillis::from_epoch_millis((905 + nth) * minute);
        log.project_id = Some(format!("p{}", nth % 20));
        groups.add(OwnedLine::of(&log).as_ref(), nth as u64, now);
    }
    let group = groups.iter().next().unwrap();
    assert_eq!((groups.len(), group.count), (1, 100));
    assert_eq!(group.recent(now, 10), 9 + 5, "the last four count as of now");
    assert_eq!(group.recent(now, MINUTES), 59 + 5);
    assert_eq!(group.per_minute(now, 3), [1, 1, 5]);
    let later = UtcMillis::from_epoch_millis(1_030 * minute);
    assert_eq!((group.recent(later, 10), group.recent(later, MINUTES)), (0, 29 + 5));
    assert_eq!((group.projects.named.len(), group.projects.others), (MAX_PROJECTS, 60));
    assert_eq!(group.last, now);
    assert!(group.last_lines.iter().copied().eq(84..100));
}

#[test]
fn what_all_lines_of_a_group_say_is_not_masked() {
    let mut groups = Groups::default();
    let mut add = |error: &str| {
        let line = line("Request refused", &json!({ "error": error }), 0);
        groups.add(line.as_ref(), 0, UtcMillis::MIN);
        let group = groups.iter().next().unwrap();
        (group.what().to_owned(), group.example.clone())
    };
    let long = format!("longer than 128 bytes: {}", "x".repeat(2 * MAX_PART));
    let cut = long[..MAX_PART].to_owned();
    assert_eq!(add(&long), (cut.clone(), cut.clone()));
    assert_eq!(add(&long), (cut.clone(), cut));
    let other = long.replace("128", "64");
    let (what, example) = add(&other);
    assert!(what.starts_with("longer than # bytes") && example.starts_with("longer than 64 bytes"));
}

#[test]
fn groups_are_bounded_and_dropped_ones_are_counted() {
    let mut groups = Groups::default();
    let name = |nth: usize| {
        let letters = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        nth.to_string().bytes().map(|d| letters[usize::from(d - b'0')]).collect::<String>()
    };
    let total = 3 * MAX_GROUPS;
    for nth in 0..total {
        groups.add(line(&name(nth), &json!({}), 0).as_ref(), 0, UtcMillis::MIN);
        groups.add(line("again and again", &json!({}), 0).as_ref(), 0, UtcMillis::MIN);
        assert!(groups.len() <= MAX_GROUPS);
    }
    let again = GroupKey::of(line("again and again", &json!({}), 0).as_ref());
    assert_eq!(groups.get(&again).unwrap().count, total as u64);
    let Evicted { groups: dropped, lines } = groups.evicted();
    assert_eq!((dropped, lines), ((total + 1 - groups.len()) as u64, dropped));
    let oldest = GroupKey::of(line(&name(0), &json!({}), 0).as_ref());
    assert!(groups.get(&oldest).is_none());
}

/// Text that stays, and text that differs from case to case, twice.
fn piece() -> impl Strategy<Value = (String, String)> {
    let word = prop::sample::select(vec![
        "the",
        "queue:",
        "cannot",
        "(refused)",
        "it's",
        "page_view",
        "a.b",
        "–",
        "é,",
        "[x]",
        "=",
    ]);
    let id = || {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<u32>().prop_map(|n| bklit_wire::numbers::grouped(n.into())),
            any::<f32>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:.3}")),
            any::<[u8; 4]>().prop_map(|ip| core::net::Ipv4Addr::from(ip).to_string()),
            any::<[u8; 16]>().prop_map(|ip| core::net::Ipv6Addr::from(ip).to_string()),
            any::<u128>().prop_map(uuid),
            "[a-z]{1,8}@[a-z]{1,8}\\.com",
        ]
    };
    prop_oneof![
        word.prop_map(|word| (word.to_owned(), word.to_owned())),
        (id(), id()),
        ("[a-z0-9 ]{0,9}", "[a-z0-9 ]{0,9}")
            .prop_map(|(a, b)| (format!("\"{a}\""), format!("`{b}`"))),
        ("[a-z0-9/?=]{1,9}", "[a-z0-9/?=]{1,9}")
            .prop_map(|(a, b)| (format!("https://{a}"), format!("redis://{b}"))),
        (any::<u128>(), any::<u128>()).prop_map(|(a, b)| {
            // An id of the pipeline always begins with a time, which has digits.
            (format!("evt_0{a:031x}"), format!("evt_0{b:031x}"))
        }),
    ]
}

fn uuid(n: u128) -> String {
    let hex = format!("{n:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

proptest! {
    #[test]
    fn texts_that_differ_only_in_ids_are_masked_alike(
        pieces in prop::collection::vec(piece(), 0..12),
    ) {
        let (one, other): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        prop_assert_eq!(masked(&one.join(" ")), masked(&other.join(" ")));
    }

    #[test]
    fn plain_words_stay(text in "[g-z]{1,9}( [g-z]{1,9}){0,9}[.!]?") {
        prop_assert_eq!(masked(&text), text);
    }

    #[test]
    fn any_text_is_bounded(text in "[a-c1-3'\"`:.@,#é“”/ -]{0,40}|\\PC{0,80}", most in 0_usize..60) {
        let mut out = "before".to_owned();
        mask(&mut out, &text, most);
        prop_assert!(out.starts_with("before") && out.len() <= 6 + most);
    }
}
