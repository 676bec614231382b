//! The state of a replay, and the commands that control it.

use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::time::UtcMillis;

/// The speeds of the clock; `None` is as fast as the console can show.
pub const SPEEDS: [Option<f64>; 8] =
    [Some(0.25), Some(0.5), Some(1.0), Some(2.0), Some(5.0), Some(10.0), Some(60.0), None];
/// The speed of the recording.
pub const NORMAL_SPEED: usize = 2;

/// A command to a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayCommand {
    /// Pause or resume the clock.
    Toggle,
    /// One step faster.
    Faster,
    /// One step slower.
    Slower,
    /// Seek by milliseconds, forward or back.
    Seek(i64),
}

/// What a replay delivers.
#[derive(Clone, Debug)]
pub enum Replayed {
    /// Drop everything: it starts over.
    Reset,
    /// The replay's clock.
    Clock(UtcMillis),
    /// Messages of the recording.
    Feed(Vec<DebugMessage>),
    /// Its state.
    State(ReplayState),
}

/// The state of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayState {
    /// The start of the recording.
    pub start: UtcMillis,
    /// Its end, as far as it has been read.
    pub end: UtcMillis,
    /// The clock.
    pub at: UtcMillis,
    /// Its speed, of [`SPEEDS`].
    pub speed: usize,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it is seeking.
    pub seeking: bool,
    /// Whether the end was reached.
    pub ended: bool,
    /// How many lines of the file cannot be read.
    pub unreadable: u64,
    /// The number of the first of these, and what is wrong with it.
    pub first_unreadable: Option<(u64, String)>,
}

impl ReplayState {
    /// The speed as it is shown.
    pub fn speed_name(&self) -> String {
        match SPEEDS.get(self.speed).copied().flatten() {
            Some(speed) => format!("×{speed}"),
            None => "max".to_owned(),
        }
    }
}
