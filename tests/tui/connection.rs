//! What the console shows about its source: its address, since when the connection is lost, and
//! what time figures cover.

use bklit_console_core::model::ModelOptions;
use bklit_console_core::msg::Msg;
use bklit_console_core::playback::{ReplayState, Replayed};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::{Health, QueueGauges};
use bklit_wire::time::UtcMillis;
use serde_json::json;

use super::feed::{Console, NOON, assert_says, assert_silent, busy, busy_with, log, options, pass};
use super::views::{open_queue, snapshot};

#[test]
fn figures_say_how_long_they_cover() {
    let mut console = Console::new(120, 40);
    pass(&mut console, 11, |_| {});
    assert_says(&console, " 12s: p50 ");
    assert_says(&console, ", last 12 s ─");
    assert_silent(&console, "last minute");
    pass(&mut console, 60, |_| {});
    assert_says(&console, " 1m: p50 ");
    assert_says(&console, ", last minute");
    // What happened in between is not counted.
    console.feed(vec![DebugMessage::Disconnected("refused".into())]);
    console.tick(9);
    console.feed(vec![DebugMessage::Connected]);
    pass(&mut console, 6, |_| {});
    assert_says(&console, " 6s: p50 ");
    console.resize(80, 24);
    assert_says(&console, " 6s: p50 ");
}

#[test]
fn the_servers_of_a_pipeline_follow_its_address() {
    let source = "127.0.0.1:5111 (Redis 127.0.0.1:5110)";
    for (width, whole) in [(80, false), (140, true)] {
        let console = busy_with(ModelOptions { source: source.to_owned(), ..options((width, 24)) });
        let screen = console.screen();
        let header = screen.lines().next().unwrap();
        assert!(header.contains("127.0.0.1:5111") && header.contains("100/s"), "{header}");
        assert_eq!(header.contains(source), whole, "{header}");
    }
}

#[test]
fn the_store_keeps_its_name_after_its_worker_is_gone() {
    let mut console = Console::new(120, 40);
    pass(&mut console, 5, |figures| figures.store = Some("sqlite".to_owned()));
    console.logs(vec![log(1, Stage::Clickhouse, Level::Info, "Batch stored", &json!({}))]);
    assert_silent(&console, "clickhouse");
    // Only the ingestion is left, which has no store.
    pass(&mut console, 20, |figures| figures.process = "2-b".to_owned());
    assert_says(&console, "sqlite");
    assert_silent(&console, "clickhouse");
    console.feed(vec![DebugMessage::Disconnected("refused".into())]);
    console.tick(30);
    assert_says(&console, "sqlite");
    assert_silent(&console, "clickhouse");
}

#[test]
fn an_empty_console_without_a_connection_says_since_when_and_that_it_retries() {
    for (width, height) in [(60, 15), (80, 24), (120, 40)] {
        let options = ModelOptions {
            source: "http://127.0.0.1:4199".to_owned(),
            curl: None,
            ..options((width, height))
        };
        let mut console = Console::with(options);
        assert_says(&console, "Waiting for the first event.");
        console.feed(vec![DebugMessage::Disconnected("Connection refused".into())]);
        console.tick(7);
        assert_says(&console, "No connection to http://127.0.0.1:4199 since 12:00:00.");
        assert_says(&console, "Connection refused; retrying every few seconds.");
        assert_silent(&console, "Waiting for");
        if width > 90 {
            assert_says(&console, "no connection since 12:00:00: Connection refused");
        }
        // The gap is a line of the log.
        console.feed(vec![DebugMessage::Connected]);
        assert_silent(&console, "retrying every");
    }
}

#[test]
fn a_command_without_a_known_token_says_where_to_get_one() {
    let curl = "curl -X POST http://127.0.0.1:3001/track -H 'Authorization: Bearer '$BKLIT_TOKEN";
    let console = Console::with(ModelOptions { curl: Some(curl.to_owned()), ..options((120, 40)) });
    assert_says(&console, "Send one with a token, which bklit-tui token create prints");
    assert_says(&console, "$BKLIT_TOKEN");
    assert_says(&Console::new(120, 40), "Send one from another terminal");
}

#[test]
fn the_header_and_the_flow_agree_about_the_worker() {
    let mut console = busy(120, 40);
    pass(&mut console, 12, |figures| {
        figures.store_health = Health::Failing;
        figures.accept_to_stored = Default::default();
        for stage in &mut figures.stages[2..] {
            *stage = Default::default();
        }
    });
    assert_says(&console, "stalled ");
    let screen = console.screen();
    assert!(screen.lines().next().unwrap().contains("worker ✗"), "{screen}");
    pass(&mut console, 6, |_| {});
    assert!(console.screen().lines().next().unwrap().contains("worker ✓"));
}

#[test]
fn the_depth_of_a_queue_that_cannot_be_read_is_unknown_in_its_view() {
    let mut console = busy(120, 40);
    open_queue(&mut console, Ok(snapshot(3)));
    let answer = bklit_console_core::requests::Answer::Queue(Err("no Redis".to_owned()));
    console.send(Msg::Answer(answer));
    pass(&mut console, 3, |figures| {
        figures.queue_health = Health::Failing;
        figures.queue = Some(QueueGauges { spooled: 340, ..QueueGauges::default() });
    });
    assert_says(&console, "– waiting");
    assert_says(&console, "– failed");
    assert_says(&console, "340 spooled");
    assert_silent(&console, "0 waiting");
}

#[test]
fn the_footer_of_a_replay_has_its_keys() {
    for width in [80, 120] {
        let mut console = busy(width, 24);
        assert_silent(&console, "< > speed");
        let time = |second: i64| UtcMillis::from_epoch_millis((NOON + second) * 1_000);
        let state = ReplayState {
            start: time(-60),
            end: time(60),
            at: time(66),
            speed: 5,
            paused: false,
            seeking: false,
            ended: false,
            unreadable: 0,
            first_unreadable: None,
        };
        console.send(Msg::Replay(vec![Replayed::State(state)]));
        let screen = console.screen();
        let footer = screen.lines().last().unwrap();
        assert!(footer.contains("< > speed") && footer.contains("← → 10 s"), "{footer}");
        assert!(footer.contains("? help"), "{footer}");
    }
}
