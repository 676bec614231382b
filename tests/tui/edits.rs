//! Editing failed events: what is shown, and what is sent.

use bklit_console_core::bulk::{
    BulkReport, End, Known, Operation, Preview, Progress, Sample, Which,
};
use bklit_console_core::model::{Focus, ModelOptions, Screen};
use bklit_console_core::msg::{Effect, Msg, Report};
use bklit_console_core::requests::{Answer, KeptEdit, Request};
use bklit_wire::queue::{Edit, Edited, InvalidEdit};
use crossterm::event::KeyCode;

use super::feed::{Console, assert_says, busy, busy_with, options};
use super::views::{failed, open_queue, planned, snapshot};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];
const RULE: &str = r#"set payload.title = "Repaired""#;

fn queue(width: u16, height: u16) -> Console {
    let mut console = busy(width, height);
    open_queue(&mut console, Ok(snapshot(25)));
    console
}

/// Opens the editor with the selected event, which it saves with `from` replaced.
fn edit(console: &mut Console, from: &str, to: &str) -> Option<Effect> {
    let Some(Effect::Edit(text)) = console.keys("e") else { panic!("no editor") };
    console.send(Msg::Report(Report::Edited(Ok(text.replace(from, to)))))
}

fn check(console: &mut Console, asked: Option<Effect>, error: Option<&str>) -> Edit {
    let Some(Effect::Ask(Request::CheckEdit(edit))) = asked else { panic!("{asked:?}") };
    let invalid = error.map(|error| InvalidEdit { id: edit.id.clone(), error: error.into() });
    let changed = u64::from(invalid.is_none());
    let edited = Edited { changed, invalid: invalid.into_iter().collect() };
    console.send(Msg::Answer(Answer::EditChecked(edit.body.clone(), Ok(edited))));
    edit
}

/// Shows an edited event with many differences.
pub(super) fn open_long(console: &mut Console) {
    let mut large = snapshot(1);
    large.failed[0].body = format!("{{\"big\":{:?}}}", (0..200).collect::<Vec<_>>());
    large.failed[0].event.event_id = Some("evt_1".into());
    open_queue(console, Ok(large));
    let asked = edit(console, "1", "7");
    check(console, asked, None);
}

fn valid(width: u16, height: u16) -> Console {
    let mut console = queue(width, height);
    let asked = edit(&mut console, "\"checkout\"", "\"https://shop.example/checkout\"");
    check(&mut console, asked, None);
    console
}

#[test]
fn an_edited_event_is_compared_checked_and_retried() {
    for (width, height) in SIZES {
        insta::assert_snapshot!(format!("edit_{width}x{height}"), valid(width, height).screen());
    }
    let mut console = valid(80, 24);
    assert_says(&console, "a valid event: Enter puts it into the queue");
    let Some(Effect::Ask(Request::Edit(item, body))) = console.code(KeyCode::Enter) else {
        panic!("nothing was sent")
    };
    assert_eq!(*item, failed(0));
    assert_eq!(body, failed(0).body.replace("checkout", "https://shop.example/checkout"));
    assert_eq!(console.code(KeyCode::Enter), None, "only once");
    let kept = |changed, invalid: &[InvalidEdit]| KeptEdit {
        edited: Edited { changed, invalid: invalid.to_vec() },
        kept: "/data/edited-events.jsonl".into(),
    };
    // The answer was lost: the edit can be repeated.
    let lost = Answer::Edited(Err("no answer within 30 s".into()));
    let asks = console.send(Msg::Answer(lost));
    assert_eq!(asks, Some(Effect::Ask(Request::Queue { failed: 100 })));
    assert_says(&console, "cannot edit: no answer within 30 s");
    let sent = console.code(KeyCode::Enter);
    assert!(matches!(sent, Some(Effect::Ask(Request::Edit(..)))), "{sent:?}");
    let invalid = InvalidEdit { id: "1000".into(), error: "projectId: must stay".into() };
    console.send(Msg::Answer(Answer::Edited(Ok(kept(0, &[invalid])))));
    assert_says(&console, "projectId: must stay");
    assert_eq!(console.code(KeyCode::Enter), None);
    assert_says(&console, "it is not valid; e edits it again");
    let asked = edit(&mut console, "shop.example", "shop2.example");
    check(&mut console, asked, None);
    console.code(KeyCode::Enter);
    console.send(Msg::Answer(Answer::Edited(Ok(kept(1, &[])))));
    assert_says(&console, "edited event put back into the queue; original: /data/");
    assert!(matches!(console.model.screen(), Screen::Queue(_)));
}

#[test]
fn an_error_is_shown_and_can_be_edited() {
    let mut console = queue(80, 24);
    assert_eq!(edit(&mut console, "{", "["), None, "there is nothing to check");
    assert_says(&console, "not JSON");
    let Some(Effect::Edit(text)) = console.keys("e") else { panic!("no editor") };
    assert!(text.starts_with('['), "what was typed is not lost: {text}");
    let text = text.replace('[', "{").replace("pageview", "pagevue");
    let asked = console.send(Msg::Report(Report::Edited(Ok(text))));
    check(&mut console, asked, Some("not an event: type: unknown"));
    assert_says(&console, "not an event: type: unknown");
    assert_says(&console, "-   \"type\": \"pageview\"");
    // An answer about an earlier text does not count.
    let old = Answer::EditChecked("{}".into(), Ok(Edited::default()));
    console.send(Msg::Answer(old));
    assert_says(&console, "not an event: type: unknown");
    console.code(KeyCode::Esc);
    assert_says(&console, "discarded; the failed queue is unchanged");
    assert!(matches!(console.model.screen(), Screen::Queue(_)));
}

#[test]
fn without_a_change_nothing_is_done() {
    let mut console = queue(80, 24);
    assert_eq!(edit(&mut console, "x", "x"), None);
    assert_says(&console, "not changed; the failed queue is unchanged");
    console.keys("e");
    let failure = "the editor ended with exit status: 1; nothing was changed".to_owned();
    assert_eq!(console.send(Msg::Report(Report::Edited(Err(failure)))), None);
    assert_says(&console, "exit status: 1");
    assert!(matches!(console.model.screen(), Screen::Queue(_)));
    // What is not JSON is edited as it is.
    console.keys("jj");
    assert_eq!(console.keys("e"), Some(Effect::Edit(failed(2).body)));
    let mut console = busy_with(ModelOptions { read_only: true, ..options((80, 24)) });
    open_queue(&mut console, Ok(snapshot(25)));
    for key in ["e", "E"] {
        assert_eq!(console.keys(key), None);
        assert_says(&console, "read-only");
        assert!(matches!(console.model.focus(), Focus::Keys));
    }
}

fn previewed(width: u16, height: u16) -> Console {
    let mut console = queue(width, height);
    console.keys(&format!("E{RULE}"));
    let plan = planned(console.code(KeyCode::Enter));
    let Operation::Preview(rule) = &plan.operation else { panic!("{plan:?}") };
    let sample = |nth: usize, problem: Option<&str>| Sample {
        item: failed(nth),
        edited: rule.apply(&failed(nth).body).unwrap(),
        problem: problem.map(Into::into),
    };
    let samples = vec![sample(0, None), sample(1, Some("not an event: payload: missing"))];
    let preview = Preview { chosen: 65, changes: 44, samples };
    let progress = Progress { seen: 65, chosen: 65, done: 44, invalid: 0 };
    let report = BulkReport { progress, end: Some(End::Previewed(preview)) };
    console.send(Msg::Report(Report::Bulk(report)));
    console
}

#[test]
fn a_rule_is_previewed_and_then_applied_after_a_question() {
    for (width, height) in SIZES {
        let screen = previewed(width, height).screen();
        insta::assert_snapshot!(format!("edit_rule_{width}x{height}"), screen);
    }
    let mut console = previewed(120, 40);
    assert_says(&console, "changes 44 events of 65");
    assert_says(&console, "would stay as it is: not an event: payload: missing");
    console.code(KeyCode::Enter);
    assert_says(&console, "Edit and retry 44 events? Type 44:");
    console.keys("44");
    let plan = planned(console.code(KeyCode::Enter));
    assert_eq!(plan.operation, Operation::Edit(RULE.parse().unwrap()));
    assert_eq!((plan.which, plan.total), (Which::With(String::new()), 65));
    assert_eq!(plan.known, Known { count: 44, is_exact: true });
    assert!(matches!(console.model.screen(), Screen::Queue(_)));
    let progress = Progress { seen: 65, chosen: 44, done: 41, invalid: 2 };
    let end = Some(End::Done(Some("/data/edited-events.jsonl".into())));
    console.send(Msg::Report(Report::Bulk(BulkReport { progress, end })));
    assert_says(&console, "41 events edited and put back into the queue; 2 not valid and left");
    assert_says(&console, "; 1 no longer in the failed queue; the");
}

#[test]
fn a_rule_can_be_changed_and_its_errors_are_explained() {
    let mut console = previewed(120, 40);
    assert_eq!(console.keys("e"), None);
    let Focus::Prompt(prompt) = console.model.focus() else { panic!("no prompt") };
    assert_eq!(prompt.input.value(), RULE);
    console.ctrl('u');
    console.keys("set payload.title = Home");
    assert_eq!(console.code(KeyCode::Enter), None);
    assert_says(&console, "Home is not JSON; a text needs quotes, as in \"Home\"");
    console.ctrl('u');
    console.keys("remove payload.none");
    let plan = planned(console.code(KeyCode::Enter));
    let progress = Progress { seen: 65, chosen: 65, ..Progress::default() };
    let preview = Preview { chosen: 65, ..Preview::default() };
    let report = BulkReport { progress, end: Some(End::Previewed(preview)) };
    console.send(Msg::Report(Report::Bulk(report)));
    assert_says(&console, "the rule changes none of 65 events");
    assert!(matches!(plan.operation, Operation::Preview(_)));
}
