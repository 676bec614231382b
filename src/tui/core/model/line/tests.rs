use proptest::prelude::*;
use serde_json::json;

use super::*;

fn line_of(log: &DebugLog) -> OwnedLine {
    let mut text = "earlier".to_owned();
    let meta = push_log(&mut text, log);
    let line = OwnedLine { text: text.split_off("earlier".len()), meta };
    assert_eq!(line.text.len(), meta.text_len());
    line
}

fn log_with(data: &Value) -> DebugLog {
    let mut log = DebugLog::new(Stage::Worker, Level::Error, "Batch failed");
    log.timestamp = "2026-01-31T12:00:00.123Z".parse().unwrap();
    log.data = data.as_object().unwrap().clone();
    log.event_id = Some("evt_1".into());
    log.duration = Some(0.1);
    log
}

#[test]
fn parts_are_read_back() {
    let log = log_with(&json!({ "count": 3, "error": "no such table", "url": "/a?b=c" }));
    let line = line_of(&log);
    let line = line.as_ref();
    assert_eq!(line.message(), "Batch failed");
    assert_eq!(line.fields(), r#"error="no such table" url=/a?b=c count=3"#);
    assert_eq!((line.event_id(), line.project_id()), (Some("evt_1"), None));
    assert_eq!((line.stage(), line.level()), (Some(Stage::Worker), Level::Error));
    assert_eq!(line.to_json(), serde_json::to_string(&log).unwrap());
    assert_eq!(size_of::<Meta>(), 24);
}

#[test]
fn hostile_parts_are_safe_and_still_read_back() {
    let data = json!({ "a\u{202e} =": "\u{1b}[2J\u{200b}", "b": { "c\n": ["\t", "\u{e0041}"] } });
    let mut log = log_with(&data);
    log.message = "\u{1b}]0;title\u{7}\nsecond line".into();
    let line = line_of(&log);
    assert_eq!(line.as_ref().message(), "\\u{1b}]0;title\\u{7}\\nsecond line");
    assert!(line.text.split(SEPARATOR).all(text::is_safe), "{}", line.text);
    assert_eq!(Value::Object(line.as_ref().data().into_iter().collect()), data);
}

#[test]
fn long_parts_are_truncated_with_a_mark() {
    let data = json!({ "big": "x".repeat(100_000), "error": "small", "later": 1 });
    let mut log = log_with(&data);
    log.message = "é".repeat(50_000).into();
    log.event_id = Some("i".repeat(70_000));
    let line = line_of(&log);
    assert!(line.text.len() < MAX_MESSAGE + MAX_FIELDS + 2 * MAX_ID + 100);
    let line = line.as_ref();
    assert!(line.message().ends_with('…') && line.event_id().unwrap().ends_with('…'));
    let data = line.data();
    assert_eq!(data[0], ("error".into(), "small".into()));
    assert_eq!(data[1], ("big".into(), "… cut: too long to keep".into()));
}

#[test]
fn an_unparsed_line_is_kept_as_a_warning() {
    let mut text = String::new();
    let meta = push_text(&mut text, UtcMillis::MIN, "{\"stage\":\"moon\"}\u{1b}", Level::Warn);
    let line = LineRef::new(&meta, &text);
    assert_eq!((line.stage(), line.level()), (None, Level::Warn));
    assert_eq!(line.message(), "{\"stage\":\"moon\"}\\u{1b}");
    assert_eq!((line.fields(), line.event_id(), line.project_id()), ("", None, None));
    assert_eq!(meta.text_len(), text.len());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        any::<String>().prop_map(Value::from),
        "[a-z0-9 =\"{}-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_details_are_safe_and_read_back(
        fields in prop::collection::vec((any::<String>(), any_json()), 0..5)
    ) {
        let data: Map<String, Value> = fields.into_iter().collect();
        let line = line_of(&log_with(&Value::Object(data.clone())));
        prop_assert!(line.text.split(SEPARATOR).all(text::is_safe));
        let read: Map<String, Value> = line.as_ref().data().into_iter().collect();
        prop_assert_eq!(read, data);
    }
}
