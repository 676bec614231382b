//! What a replay does, and what can be asked of it.

use crate::pipeline::bus::DebugMessage;
use crate::pipeline::time::UtcMillis;

/// How fast the clock may go; `None` is as fast as the console can.
pub const SPEEDS: [Option<f64>; 8] =
    [Some(0.25), Some(0.5), Some(1.0), Some(2.0), Some(5.0), Some(10.0), Some(60.0), None];
/// As it was.
pub const NORMAL_SPEED: usize = 2;

/// What the person at the console wants of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayCommand {
    /// Hold the clock, or let it go on.
    Toggle,
    /// Faster by a step.
    Faster,
    /// Slower by a step.
    Slower,
    /// So many milliseconds on, or back.
    Seek(i64),
}

/// What a replay does next.
#[derive(Clone, Debug)]
pub enum Replayed {
    /// Forget all: it begins anew.
    Reset,
    /// The clock of the replay.
    Clock(UtcMillis),
    /// What came.
    Feed(Vec<DebugMessage>),
    /// How it is.
    State(ReplayState),
}

/// How a replay is.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayState {
    /// When the recording begins.
    pub start: UtcMillis,
    /// When it ends, as far as is known.
    pub end: UtcMillis,
    /// The clock.
    pub at: UtcMillis,
    /// Its speed, of [`SPEEDS`].
    pub speed: usize,
    /// It is held.
    pub paused: bool,
    /// It is on its way to where it was set.
    pub seeking: bool,
    /// All has been shown.
    pub ended: bool,
    /// Lines of the file that cannot be read, and the first of them.
    pub unreadable: u64,
    /// Which is the first of these, and what is wrong with it.
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
