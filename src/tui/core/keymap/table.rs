//! All bindings.

use crossterm::event::KeyCode;

use super::key::{ch, code, ctrl};
use super::{Action, Binding, Context, Contexts, Group, Key};

/// The log, also while keys go to the timeline above it.
const LOG: Contexts = Contexts::of(&[Context::Log, Context::Timeline]);
/// Keys of the log that the timeline uses.
const ROWS: Contexts = Contexts::of(&[Context::Log]);
const TIMELINE: Contexts = Contexts::of(&[Context::Timeline]);
const DETAIL: Contexts = Contexts::of(&[Context::Detail]);
const HELP: Contexts = Contexts::of(&[Context::Help]);
const FIELD: Contexts = Contexts::of(&[Context::Field]);
const LETTER: Contexts = Contexts::of(&[Context::Letter]);
const PALETTE: Contexts = Contexts::of(&[Context::Palette]);
const LIST: Contexts = Contexts::of(&[Context::Projects]);
const QUEUE: Contexts = Contexts::of(&[Context::Queue]);
const FAILED: Contexts = QUEUE.with(Context::Failed);
const EDIT: Contexts = Contexts::of(&[Context::Edit]);
const EDITABLE: Contexts = FAILED.with(Context::Edit);
const GROUPS: Contexts = QUEUE.with(Context::Problems);
const BATCH: Contexts = Contexts::of(&[Context::Batch]);
const LIVE: Contexts = Contexts::of(&[Context::Live]);
const PROBLEMS: Contexts = Contexts::of(&[Context::Problems]);
const HISTORY: Contexts = Contexts::of(&[Context::History]);
const WHO: Contexts = Contexts::of(&[Context::Who]);
/// Views with several lists.
const LISTS: Contexts = QUEUE.with(Context::Live);
/// The log and the views that replace it.
const BOARDS: Contexts = Contexts::of(&[
    Context::Log,
    Context::Timeline,
    Context::Problems,
    Context::Queue,
    Context::Live,
    Context::Verify,
    Context::History,
    Context::Processes,
    Context::Sql,
    Context::Who,
]);
/// Contexts in which letters are keys.
const KEYS: Contexts = BOARDS
    .with(Context::Detail)
    .with(Context::Trace)
    .with(Context::Session)
    .with(Context::Failed)
    .with(Context::Edit)
    .with(Context::Batch)
    .with(Context::SqlRow)
    .with(Context::Help);
const VIEWS: Contexts = KEYS.without(Context::Log).without(Context::Timeline);
const HAS_HELP: Contexts = KEYS.without(Context::Help);
const SCROLL: Contexts = KEYS;
const ENDS: Contexts = VIEWS.without(Context::History);
/// Where a screen is a page of rows.
const PAGES: Contexts = SCROLL.without(Context::History);
const LINES: Contexts = SCROLL.without(Context::Help);
const OPENS_DETAIL: Contexts =
    ROWS.with(Context::Trace).with(Context::Session).with(Context::Verify);
const OPENS_SESSION: Contexts = Contexts::of(&[
    Context::Log,
    Context::Timeline,
    Context::Detail,
    Context::Trace,
    Context::Problems,
    Context::Verify,
    Context::Failed,
]);
const TO_PROBLEMS: Contexts = BOARDS.without(Context::Problems);
const OPENS_TRACE: Contexts = LINES
    .without(Context::Trace)
    .without(Context::History)
    .without(Context::Processes)
    .without(Context::Who);
const TO_QUEUE: Contexts = BOARDS.without(Context::Queue);
const TO_LIVE: Contexts = BOARDS.without(Context::Live);
const TO_VERIFY: Contexts = BOARDS.without(Context::Verify);
const TO_HISTORY: Contexts = BOARDS.without(Context::History);
const PROCESSES: Contexts = Contexts::of(&[Context::Processes]);
const TO_PROCESSES: Contexts = BOARDS.without(Context::Processes);
const TO_SQL: Contexts = BOARDS.without(Context::Sql);
const SQL: Contexts = Contexts::of(&[Context::Sql]);
const SQL_ROW: Contexts = Contexts::of(&[Context::SqlRow]);
const SQL_INPUT: Contexts = Contexts::of(&[Context::SqlInput]);
const TO_WHO: Contexts = BOARDS.without(Context::Who);

const fn bind(
    keys: &'static [Key],
    contexts: Contexts,
    action: Action,
    hint: Option<&'static str>,
    group: Group,
    help: &'static str,
) -> Binding {
    Binding { keys, contexts, action, help, hint, group }
}

/// All bindings, the most important first: the footer shows as many as fit.
#[rustfmt::skip]
pub const BINDINGS: &[Binding] = &[
    bind(&[code(KeyCode::Enter)], FIELD, Action::Accept, Some("apply"), Group::InField, "Apply the text"),
    bind(&[code(KeyCode::Esc)], FIELD, Action::Cancel, Some("cancel"), Group::InField, "Cancel, and restore the previous text"),
    bind(&[code(KeyCode::Up)], FIELD, Action::OlderCommand, None, Group::InField, "Search and filter: previous query"),
    bind(&[code(KeyCode::Down)], FIELD, Action::NewerCommand, None, Group::InField, "Search and filter: next query"),
    bind(&[code(KeyCode::Enter)], PALETTE, Action::Accept, Some("run"), Group::InCommand, "Run the command"),
    bind(&[code(KeyCode::Esc)], PALETTE, Action::Cancel, Some("cancel"), Group::InCommand, "Cancel"),
    bind(&[code(KeyCode::Tab)], PALETTE, Action::NextCandidate, Some("complete"), Group::InCommand, "Complete; again for the next completion"),
    bind(&[code(KeyCode::BackTab)], PALETTE, Action::PreviousCandidate, None, Group::InCommand, "Previous completion"),
    bind(&[code(KeyCode::Up)], PALETTE, Action::OlderCommand, None, Group::InCommand, "Previous command"),
    bind(&[code(KeyCode::Down)], PALETTE, Action::NewerCommand, None, Group::InCommand, "Next command"),
    bind(&[code(KeyCode::Enter)], SQL_INPUT, Action::Accept, Some("run"), Group::InSql, "Run the query"),
    bind(&[code(KeyCode::Esc)], SQL_INPUT, Action::Cancel, Some("leave"), Group::InSql, "Leave the query for the rows below"),
    bind(&[code(KeyCode::Tab)], SQL_INPUT, Action::NextCandidate, Some("complete"), Group::InSql, "Complete a table, column, keyword or saved query; again for the next one"),
    bind(&[code(KeyCode::BackTab)], SQL_INPUT, Action::PreviousCandidate, None, Group::InSql, "Previous completion"),
    bind(&[code(KeyCode::Up)], SQL_INPUT, Action::OlderCommand, Some("history"), Group::InSql, "Previous query"),
    bind(&[code(KeyCode::Down)], SQL_INPUT, Action::NewerCommand, None, Group::InSql, "Next query; after the last one, the rows below"),
    bind(&[code(KeyCode::Enter)], SQL, Action::OpenRow, Some("row"), Group::InSql, "Show the row in full, or run the saved query"),
    bind(&[code(KeyCode::Tab)], SQL, Action::EditSql, Some("edit"), Group::InSql, "Edit the query"),
    bind(&[code(KeyCode::Right)], SQL, Action::ColumnsRight, Some("columns"), Group::InSql, "The next columns"),
    bind(&[code(KeyCode::Left)], SQL, Action::ColumnsLeft, None, Group::InSql, "The previous columns"),
    bind(&[ch('X')], SQL, Action::Export, Some("export"), Group::InSql, "Export the result to a file, as CSV or JSON Lines"),
    bind(&[code(KeyCode::Right)], SQL_ROW, Action::NextLine, Some("next row"), Group::InSql, "Row: the next row"),
    bind(&[code(KeyCode::Left)], SQL_ROW, Action::PreviousLine, Some("previous row"), Group::InSql, "Row: the previous row"),
    bind(&[code(KeyCode::Enter)], LIST, Action::Accept, Some("show only it"), Group::InList, "Show only the selected one"),
    bind(&[code(KeyCode::Esc)], LIST, Action::Back, Some("back"), Group::InList, "Close the list"),
    bind(&[code(KeyCode::Up)], LIST, Action::Up, None, Group::InList, "Up; letters narrow the list"),
    bind(&[code(KeyCode::Down)], LIST, Action::Down, None, Group::InList, "Down"),
    bind(&[code(KeyCode::Esc)], LETTER, Action::Cancel, None, Group::InField, "Cancel a mark or a jump"),
    bind(&[code(KeyCode::Left)], TIMELINE, Action::Earlier, Some("earlier"), Group::InTimeline, "Select the previous bar"),
    bind(&[code(KeyCode::Right)], TIMELINE, Action::Later, Some("later"), Group::InTimeline, "Select the next bar"),
    bind(&[code(KeyCode::Enter)], TIMELINE, Action::ShowTime, Some("go there"), Group::InTimeline, "Go to the first line of the selected bar; the log stops following"),
    bind(&[ch('+'), ch('=')], TIMELINE, Action::ZoomIn, Some("shorter"), Group::InTimeline, "A shorter span, down to a minute"),
    bind(&[ch('-')], TIMELINE, Action::ZoomOut, Some("longer"), Group::InTimeline, "A longer span, up to all that the log holds"),
    bind(&[code(KeyCode::Esc), ch('q')], TIMELINE, Action::Back, Some("log"), Group::InTimeline, "Return to the log; the timeline stays"),
    bind(&[ch('['), ch('<')], TIMELINE, Action::MuchEarlier, None, Group::InTimeline, "Select a bar much earlier"),
    bind(&[ch(']'), ch('>')], TIMELINE, Action::MuchLater, None, Group::InTimeline, "Select a bar much later"),
    bind(&[code(KeyCode::Esc), ch('q')], VIEWS, Action::Back, Some("back"), Group::InView, "Close the view"),
    bind(&[ch('?'), code(KeyCode::F(1))], HAS_HELP, Action::Help, Some("help"), Group::Console, "This help"),
    bind(&[ch('?'), code(KeyCode::F(1))], HELP, Action::Back, None, Group::InView, "Close this help"),
    bind(&[ch('/')], HELP, Action::Search, Some("search"), Group::InView, "Help: show only entries that contain a text"),
    bind(&[code(KeyCode::Enter)], QUEUE, Action::FailedDetail, Some("inspect"), Group::InQueue, "Show the failed event in full, with the reason; or the batch, with its events"),
    bind(&[code(KeyCode::Enter)], BATCH, Action::Trace, Some("trace"), Group::InQueue, "Batch: trace the selected event"),
    bind(&[code(KeyCode::Enter)], LIVE, Action::OpenRow, Some("open"), Group::InView, "Live: show only the project's or page's lines in the log, or trace the event"),
    bind(&[code(KeyCode::Enter)], PROBLEMS, Action::GroupLines, Some("lines"), Group::InProblems, "Show the lines of the group in the log, or its last failed event"),
    bind(&[code(KeyCode::Tab)], PROBLEMS, Action::NextSpan, Some("span"), Group::InProblems, "Count over the last 10 minutes, the last hour, or all"),
    bind(&[ch('s')], PROBLEMS, Action::SortGroups, Some("sort"), Group::InProblems, "Sort by level and count, or by when it was last seen"),
    bind(&[ch('r')], PROBLEMS, Action::RetryGroup, Some("retry"), Group::InProblems, "Retry the failed events of the group, after confirmation"),
    bind(&[ch('D')], PROBLEMS, Action::DeleteGroup, None, Group::InProblems, "Delete the failed events of the group, after confirmation"),
    bind(&[ch('X')], PROBLEMS, Action::ExportGroup, Some("export"), Group::InProblems, "Export the failed events of the group to a file, or its lines if it has none"),
    bind(&[code(KeyCode::Left)], HISTORY, Action::Earlier, Some("earlier"), Group::InHistory, "Select an earlier time; the log follows"),
    bind(&[code(KeyCode::Right)], HISTORY, Action::Later, Some("later"), Group::InHistory, "Select a later time, up to the present"),
    bind(&[ch('+'), ch('=')], HISTORY, Action::ZoomIn, Some("shorter"), Group::InHistory, "A shorter span around that time: week, day, hour, minute"),
    bind(&[ch('-')], HISTORY, Action::ZoomOut, Some("longer"), Group::InHistory, "A longer span around that time"),
    bind(&[ch('1'), ch('2'), ch('3'), ch('4'), ch('5'), ch('6')], HISTORY, Action::ShowStage, Some("stage"), Group::InHistory, "Show a stage"),
    bind(&[ch('0')], HISTORY, Action::ShowPipeline, Some("pipeline"), Group::InHistory, "Show the whole pipeline, from acceptance to storage"),
    bind(&[code(KeyCode::Enter)], HISTORY, Action::ShowTime, Some("log"), Group::InHistory, "Show the selected time in the log; at the present, open the selected row"),
    bind(&[ch('t')], HISTORY, Action::OpenRow, Some("open"), Group::InHistory, "Trace the selected event, or show only the project's lines in the log"),
    bind(&[code(KeyCode::Tab)], HISTORY, Action::NextList, Some("next list"), Group::InHistory, "The slowest steps, failures, or projects"),
    bind(&[code(KeyCode::BackTab)], HISTORY, Action::PreviousList, None, Group::InHistory, "The previous list"),
    bind(&[ch('c')], HISTORY, Action::Compare, Some("compare"), Group::InHistory, "Mark the figures of an hour, a day or a week earlier in the graphs"),
    bind(&[ch('['), ch('<'), code(KeyCode::PageUp)], HISTORY, Action::MuchEarlier, None, Group::InHistory, "Select a much earlier time"),
    bind(&[ch(']'), ch('>'), code(KeyCode::PageDown)], HISTORY, Action::MuchLater, None, Group::InHistory, "Select a much later time"),
    bind(&[ch('f'), ch('G'), code(KeyCode::End)], HISTORY, Action::Present, None, Group::InHistory, "Back to the present"),
    bind(&[code(KeyCode::Enter)], WHO, Action::OpenRow, Some("lines"), Group::InWho, "Show only the lines of the selected project, token, address, … in the log"),
    bind(&[code(KeyCode::Tab), code(KeyCode::Right)], WHO, Action::NextList, Some("by"), Group::InWho, "Count by project, token, address, page, type, referrer or country"),
    bind(&[code(KeyCode::BackTab), code(KeyCode::Left)], WHO, Action::PreviousList, None, Group::InWho, "The previous one"),
    bind(&[ch('s')], WHO, Action::SortGroups, Some("sort"), Group::InWho, "Sort by rate, change from an hour ago, refused or failed events"),
    bind(&[ch('-')], WHO, Action::ZoomOut, Some("longer"), Group::InWho, "Count over a longer time: 1 minute, 10 minutes, 1 hour"),
    bind(&[ch('+'), ch('=')], WHO, Action::ZoomIn, Some("shorter"), Group::InWho, "Count over a shorter time"),
    bind(&[ch('X')], WHO, Action::ExportGroup, Some("export"), Group::InWho, "Export the lines of the selected value to a file"),
    bind(&[code(KeyCode::Enter)], PROCESSES, Action::OpenRow, Some("its lines"), Group::InView, "Processes: show only this process's lines in the log"),
    bind(&[code(KeyCode::Tab)], LISTS, Action::NextList, Some("next list"), Group::InView, "Queue and live: next list, also by moving past the end"),
    bind(&[code(KeyCode::BackTab)], LISTS, Action::PreviousList, None, Group::InView, "Queue and live: previous list"),
    bind(&[ch('r')], FAILED, Action::RetryOne, Some("retry"), Group::InQueue, "Retry the failed event"),
    bind(&[ch('R')], QUEUE, Action::RetryAll, Some("retry all"), Group::InQueue, "Retry the marked failed events, or all that match the filter, after confirmation"),
    bind(&[code(KeyCode::Enter)], EDIT, Action::ConfirmEdit, Some("retry"), Group::InQueue, "Edited events: retry them in place of the originals"),
    bind(&[ch('e')], EDITABLE, Action::EditOne, Some("edit"), Group::InQueue, "Edit the failed event in $EDITOR, then retry it; shows first what has changed"),
    bind(&[ch('E')], GROUPS, Action::EditMany, None, Group::InQueue, "Edit the marked failed events, all that match the filter, or the group, by a rule"),
    bind(&[ch('d')], FAILED, Action::DeleteOne, Some("delete"), Group::InQueue, "Delete the failed event, after confirmation"),
    bind(&[ch('D')], QUEUE, Action::DeleteAll, Some("delete all"), Group::InQueue, "Delete the marked failed events, or all that match the filter, after confirmation"),
    bind(&[ch('X')], QUEUE, Action::Export, Some("export"), Group::InQueue, "Export the marked failed events, or all that match the filter, as JSON Lines"),
    bind(&[ch(' ')], QUEUE, Action::MarkFailed, Some("mark"), Group::InQueue, "Mark the failed event, or remove its mark, and go to the next one"),
    bind(&[ch('/'), ch('&')], QUEUE, Action::QueueFilter, Some("filter"), Group::InQueue, "Filter failed events by text"),
    bind(&[ch(' ')], LOG, Action::Pause, Some("pause"), Group::Move, "Pause or resume the display; new lines are kept"),
    bind(&[ch('f'), ch('G'), code(KeyCode::End)], LOG, Action::Follow, Some("follow"), Group::Move, "Follow: stay with the newest line"),
    bind(&[ch('/')], LOG, Action::Search, Some("search"), Group::Find, "Search: words, \"phrases\", a.*b or /regex/, level:>=warn, id:3f2a, dur:>50, data.url:/a, -not"),
    bind(&[ch('&')], LOG, Action::Filter, Some("filter"), Group::Find, "Filter: show only matching lines; the syntax is that of a search, and ! inverts"),
    bind(&[ch('P')], TO_PROBLEMS, Action::Problems, Some("problems"), Group::Views, "Problems: similar warnings, errors and failed events, in groups"),
    bind(&[ch(':')], LINES, Action::Palette, Some("command"), Group::Console, "Run a command, with completion"),
    bind(&[ch('n')], LOG, Action::NextMatch, Some("next"), Group::Find, "Go to the next match"),
    bind(&[ch('N')], LOG, Action::PreviousMatch, Some("previous"), Group::Find, "Go to the previous match"),
    bind(&[code(KeyCode::Enter)], OPENS_DETAIL, Action::Detail, Some("detail"), Group::Line, "Show the line in full; of folded repeats, all lines"),
    bind(&[ch('t')], OPENS_TRACE, Action::Trace, Some("trace"), Group::Line, "Trace: all lines of its event through the stages, with times and waits"),
    bind(&[ch('1'), ch('2'), ch('3'), ch('4'), ch('5'), ch('6')], LOG, Action::ToggleStage, Some("stages"), Group::Show, "Hide or show a stage"),
    bind(&[ch('b')], OPENS_SESSION, Action::Session, Some("session"), Group::Line, "Session: all events of the visitor's session, including refused ones"),
    bind(&[ch('d')], TO_QUEUE, Action::Queue, Some("queue"), Group::Views, "Queue: depth, batches in flight, failed events to inspect, retry, export or delete"),
    bind(&[ch('v')], TO_LIVE, Action::Live, Some("live"), Group::Views, "Live: visitors now, page views and events by project, top pages, last events"),
    bind(&[ch('H')], TO_HISTORY, Action::History, Some("history"), Group::Views, "History: latencies, rates and failures over time, compared with earlier"),
    bind(&[ch('T')], TO_WHO, Action::Who, Some("who"), Group::Views, "Who: events by project, token, address, page, type, referrer or country"),
    bind(&[ch('M')], TO_PROCESSES, Action::Processes, Some("processes"), Group::Views, "Processes that share a Redis: hosts, roles, rates, errors, last sign of life"),
    bind(&[ch('B')], TO_SQL, Action::Sql, None, Group::Views, "SQL: query the store"),
    bind(&[ch('V')], TO_VERIFY, Action::Verify, Some("verify"), Group::Views, "Verify: match rate and mismatches of dual write"),
    bind(&[ch('l')], LOG, Action::Level, Some("level"), Group::Show, "All levels, warnings and errors, or only errors"),
    bind(&[ch('e')], LOG, Action::NextError, None, Group::Show, "Go to the next error"),
    bind(&[ch('E')], LOG, Action::PreviousError, Some("last error"), Group::Show, "Go to the previous error"),
    bind(&[ch('w')], LOG, Action::NextWarning, None, Group::Show, "Go to the next warning or error"),
    bind(&[ch('W')], LOG, Action::PreviousWarning, None, Group::Show, "Go to the previous warning or error"),
    bind(&[ch('o')], LOG, Action::NextOfEvent, None, Group::Line, "Go to the next line of the same event"),
    bind(&[ch('O')], LOG, Action::PreviousOfEvent, None, Group::Line, "Go to the previous line of the same event"),
    bind(&[ch('c')], LOG, Action::Context, None, Group::Line, "Context: show the line among all lines, without the filter; again to go back"),
    bind(&[ch('p')], LOG, Action::Projects, None, Group::Show, "Choose a project; the pane shows only its lines"),
    bind(&[ch('z')], LOG, Action::Fold, None, Group::Show, "Fold similar lines into one with ×N, or show all lines again"),
    bind(&[ch('L')], LOG, Action::Wrap, None, Group::Move, "Long lines: wrap them, or cut them off"),
    bind(&[ch('.')], LOG, Action::ScrollRight, None, Group::Move, "Scroll cut lines to the right; also →, except in a replay"),
    bind(&[ch(',')], LOG, Action::ScrollLeft, None, Group::Move, "Scroll cut lines to the left; also ←, except in a replay"),
    bind(&[ch('m')], LOG, Action::Mark, None, Group::Move, "Mark the line with a letter"),
    bind(&[ch('\'')], LOG, Action::Jump, None, Group::Move, "Go to a marked line by its letter"),
    bind(&[code(KeyCode::Right)], DETAIL, Action::NextLine, Some("next line"), Group::InView, "Detail: the next line"),
    bind(&[code(KeyCode::Left)], DETAIL, Action::PreviousLine, Some("previous line"), Group::InView, "Detail: the previous line"),
    bind(&[ch('y')], LINES, Action::CopyId, Some("copy id"), Group::Line, "Copy the event id, or the curl command while there are no lines"),
    bind(&[ch('Y')], LINES, Action::CopyLine, Some("copy line"), Group::Line, "Copy the line as JSON"),
    bind(&[ch('!'), ch('@'), ch('#'), ch('$'), ch('%'), ch('^')], LOG, Action::OnlyStage, None, Group::Show, "Show only one stage"),
    bind(&[ch('0')], LOG, Action::AllStages, None, Group::Show, "Show all stages"),
    bind(&[code(KeyCode::Up), ch('k')], SCROLL, Action::Up, None, Group::Move, "Up by a line, which stops following"),
    bind(&[code(KeyCode::Down), ch('j')], SCROLL, Action::Down, None, Group::Move, "Down by a line"),
    bind(&[code(KeyCode::PageUp)], PAGES, Action::PageUp, None, Group::Move, "Up by a screen"),
    bind(&[code(KeyCode::PageDown)], PAGES, Action::PageDown, Some("scroll"), Group::Move, "Down by a screen"),
    bind(&[ctrl('u')], SCROLL, Action::HalfUp, None, Group::Move, "Up by half a screen"),
    bind(&[ctrl('d')], SCROLL, Action::HalfDown, None, Group::Move, "Down by half a screen"),
    bind(&[ch('g'), code(KeyCode::Home)], SCROLL, Action::Oldest, None, Group::Move, "Go to the oldest line"),
    bind(&[ch('+'), ch('=')], ROWS, Action::ZoomIn, None, Group::Console, "A shorter span of the bars next to the figures: week, day, hour, minute"),
    bind(&[ch('-')], ROWS, Action::ZoomOut, None, Group::Console, "A longer span of these bars"),
    bind(&[ch('G'), code(KeyCode::End)], ENDS, Action::Follow, None, Group::InView, "Go to the end"),
    bind(&[ch('I')], LOG, Action::Timeline, None, Group::Console, "Timeline above the log: show it and move in it; again to hide it"),
    bind(&[ch('i')], LOG, Action::Figures, None, Group::Console, "Figures: one row per stage, or only the flow"),
    bind(&[code(KeyCode::F(2))], KEYS, Action::Mouse, None, Group::Console, "Mouse on or off: the wheel scrolls, a click selects, a second click opens"),
    bind(&[ch('C')], LOG, Action::Clear, None, Group::Console, "Clear: hide all lines, including new ones while paused"),
    bind(&[ch('u')], LOG, Action::Unclear, None, Group::Console, "Undo clear: show the hidden lines again"),
    bind(&[code(KeyCode::Esc)], ROWS, Action::Back, None, Group::Console, "One layer back: jump, group, context, alerts, search, the filter's conditions one by one"),
    bind(&[ch('q')], ROWS, Action::Quit, Some("quit"), Group::Console, "Quit; asks first if that stops a pipeline in use"),
    bind(&[ctrl('c')], Contexts::ALL, Action::QuitAtOnce, None, Group::Console, "Quit at once"),
    bind(&[ctrl('l')], Contexts::ALL, Action::Redraw, None, Group::Console, "Redraw the screen"),
    bind(&[ctrl('z')], Contexts::ALL, Action::Suspend, None, Group::Console, "Suspend; fg resumes"),
    bind(&[ch('K')], KEYS, Action::StopBulk, None, Group::Console, "Stop retrying, deleting or exporting failed events; hide the result"),
    bind(&[ch('a')], HAS_HELP, Action::Acknowledge, None, Group::Console, "Acknowledge the alerts shown"),
    bind(&[ch('<'), ch('[')], ROWS, Action::Slower, None, Group::Replay, "Slower"),
    bind(&[ch('>'), ch(']')], ROWS, Action::Faster, None, Group::Replay, "Faster; beyond ×60 without a limit"),
    bind(&[code(KeyCode::Left)], ROWS, Action::SeekBack, None, Group::Replay, "10 seconds back"),
    bind(&[code(KeyCode::Right)], ROWS, Action::SeekOn, None, Group::Replay, "10 seconds forward"),
    bind(&[ch('s')], LOG, Action::Split, Some("split"), Group::Panes, "Split: add a pane with its own filter, search and position; at most 4"),
    bind(&[ch('S')], LOG, Action::ClosePane, None, Group::Panes, "Close this pane"),
    bind(&[code(KeyCode::Tab)], LOG, Action::NextPane, None, Group::Panes, "Go to the next pane"),
    bind(&[code(KeyCode::BackTab)], LOG, Action::PreviousPane, None, Group::Panes, "Go to the previous pane"),
    bind(&[ch('x')], LOG, Action::FullPane, None, Group::Panes, "Maximize or restore the pane"),
];
