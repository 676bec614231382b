//! Compares the merge of two sorted streams with a naive model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::baseline::EventKey;

fn row(kind: Kind, project: u8, second: u8, id: u8, rest: u8) -> Row {
    let cell = |name: &str| match name {
        "id" => json!(format!("evt_{id}")),
        "project_id" => json!(format!("p{project}")),
        "timestamp" => json!(second),
        "created_at" => json!(1),
        "event_definition_id" => json!("d"),
        "url" | "metadata" => json!(rest.to_string()),
        _ => Value::Null,
    };
    let columns = kind.table(Side::Queue).columns.iter();
    Row { cells: columns.map(|column| cell(column.name)).collect() }
}

fn sorted(kind: Kind, mut rows: Vec<Row>) -> VecDeque<Row> {
    rows.sort_by(|one, other| one.order(other, kind));
    rows.into()
}

/// The rows of both sides by key and time, collected row by row.
fn naive(kind: Kind, queue: &[Row], baseline: &[Row]) -> BTreeMap<(EventKey, i64), Pair> {
    let mut pairs: BTreeMap<(EventKey, i64), Pair> = BTreeMap::new();
    for (rows, is_queue) in [(queue, true), (baseline, false)] {
        for row in rows {
            let place = (row.key(kind), row.cell(kind, "timestamp").as_i64().unwrap());
            let pair = pairs.entry(place).or_default();
            if is_queue { &mut pair.queue } else { &mut pair.baseline }.push(row.clone());
        }
    }
    pairs
}

fn rows() -> impl Strategy<Value = Vec<(u8, u8, u8, u8)>> {
    // Few values, so that all kinds of coincidences occur.
    prop::collection::vec((0..2_u8, 0..3_u8, 0..4_u8, 0..2_u8), 0..24)
}

proptest! {
    #[test]
    fn merging_finds_the_same_pairs_as_the_naive_model(queue in rows(), baseline in rows(), both in rows()) {
        for kind in Kind::ALL {
            let made = |own: &[(u8, u8, u8, u8)]| {
                let all = own.iter().chain(&both);
                all.map(|&(p, s, i, r)| row(kind, p, s, i, r)).collect::<Vec<_>>()
            };
            let (queue, baseline) = (made(&queue), made(&baseline));
            let mut expected = naive(kind, &queue, &baseline);
            let (mut queue, mut baseline) = (sorted(kind, queue), sorted(kind, baseline));
            let mut last: Option<Row> = None;
            while let Some(pair) = next_pair(kind, &mut queue, &mut baseline) {
                let first = pair.queue.first().or(pair.baseline.first()).unwrap().clone();
                if let Some(last) = &last {
                    prop_assert!(last.order(&first, kind).is_lt());
                }
                let place = (first.key(kind), first.cell(kind, "timestamp").as_i64().unwrap());
                let model = expected.remove(&place).unwrap();
                prop_assert_eq!(pair.queue.len(), model.queue.len());
                prop_assert_eq!(pair.baseline.len(), model.baseline.len());
                let all_same = |pair: &Pair| {
                    pair.queue.len() == 1 && pair.queue == pair.baseline
                };
                prop_assert_eq!(compare(kind, &pair) == Verdict::Matched, all_same(&pair));
                last = Some(first);
            }
            prop_assert!(expected.is_empty(), "left out: {:?}", expected);
        }
    }
}

#[test]
fn a_difference_is_reported_with_both_values() {
    let kind = Kind::PageViews;
    let pair = |queue: Vec<Row>, baseline: Vec<Row>| Pair { queue, baseline };
    let one = row(kind, 0, 1, 1, 1);
    let Verdict::Mismatched(found) =
        compare(kind, &pair(vec![one.clone()], vec![row(kind, 0, 1, 1, 2)]))
    else {
        panic!("different rows match")
    };
    let difference = FieldDifference { field: "url", queue: json!("1"), baseline: json!("2") };
    assert_eq!((found.summary(), found.fields), ("fields differ", vec![difference]));
    for (queue, baseline, summary) in [
        (0, 1, "missing in the queue path"),
        (1, 0, "missing in the baseline"),
        (2, 1, "stored more than once through the queue"),
        (1, 2, "more than once in the baseline"),
    ] {
        let found = compare(kind, &pair(vec![one.clone(); queue], vec![one.clone(); baseline]));
        let Verdict::Mismatched(found) = found else { panic!("{summary}: matched") };
        assert_eq!(found.summary(), summary);
    }
}

#[test]
fn metadata_is_compared_as_json() {
    let kind = Kind::CustomEvents;
    let with = |metadata: &str| {
        let mut row = row(kind, 0, 1, 1, 1);
        row.cells[2] = json!(metadata);
        vec![row]
    };
    let verdict =
        |one: &str, other: &str| compare(kind, &Pair { queue: with(one), baseline: with(other) });
    assert_eq!(verdict(r#"{"a":1,"b":[2]}"#, r#"{ "b": [2], "a": 1 }"#), Verdict::Matched);
    assert_ne!(verdict(r#"{"a":1}"#, r#"{"a":2}"#), Verdict::Matched);
    assert_ne!(verdict("no JSON", "no  JSON"), Verdict::Matched);
    assert_ne!(verdict("null", "no JSON"), Verdict::Matched);
}
