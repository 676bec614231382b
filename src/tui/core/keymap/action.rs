//! What keys do.

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hold the display, or let it go on.
    Pause,
    /// Show the newest line, and keep to it.
    Follow,
    /// Go to the oldest line.
    Oldest,
    /// Move up by a line.
    Up,
    /// Move down by a line.
    Down,
    /// Move up by a screen.
    PageUp,
    /// Move down by a screen.
    PageDown,
    /// Move up by half a screen.
    HalfUp,
    /// Move down by half a screen.
    HalfDown,
    /// Type what to look for.
    Search,
    /// Go to the next line found.
    NextMatch,
    /// Go to the previous line found.
    PreviousMatch,
    /// Type what to keep.
    Filter,
    /// Show or hide the stage with the number of the key.
    ToggleStage,
    /// Show only the stage with the number of the key.
    OnlyStage,
    /// Show all stages.
    AllStages,
    /// Raise the lowest level shown, from the highest back to the lowest.
    Level,
    /// Go to the next error.
    NextError,
    /// Go to the previous error.
    PreviousError,
    /// Go to the next warning or error.
    NextWarning,
    /// Go to the previous warning or error.
    PreviousWarning,
    /// Show the selected line in full.
    Detail,
    /// Show the next line in full.
    NextLine,
    /// Show the previous line in full.
    PreviousLine,
    /// Copy the event id.
    CopyId,
    /// Copy the line.
    CopyLine,
    /// Go to the next line of the same event.
    NextOfEvent,
    /// Go to the previous line of the same event.
    PreviousOfEvent,
    /// Show the line among all lines, or go back.
    Context,
    /// Mark the line with a letter.
    Mark,
    /// Go to a marked line.
    Jump,
    /// Show repeats as one line, or all again.
    Fold,
    /// Choose a project.
    Projects,
    /// Show the way of the event.
    Trace,
    /// Show the queue.
    Queue,
    /// Show who is there now.
    Live,
    /// Show what verification found.
    Verify,
    /// Show a failed event, or a batch, in full.
    FailedDetail,
    /// Go to the next list of a view.
    NextList,
    /// Go to the previous list of a view.
    PreviousList,
    /// Show what the selected row of the live view is about.
    OpenRow,
    /// Put the selected failed event back.
    RetryOne,
    /// Put all failed events shown back.
    RetryAll,
    /// Delete the selected failed event.
    DeleteOne,
    /// Delete all failed events shown.
    DeleteAll,
    /// Write the failed events shown into a file.
    Export,
    /// Type which failed events to show.
    QueueFilter,
    /// Split the pane in two.
    Split,
    /// Close the pane.
    ClosePane,
    /// Go to the next pane.
    NextPane,
    /// Go to the previous pane.
    PreviousPane,
    /// Give the pane all the room, or take it back.
    FullPane,
    /// Forget all lines.
    Clear,
    /// Show more or fewer figures.
    Figures,
    /// Show the keys.
    Help,
    /// One layer back.
    Back,
    /// Type a command.
    Palette,
    /// Complete the command.
    NextCandidate,
    /// Complete it as before.
    PreviousCandidate,
    /// Show the command typed before.
    OlderCommand,
    /// Show the command typed after.
    NewerCommand,
    /// Take note of alerts.
    Acknowledge,
    /// Replay slower.
    Slower,
    /// Replay faster.
    Faster,
    /// Go back in a replay.
    SeekBack,
    /// Go on in a replay.
    SeekOn,
    /// Keep what was typed.
    Accept,
    /// Forget what was typed.
    Cancel,
    /// End the console.
    Quit,
    /// Draw everything anew.
    Redraw,
    /// Turn the mouse on or off.
    Mouse,
    /// Stop as by Ctrl-Z.
    Suspend,
}
