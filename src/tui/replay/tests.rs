use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::{Player, recording};
use bklit_console_core::playback::{ReplayCommand, ReplayState, Replayed, SPEEDS};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::time::UtcMillis;

/// 20 lines per second, far more than one position of the index.
const LINES: usize = 40_000;
const KEPT: usize = 500;
const FASTEST: usize = SPEEDS.len() - 1;

/// What a console has received since the replay started or was set back.
#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    lost: u64,
    cut: Option<Arc<str>>,
    state: Option<ReplayState>,
}

impl Heard {
    fn take(&mut self, replayed: Replayed) {
        match replayed {
            Replayed::Reset => *self = Self::default(),
            Replayed::Clock(_) => {}
            Replayed::Feed(messages) => messages.into_iter().for_each(|message| match message {
                DebugMessage::Log(log) => self.lines.push(log.message.to_string()),
                DebugMessage::Lost(lost) => self.lost += lost,
                DebugMessage::Disconnected(why) => self.cut = Some(why),
                DebugMessage::Connected => self.cut = None,
                other => panic!("{other:?}"),
            }),
            Replayed::State(state) => self.state = Some(state),
        }
    }

    async fn until(&mut self, player: &mut Player, condition: impl Fn(&Self) -> bool) {
        let deadline = std::time::Duration::from_secs(60);
        let hear = async {
            while !condition(self) {
                player.next().await.into_iter().for_each(|replayed| self.take(replayed));
            }
        };
        tokio::time::timeout(deadline, hear).await.expect("the replay does not get there");
    }

    fn state(&self) -> &ReplayState {
        self.state.as_ref().unwrap()
    }
}

fn record(path: &Path) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let start = 1_769_860_800_000;
    let mut say = |at: usize, message: DebugMessage| {
        let at = UtcMillis::from_epoch_millis(start + at as i64 * 50);
        file.write_all(recording::message(at, &message).as_bytes()).unwrap();
    };
    for nth in 0..LINES {
        match nth {
            100 => say(nth, DebugMessage::Lost(7)),
            20_000 => say(nth, DebugMessage::Disconnected("connection refused".into())),
            39_000 => say(nth, DebugMessage::Connected),
            _ => {}
        }
        let log = DebugLog::new(Stage::Queue, Level::Info, format!("line {nth}"));
        say(nth, DebugMessage::Log(Arc::new(log)));
    }
    file.write_all(b"no line\n").unwrap();
}

#[tokio::test]
async fn seeking_back_shows_the_same_without_rereading_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.jsonl");
    record(&path);
    let mut player = Player::start(&path, FASTEST, KEPT).unwrap();
    let mut heard = Heard::default();
    heard.until(&mut player, |heard| heard.state.as_ref().is_some_and(|s| s.ended)).await;
    assert_eq!((heard.lines.len(), heard.lost, heard.state().unreadable), (LINES, 7, 1));
    assert_eq!(heard.cut, None);
    let all = std::mem::take(&mut heard.lines);

    // Paused, so that nothing moves on its own.
    player.command(ReplayCommand::Toggle);
    player.command(ReplayCommand::Seek(-300_000));
    let has_arrived = |heard: &Heard| heard.lines.last() == Some(&all[LINES - 1 - 300 * 20]);
    heard.until(&mut player, has_arrived).await;
    let read = heard.lines.len();
    assert!(heard.lines.ends_with(&all[LINES - 300 * 20 - KEPT..LINES - 300 * 20]));
    assert!((KEPT..LINES / 2).contains(&read), "{read} lines were read again");
    assert_eq!((heard.lost, heard.cut.as_deref()), (7, Some("connection refused")));

    // Forward over the same lines, and back to where nothing is missing.
    player.command(ReplayCommand::Seek(300_000));
    heard.until(&mut player, |heard| heard.state().ended).await;
    assert!(heard.lines.ends_with(&all[LINES - read..]) && heard.cut.is_none());
    assert_eq!(heard.state().unreadable, 1);
    player.command(ReplayCommand::Seek(i64::MIN / 2));
    heard.until(&mut player, |heard| heard.lines.last() == Some(&all[0])).await;
    assert_eq!((heard.lines.len(), heard.lost, heard.state().unreadable), (1, 0, 0));
}
