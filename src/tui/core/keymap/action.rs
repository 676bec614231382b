//! What keys do.

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Pause the display, or resume it.
    Pause,
    /// Follow the newest line.
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
    /// Type a search.
    Search,
    /// Go to the next match.
    NextMatch,
    /// Go to the previous match.
    PreviousMatch,
    /// Type a filter.
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
    /// Show the line's context, or go back.
    Context,
    /// Mark the line with a letter.
    Mark,
    /// Go to a marked line.
    Jump,
    /// Fold repeats into one line, or show all.
    Fold,
    /// Wrap long lines, or cut them off.
    Wrap,
    /// Scroll long lines to the left.
    ScrollLeft,
    /// Scroll long lines to the right.
    ScrollRight,
    /// Choose a project.
    Projects,
    /// Show the trace of the event.
    Trace,
    /// Show the problems.
    Problems,
    /// Show the session of the line.
    Session,
    /// Show the queue.
    Queue,
    /// Show current visitors.
    Live,
    /// Show the results of verification.
    Verify,
    /// Show figures over time.
    History,
    /// Show the processes of the pipeline.
    Processes,
    /// Query the store.
    Sql,
    /// Type the query.
    EditSql,
    /// Show the columns to the left.
    ColumnsLeft,
    /// Show the columns to the right.
    ColumnsRight,
    /// Show the timeline above the log, or hide it.
    Timeline,
    /// Show the selected time in the log.
    ShowTime,
    /// Show where events come from.
    Who,
    /// Select an earlier time.
    Earlier,
    /// Select a later time.
    Later,
    /// Select a much earlier time.
    MuchEarlier,
    /// Select a much later time.
    MuchLater,
    /// Select the present.
    Present,
    /// Show a shorter span of time.
    ZoomIn,
    /// Show a longer span of time.
    ZoomOut,
    /// Show the figures of an hour, a day or a week earlier in the graphs.
    Compare,
    /// Show a stage's figures over time.
    ShowStage,
    /// Show the whole pipeline's figures over time.
    ShowPipeline,
    /// Show a failed event, or a batch, with all details.
    FailedDetail,
    /// Go to the next list of a view.
    NextList,
    /// Go to the previous list of a view.
    PreviousList,
    /// Show the subject of the live view's selected row.
    OpenRow,
    /// Show the lines of the selected group, or its failed events.
    GroupLines,
    /// Retry the failed events of the selected group.
    RetryGroup,
    /// Delete the failed events of the selected group.
    DeleteGroup,
    /// Write the selected group to a file.
    ExportGroup,
    /// Count over the next longer time.
    NextSpan,
    /// Change the order of the groups.
    SortGroups,
    /// Retry the selected failed event.
    RetryOne,
    /// Retry the marked failed events, or all that match the filter.
    RetryAll,
    /// Delete the selected failed event.
    DeleteOne,
    /// Delete the marked failed events, or all that match the filter.
    DeleteAll,
    /// Write the marked failed events, or all that match the filter, to a file.
    Export,
    /// Edit the failed event, then retry it.
    EditOne,
    /// Edit the marked failed events, or all that match the filter, by a rule.
    EditMany,
    /// Retry what was edited.
    ConfirmEdit,
    /// Mark the selected failed event, or remove its mark.
    MarkFailed,
    /// Stop the change of many failed events.
    StopBulk,
    /// Type a filter for failed events.
    QueueFilter,
    /// Split the pane in two.
    Split,
    /// Close the pane.
    ClosePane,
    /// Go to the next pane.
    NextPane,
    /// Go to the previous pane.
    PreviousPane,
    /// Maximize the pane, or restore it.
    FullPane,
    /// Hide all lines.
    Clear,
    /// Show the hidden lines again.
    Unclear,
    /// Show more or fewer figures.
    Figures,
    /// Show the keys.
    Help,
    /// Go back by one layer.
    Back,
    /// Type a command.
    Palette,
    /// Complete the command.
    NextCandidate,
    /// Choose the previous completion.
    PreviousCandidate,
    /// Show the previous input of the history.
    OlderCommand,
    /// Show the next input of the history.
    NewerCommand,
    /// Acknowledge alerts.
    Acknowledge,
    /// Replay slower.
    Slower,
    /// Replay faster.
    Faster,
    /// Go back in a replay.
    SeekBack,
    /// Go forward in a replay.
    SeekOn,
    /// Accept the input.
    Accept,
    /// Discard the input.
    Cancel,
    /// Quit the console; asks first if that stops a pipeline in use.
    Quit,
    /// Quit the console without a question.
    QuitAtOnce,
    /// Redraw everything.
    Redraw,
    /// Turn the mouse on or off.
    Mouse,
    /// Suspend as on Ctrl-Z.
    Suspend,
}
