use proptest::prelude::*;
use serde_json::{Value, json};

use super::ast::{DataTest, Term, Test, level_bit};
use super::scanner::Scanner;
use super::*;
use crate::model::filter::StageSet;
use crate::model::line_ring::LineRing;
use bklit_wire::debug_log::{DebugLog, Level, Stage};

fn query(source: &str) -> Query {
    Query::parse(source, Purpose::Filter).unwrap().unwrap()
}

fn error(source: &str) -> QueryError {
    Query::parse(source, Purpose::Filter).unwrap_err()
}

fn line(message: &str, data: &Value) -> DebugLog {
    let mut log = DebugLog::new(Stage::Worker, Level::Warn, message.to_owned());
    log.data = data.as_object().cloned().unwrap_or_default();
    log.event_id = Some("evt_019c13f0a7b8".into());
    log.project_id = Some("shop".into());
    log.duration = Some(50.5);
    log
}

fn ring(logs: &[DebugLog]) -> LineRing {
    let mut ring = LineRing::new(usize::MAX, usize::MAX);
    logs.iter().for_each(|log| ring.push_log(log));
    ring
}

fn matches(source: &str) -> bool {
    let data = json!({
        "url": "/checkout?step=2", "size": 12, "title": "Hello \"you\"",
        "batch": { "id": "b_1", "rows": 3 },
    });
    let ring = ring(&[line("Batch stored", &data)]);
    query(source).matches(ring.get(0).unwrap())
}

#[test]
fn every_kind_of_term_asks_for_what_it_says() {
    for source in [
        "batch",
        "Batch stored",
        "stored batch",
        "\"Batch stored\"",
        "b.tch",
        "/batch stored/",
        "^url=",
        "worker",
        "WARN",
        "warn",
        "stage:worker,queue",
        "level:warn",
        "level:>=info",
        "level:<error",
        "project:shop",
        "project:other,shop",
        "id:a7b8",
        "id:evt_",
        "dur:>50",
        "dur:>0.05s",
        "dur:10..51",
        "dur:50.5",
        "dur:..1min",
        "data.url:/checkout",
        "data.size:>10",
        "data.size:12.0",
        "data.size:10..12",
        "data.title:\"o \\\"y\"",
        "data.batch.id:b_1",
        "data.batch:*",
        "data.batch.rows:<=3",
        "data.batch.id:=b_1",
        "data.title:=\"Hello \\\"you\\\"\"",
        "-data.url:=/checkout",
        "-data.batch.id:=B_1",
        "-data.batch.id:=b_",
        "-data.batch.id:=_1",
        "-stage:queue",
        "-/x{9}/",
        "-dur:>100 -nothing",
        "!nothing",
        "!batch nothing",
    ] {
        assert!(matches(source), "{source}");
    }
    for source in [
        "BATCH",
        "\"stored batch\"",
        "batch nothing",
        "wo",
        "stage:queue",
        "level:error",
        "project:sho",
        "id:A7B8",
        "dur:>50.5",
        "dur:<1",
        "data.url:checkout/",
        "data.size:1",
        "data.batch.id:>1",
        "data.checkout:*",
        "-batch",
        "!batch",
    ] {
        assert!(!matches(source), "{source}");
    }
}

/// Rows of Who are pages: addresses without query and fragment.
#[test]
fn a_url_may_have_a_query_and_a_fragment() {
    let root = "data.url:=https://a.example/";
    for (source, url, is) in [
        (root, "https://a.example", true),
        (root, "https://a.example/", true),
        (root, "https://a.example/?utm=1", true),
        (root, "https://a.example#top", true),
        (root, "https://a.example/cart", false),
        (root, "https://a.example.org/", false),
        ("data.url:=https://a.example/x", "https://a.example/x#y", true),
        ("data.url:=https://a.example/x", "https://a.example/x/", false),
        ("data.url:=https://a.example/x/", "https://a.example/x", false),
    ] {
        let ring = ring(&[line("Event accepted", &json!({ "url": url }))]);
        assert_eq!(query(source).matches(ring.get(0).unwrap()), is, "{source} {url}");
    }
}

#[test]
fn mistakes_have_a_place_and_a_way_out() {
    for (source, at, length, says) in [
        ("a levle:warn", 2, 5, "unknown key `levle`; did you mean level? One of stage, "),
        ("stage:wrker", 6, 5, "one of: ingestion, queue"),
        ("level:>=high", 6, 6, "unknown level `high`"),
        ("level:>error", 6, 6, "no level is"),
        ("ü \"open", 2, 1, "never closed"),
        ("\"\"", 0, 2, "nothing between"),
        ("x /a(b/", 2, 5, "unclosed group"),
        ("dur:fast", 4, 4, "invalid duration"),
        ("dur:>5h", 4, 3, "invalid duration"),
        ("dur:9..1", 4, 4, "smaller number comes first"),
        ("dur:nan", 4, 3, "invalid duration"),
        ("data.size:>big", 10, 4, "invalid comparison"),
        ("data.:x", 0, 5, "needs a name"),
        ("stage:", 5, 1, "a value is missing"),
        ("data.x:=", 7, 1, "a value is missing"),
        ("project:a,", 9, 1, "a value is missing"),
    ] {
        let error = error(source);
        assert_eq!((error.at, error.length), (at, length), "{source}: {error}");
        assert!(error.message.contains(says), "{source}: {error}");
    }
    assert!(error("levle:warn").message.contains("\"levle:warn\""), "how to look for it as text");
}

#[test]
fn what_only_looks_like_a_key_is_text() {
    for source in
        ["12:30:05", "https://shop.example/", "Error:", "std::io", "error:", "/checkout", "-"]
    {
        assert!(matches!(query(source).ast().terms[0].test, Test::Word(_)), "{source}");
    }
    assert!(matches!(query("/api/").ast().terms[0].test, Test::Regex(_)));
}

#[test]
fn a_word_that_is_no_regex_is_text_and_says_so() {
    let query = query("lock(");
    assert!(query.note().unwrap().contains("unclosed group"));
    assert_eq!(query.found_in("a lock(ed)").first(), Some(&(2..7)));
    assert!(super::literal::check_regex(r"\w{500}{500}").unwrap_err().contains("too big"));
}

#[test]
fn nothing_typed_is_no_query_and_only_a_filter_is_turned_round() {
    let parse = |source, purpose| Query::parse(source, purpose).unwrap();
    assert!(parse(" ", Purpose::Search).is_none() && parse("!", Purpose::Filter).is_none());
    assert!(parse("!x", Purpose::Filter).unwrap().ast().inverted);
    assert!(!parse("!x", Purpose::Search).unwrap().ast().inverted);
}

fn any_word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{1,3}",
        "[A-Cé ]{1,3}",
        Just("worker".to_owned()),
        Just("Info".to_owned()),
        Just("k1".to_owned()),
    ]
}

/// Some of them match across line ends, or match the ends.
fn any_regex() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-c.]{1,3}",
        1 => prop::sample::select(vec![
            "^", "$", r"\b", r"\B", r"\A", r"\z", r"\s", r"\n", "[^a]+", "(?s).*", "(?:b|k)*", "(?-m)$", "a?",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.concat())
}

fn any_test() -> impl Strategy<Value = Test> {
    prop_oneof![
        4 => any_word().prop_map(Test::Phrase),
        2 => any_regex().prop_map(Test::Regex),
        1 => (1..64_u8).prop_map(|bits| {
            let on = Stage::ALL.into_iter().filter(|s| bits & (1 << s.index()) != 0);
            Test::Stages(on.fold(StageSet::NONE, |set, stage| set.with(Some(stage))))
        }),
        1 => (1..8_u8).prop_map(Test::Levels),
        1 => any_word().prop_map(|id| Test::Projects(vec![id])),
        1 => any_word().prop_map(Test::Id),
        1 => any_word().prop_map(|part| Test::Data("k1".into(), DataTest::Contains(part))),
        1 => any_word().prop_map(|text| Test::Data("k1".into(), DataTest::Is(text))),
        1 => Just(Test::Data("k1.k2".into(), DataTest::Present)),
    ]
}

fn any_log() -> impl Strategy<Value = DebugLog> {
    let value = prop_oneof![
        any_word().prop_map(Value::from),
        (0..20).prop_map(Value::from),
        any_word().prop_map(|word| json!({ "k2": word })),
    ];
    let key = prop_oneof![Just("k1"), Just("k2"), Just("odd key")];
    (0..6_usize, 0..3_usize, any_word(), prop::collection::vec((key, value), 0..3), any_word())
        .prop_map(|(stage, level, message, data, id)| {
            let mut log = DebugLog::new(Stage::ALL[stage], Level::ALL[level], message);
            log.data = data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            log.event_id = (id.len() > 1).then(|| id.clone());
            log.project_id = Some(id);
            log
        })
}

/// The same in the simplest way, on the original line.
fn naive(test: &Test, log: &DebugLog, shown: &str) -> bool {
    let has = |text: &str, part: &str| match part.chars().any(char::is_uppercase) {
        true => text.contains(part),
        false => text.to_lowercase().contains(part),
    };
    let begins = |name: &str, part: &str| {
        let folded = !part.chars().any(char::is_uppercase);
        let name = if folded { name.to_lowercase() } else { name.to_owned() };
        part.len() >= 3 && name.starts_with(part)
    };
    let level = log.level.as_str().to_uppercase();
    match test {
        Test::Phrase(part) => {
            has(shown, part) || begins(log.stage.as_str(), part) || begins(&level, part)
        }
        Test::Regex(source) => {
            let regex = regex::Regex::new(&format!("(?im){source}")).unwrap();
            let names =
                |name: &str| regex.find(name).is_some_and(|f| f.start() == 0 && f.len() > 2);
            names(log.stage.as_str()) || names(&level) || regex.is_match(shown)
        }
        Test::Stages(set) => set.contains(Some(log.stage)),
        Test::Levels(bits) => bits & level_bit(log.level) != 0,
        Test::Projects(ids) => log.project_id.as_ref() == Some(&ids[0]),
        Test::Id(part) => log.event_id.as_ref().is_some_and(|id| has(id, part)),
        Test::Data(_, DataTest::Present) => {
            log.data.get("k1").is_some_and(|value| value.get("k2").is_some())
        }
        Test::Data(key, DataTest::Contains(part)) => log.data.get(key).is_some_and(|value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            has(&text, part)
        }),
        Test::Data(key, DataTest::Is(text)) => log.data.get(key).is_some_and(|value| {
            value.as_str().map_or_else(|| value.to_string(), str::to_owned) == *text
        }),
        Test::Word(_) | Test::Duration(_) | Test::Data(..) => unreachable!(),
    }
}

fn term(strategy: impl Strategy<Value = Test>) -> impl Strategy<Value = Term> {
    (any::<bool>(), strategy).prop_map(|(negated, test)| Term { negated, test })
}

proptest! {
    #[test]
    fn no_string_makes_it_panic_and_what_it_reads_prints_the_same(
        source in prop_oneof![
            any::<String>(),
            "[ !\\-/\"\\\\:,.<>=*a-dst0-9µ]{0,24}",
            "(-?(stage|level|dur|id|project|data[.]a|x):[>=<\"./0-9a-z,*]{0,8} ?){0,3}",
        ],
        filter in any::<bool>(),
    ) {
        let purpose = if filter { Purpose::Filter } else { Purpose::Search };
        match Query::parse(&source, purpose) {
            Ok(None) => {}
            Ok(Some(query)) => {
                let printed = query.ast().to_string();
                let again = Query::parse(&printed, purpose).unwrap().unwrap();
                prop_assert_eq!(again.ast(), query.ast(), "{}", printed);
            }
            Err(error) => {
                prop_assert!(error.length > 0 && !error.message.is_empty());
                prop_assert!(error.at < source.chars().count());
            }
        }
    }

    #[test]
    fn any_query_prints_as_it_is_read(
        inverted in any::<bool>(),
        terms in prop::collection::vec(term(any_test()), 1..4),
    ) {
        let ast = Ast { inverted, terms };
        let read = query(&ast.to_string());
        prop_assert_eq!(read.ast(), &ast);
    }

    #[test]
    fn it_finds_what_a_naive_search_finds(
        inverted in any::<bool>(),
        terms in prop::collection::vec(term(any_test()), 1..4),
        logs in prop::collection::vec(any_log(), 1..12),
    ) {
        let ast = Ast { inverted, terms };
        let query = query(&ast.to_string());
        let ring = ring(&logs);
        for (number, line) in ring.lines(0..u64::MAX) {
            let log = &logs[number as usize];
            let all = ast.terms.iter().all(|term| naive(&term.test, log, line.text()) != term.negated);
            prop_assert_eq!(query.matches(line), all != inverted, "{} in {:?}", ast, line.text());
        }
    }

    /// Searching the joined text gives the same lines as searching each line alone.
    #[test]
    fn many_lines_at_once_are_as_each_alone(
        inverted in prop::bool::weighted(0.1),
        terms in prop::collection::vec(term(any_test()), 1..3),
        logs in prop::collection::vec(any_log(), 1..60),
        range in (0..10_u64, 30..80_u64),
    ) {
        let query = query(&Ast { inverted, terms }.to_string());
        let ring = ring(&logs);
        let range = range.0..range.1;
        let alone = ring.lines(range.clone()).filter(|(_, line)| query.matches(*line));
        let alone: Vec<u64> = alone.map(|(number, _)| number).collect();
        let (mut scanner, mut together) = (Scanner::new(&query), Vec::new());
        for run in ring.runs(range) {
            scanner.enter();
            let mut place = 0;
            while let Some(next) = scanner.skip(&run, place)
                && let Some((start, line)) = run.get(next)
            {
                prop_assert!(next >= place);
                if scanner.matches(run.text(), start, line) {
                    together.push(run.number(next));
                }
                place = next + 1;
            }
        }
        prop_assert_eq!(together, alone, "{}", query.source());
    }
}

#[test]
fn accents_are_found_however_they_are_written() {
    // Composed, partly composed, decomposed.
    let written = ["Ti\u{1ebf}ng", "Ti\u{ea}\u{301}ng", "Tie\u{302}\u{301}ng"];
    for text in written {
        let ring = ring(&[line(text, &json!({ "title": text }))]);
        for typed in written {
            let lower = typed.to_lowercase();
            for source in [typed.to_owned(), lower.clone(), format!("data.title:{lower}")] {
                assert!(query(&source).matches(ring.get(0).unwrap()), "{source} in {text}");
            }
        }
        for other in ["TIẾNG", "tiềng", "Tiêng"] {
            assert!(!query(other).matches(ring.get(0).unwrap()), "{other} in {text}");
        }
    }
    // Without composed forms, marks are found as they are.
    for text in ["ที่นี่", "हिन्दी"] {
        let ring = ring(&[line(text, &json!({}))]);
        assert!(query(text).matches(ring.get(0).unwrap()), "{text}");
    }
}
