//! The parts of the pipeline whose health is reported.

/// A part of the pipeline whose health is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The queue.
    Queue,
    /// The store.
    Store,
    /// The worker.
    Worker,
}

impl Part {
    /// The number of parts.
    pub const COUNT: usize = 3;

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Store => "store",
            Self::Worker => "worker",
        }
    }
}
