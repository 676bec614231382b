//! The one table of keys: it feeds dispatch, the hints in the footer, the help and the README.
//! Keys are matched nowhere else; in a text field, keys that are not in it are text.

mod action;
mod bindings;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

pub use action::Action;
pub use bindings::{BindingError, Bindings, name};

/// Where the keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The log.
    Log,
    /// One line in full.
    Detail,
    /// The help.
    Help,
    /// The way of an event.
    Trace,
    /// The list of projects.
    Projects,
    /// The queue.
    Queue,
    /// One failed event in full.
    Failed,
    /// Who is there now.
    Live,
    /// What verification found.
    Verify,
    /// A text field.
    Field,
    /// Where a letter is awaited.
    Letter,
    /// A command.
    Palette,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Log,
        Self::Detail,
        Self::Help,
        Self::Trace,
        Self::Projects,
        Self::Queue,
        Self::Failed,
        Self::Live,
        Self::Verify,
        Self::Field,
        Self::Letter,
        Self::Palette,
    ];

    /// How the help calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Detail => "detail",
            Self::Help => "help",
            Self::Trace => "trace",
            Self::Projects => "projects",
            Self::Queue => "queue",
            Self::Failed => "failed event",
            Self::Live => "live",
            Self::Verify => "verify",
            Self::Field => "text field",
            Self::Letter => "letter",
            Self::Palette => "command",
        }
    }
}

/// What bindings are grouped by in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Moving about.
    Move,
    /// Finding and hiding lines.
    Find,
    /// Stages and levels.
    Show,
    /// Doing something with a line.
    Line,
    /// Several views of the lines.
    Panes,
    /// The views beside the log.
    Views,
    /// The clock of a replay.
    Replay,
    /// The console itself.
    Console,
}

impl Group {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 8] = [
        Self::Move,
        Self::Find,
        Self::Show,
        Self::Line,
        Self::Panes,
        Self::Views,
        Self::Replay,
        Self::Console,
    ];

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Move => "Moving",
            Self::Find => "Searching",
            Self::Show => "Stages and levels",
            Self::Line => "The selected line",
            Self::Panes => "Panes",
            Self::Views => "Queue, live, verify",
            Self::Replay => "In a replay, beside Space",
            Self::Console => "Console",
        }
    }
}

/// One key, with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
}

const fn ch(c: char) -> Key {
    Key { code: KeyCode::Char(c), ctrl: false }
}

const fn ctrl(c: char) -> Key {
    Key { code: KeyCode::Char(c), ctrl: true }
}

const fn code(code: KeyCode) -> Key {
    Key { code, ctrl: false }
}

impl Key {
    fn matches(self, event: &KeyEvent) -> bool {
        // Shift is part of a character already, and some terminals report it besides.
        let modifiers = event.modifiers.difference(KeyModifiers::SHIFT);
        let wanted = if self.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        event.code == self.code && modifiers == wanted
    }

    /// The event of pressing it.
    pub fn event(self) -> KeyEvent {
        let modifiers = if self.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        KeyEvent::new(self.code, modifiers)
    }

    /// How it is written.
    pub fn label(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) if self.ctrl => c.to_ascii_uppercase().to_string(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::Left => "←".to_owned(),
            KeyCode::Right => "→".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            other => other.to_string(),
        };
        if self.ctrl { format!("Ctrl-{name}") } else { name }
    }
}

/// Keys that do the same thing.
pub struct Binding {
    /// The keys; for stages, in the order of the stages.
    pub keys: &'static [Key],
    /// Where they do it.
    pub contexts: &'static [Context],
    /// What they do.
    pub action: Action,
    /// The same for a person.
    pub help: &'static str,
    /// The same in a word or two, for the footer, where it belongs there.
    pub hint: Option<&'static str>,
    /// Where it stands in the help.
    pub group: Group,
}

impl Binding {}

/// Keys as they are written, such as `1…6` or `f G End`.
pub fn label(keys: &[Key]) -> String {
    match keys {
        [first, .., last] if keys.len() > 4 => format!("{}…{}", first.label(), last.label()),
        keys => keys.iter().map(|key| key.label()).collect::<Vec<_>>().join(" "),
    }
}

/// The first of them, for the footer.
pub fn short_label(keys: &[Key]) -> String {
    match keys {
        [] | [_, _, _, _, _, ..] => label(keys),
        [first, ..] => first.label(),
    }
}

const LOG: &[Context] = &[Context::Log];
const DETAIL: &[Context] = &[Context::Detail];
const FIELD: &[Context] = &[Context::Field];
const VIEWS: &[Context] = &[
    Context::Detail,
    Context::Trace,
    Context::Help,
    Context::Queue,
    Context::Failed,
    Context::Live,
    Context::Verify,
];
const LINES: &[Context] = &[
    Context::Log,
    Context::Detail,
    Context::Trace,
    Context::Queue,
    Context::Failed,
    Context::Verify,
];
const HAS_HELP: &[Context] = &[
    Context::Log,
    Context::Detail,
    Context::Trace,
    Context::Queue,
    Context::Failed,
    Context::Live,
    Context::Verify,
];
const ENDS: &[Context] = &[
    Context::Detail,
    Context::Trace,
    Context::Help,
    Context::Queue,
    Context::Failed,
    Context::Verify,
];
const PALETTE: &[Context] = &[Context::Palette];
const QUEUE: &[Context] = &[Context::Queue];
const FAILED: &[Context] = &[Context::Queue, Context::Failed];
const TO_QUEUE: &[Context] = &[Context::Log, Context::Live, Context::Verify];
const TO_LIVE: &[Context] = &[Context::Log, Context::Queue, Context::Verify];
const TO_VERIFY: &[Context] = &[Context::Log, Context::Queue, Context::Live];
const LIST: &[Context] = &[Context::Projects];
const OPENS_DETAIL: &[Context] = &[Context::Log, Context::Trace, Context::Verify];
const OPENS_TRACE: &[Context] =
    &[Context::Log, Context::Detail, Context::Queue, Context::Failed, Context::Verify];
const SCROLL: &[Context] = &[
    Context::Log,
    Context::Detail,
    Context::Trace,
    Context::Help,
    Context::Queue,
    Context::Failed,
    Context::Verify,
];

const fn bind(
    keys: &'static [Key],
    contexts: &'static [Context],
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
    bind(&[code(KeyCode::Enter)], FIELD, Action::Accept, Some("keep"), Group::Find, "In a text field: keep what was typed"),
    bind(&[code(KeyCode::Esc)], FIELD, Action::Cancel, Some("cancel"), Group::Find, "In a text field: back to what was there before"),
    bind(&[code(KeyCode::Enter)], PALETTE, Action::Accept, Some("do it"), Group::Console, "In a command: do it"),
    bind(&[code(KeyCode::Esc)], PALETTE, Action::Cancel, Some("back"), Group::Console, "In a command: do nothing"),
    bind(&[code(KeyCode::Tab)], PALETTE, Action::NextCandidate, Some("complete"), Group::Console, "In a command: complete it, and again for the next that fits"),
    bind(&[code(KeyCode::BackTab)], PALETTE, Action::PreviousCandidate, None, Group::Console, "In a command: the one before that fits (Shift-Tab)"),
    bind(&[code(KeyCode::Up)], PALETTE, Action::OlderCommand, None, Group::Console, "In a command: the one typed before"),
    bind(&[code(KeyCode::Down)], PALETTE, Action::NewerCommand, None, Group::Console, "In a command: the one typed after"),
    bind(&[code(KeyCode::Enter)], LIST, Action::Accept, Some("show only it"), Group::Show, "In the list of projects: show only the selected one"),
    bind(&[code(KeyCode::Esc)], LIST, Action::Back, Some("back"), Group::Show, "In the list of projects: close it"),
    bind(&[code(KeyCode::Up)], LIST, Action::Up, None, Group::Show, "In the list of projects: up; letters narrow the list"),
    bind(&[code(KeyCode::Down)], LIST, Action::Down, None, Group::Show, "In the list of projects: down"),
    bind(&[code(KeyCode::Esc)], &[Context::Letter], Action::Cancel, None, Group::Move, "Where a letter is awaited: cancel"),
    bind(&[code(KeyCode::Esc), ch('q')], VIEWS, Action::Back, Some("back"), Group::Console, "Close this view"),
    bind(&[ch('?'), code(KeyCode::F(1))], HAS_HELP, Action::Help, Some("help"), Group::Console, "This help"),
    bind(&[ch('?'), code(KeyCode::F(1))], &[Context::Help], Action::Back, None, Group::Console, "In this help: close it"),
    bind(&[code(KeyCode::Enter)], QUEUE, Action::FailedDetail, Some("inspect"), Group::Views, "In the queue: show the failed event in full, with the reason"),
    bind(&[ch('r')], FAILED, Action::RetryOne, Some("retry"), Group::Views, "In the queue: put the failed event back"),
    bind(&[ch('R')], QUEUE, Action::RetryAll, Some("retry all"), Group::Views, "In the queue: put all failed events shown back, after a question"),
    bind(&[ch('d')], FAILED, Action::DeleteOne, Some("delete"), Group::Views, "In the queue: delete the failed event, after a question"),
    bind(&[ch('D')], QUEUE, Action::DeleteAll, Some("delete all"), Group::Views, "In the queue: delete all failed events shown, after a question"),
    bind(&[ch('X')], QUEUE, Action::Export, Some("export"), Group::Views, "In the queue: write the failed events shown into a file, as JSON Lines"),
    bind(&[ch('/'), ch('&')], QUEUE, Action::QueueFilter, Some("filter"), Group::Views, "In the queue: show only failed events with a text in them"),
    bind(&[ch(' ')], LOG, Action::Pause, Some("pause"), Group::Move, "Pause the display, or go on; lines still come in"),
    bind(&[ch('f'), ch('G'), code(KeyCode::End)], LOG, Action::Follow, Some("follow"), Group::Move, "Follow: stay with the newest line"),
    bind(&[ch('/')], LOG, Action::Search, Some("search"), Group::Find, "Search: words, \"phrases\", a.*b or /regex/, level:>=warn, id:3f2a, dur:>50, data.url:/a, -not"),
    bind(&[ch('&')], LOG, Action::Filter, Some("filter"), Group::Find, "Show only what a query asks for, written as for a search; a ! before it: all but that"),
    bind(&[ch(':')], LOG, Action::Palette, Some("command"), Group::Console, "Type a command; Tab completes"),
    bind(&[ch('n')], LOG, Action::NextMatch, Some("next"), Group::Find, "Go to the next line found"),
    bind(&[ch('N')], LOG, Action::PreviousMatch, Some("previous"), Group::Find, "Go to the previous line found"),
    bind(&[code(KeyCode::Enter)], OPENS_DETAIL, Action::Detail, Some("detail"), Group::Line, "Show the line in full; of folded repeats, all lines"),
    bind(&[ch('t')], OPENS_TRACE, Action::Trace, Some("trace"), Group::Line, "Trace: all lines of its event through the stages, with times and waits"),
    bind(&[ch('1'), ch('2'), ch('3'), ch('4'), ch('5'), ch('6')], LOG, Action::ToggleStage, Some("stages"), Group::Show, "Hide or show a stage"),
    bind(&[ch('d')], TO_QUEUE, Action::Queue, Some("queue"), Group::Views, "Queue: depth, batches in flight, failed events to inspect, retry, export or delete"),
    bind(&[ch('v')], TO_LIVE, Action::Live, Some("live"), Group::Views, "Live: visitors now, page views and events by project, top pages, last events"),
    bind(&[ch('V')], TO_VERIFY, Action::Verify, Some("verify"), Group::Views, "Verify: how many events match by dual write, and those that do not"),
    bind(&[ch('l')], LOG, Action::Level, Some("level"), Group::Show, "All levels, warnings and errors, or only errors"),
    bind(&[ch('e')], LOG, Action::NextError, None, Group::Show, "Go to the next error"),
    bind(&[ch('E')], LOG, Action::PreviousError, Some("last error"), Group::Show, "Go to the previous error"),
    bind(&[ch('w')], LOG, Action::NextWarning, None, Group::Show, "Go to the next warning or error"),
    bind(&[ch('W')], LOG, Action::PreviousWarning, None, Group::Show, "Go to the previous warning or error"),
    bind(&[ch('o')], LOG, Action::NextOfEvent, None, Group::Line, "Go to the next line of the same event"),
    bind(&[ch('O')], LOG, Action::PreviousOfEvent, None, Group::Line, "Go to the previous line of the same event"),
    bind(&[ch('c')], LOG, Action::Context, None, Group::Line, "Context: the line among all lines, without the filter; again to go back"),
    bind(&[ch('p')], LOG, Action::Projects, None, Group::Show, "Choose a project; the pane shows only its lines"),
    bind(&[ch('z')], LOG, Action::Fold, None, Group::Show, "Repeats of a message as one line with ×N, or all lines again"),
    bind(&[ch('m')], LOG, Action::Mark, None, Group::Move, "Mark the line with a letter"),
    bind(&[ch('\'')], LOG, Action::Jump, None, Group::Move, "Go to a marked line by its letter"),
    bind(&[code(KeyCode::Right)], DETAIL, Action::NextLine, Some("next line"), Group::Line, "In the detail: the next line"),
    bind(&[code(KeyCode::Left)], DETAIL, Action::PreviousLine, Some("previous line"), Group::Line, "In the detail: the previous line"),
    bind(&[ch('y')], LINES, Action::CopyId, Some("copy id"), Group::Line, "Copy the event id, or the curl command if no line is there"),
    bind(&[ch('Y')], LINES, Action::CopyLine, Some("copy line"), Group::Line, "Copy the line as JSON"),
    bind(&[ch('!'), ch('@'), ch('#'), ch('$'), ch('%'), ch('^')], LOG, Action::OnlyStage, None, Group::Show, "Show only one stage (Shift and its digit)"),
    bind(&[ch('0')], LOG, Action::AllStages, None, Group::Show, "Show all stages"),
    bind(&[code(KeyCode::Up), ch('k')], SCROLL, Action::Up, None, Group::Move, "Up by a line, which stops following"),
    bind(&[code(KeyCode::Down), ch('j')], SCROLL, Action::Down, None, Group::Move, "Down by a line"),
    bind(&[code(KeyCode::PageUp)], SCROLL, Action::PageUp, None, Group::Move, "Up by a screen"),
    bind(&[code(KeyCode::PageDown)], SCROLL, Action::PageDown, Some("scroll"), Group::Move, "Down by a screen"),
    bind(&[ctrl('u')], SCROLL, Action::HalfUp, None, Group::Move, "Up by half a screen"),
    bind(&[ctrl('d')], SCROLL, Action::HalfDown, None, Group::Move, "Down by half a screen"),
    bind(&[ch('g'), code(KeyCode::Home)], SCROLL, Action::Oldest, None, Group::Move, "Go to the oldest line"),
    bind(&[ch('G'), code(KeyCode::End)], ENDS, Action::Follow, None, Group::Move, "In a view: to its end"),
    bind(&[ch('i')], LOG, Action::Figures, None, Group::Console, "Show all figures or one row of them"),
    bind(&[ch('C')], LOG, Action::Clear, None, Group::Console, "Clear: forget all lines, also those held"),
    bind(&[code(KeyCode::Esc)], LOG, Action::Back, None, Group::Console, "One layer back: leave the context, end the search, then the filter"),
    bind(&[ch('q')], LOG, Action::Quit, Some("quit"), Group::Console, "Quit; in a view, close it"),
    bind(&[ctrl('c')], &Context::ALL, Action::Quit, None, Group::Console, "Quit at once"),
    bind(&[ctrl('l')], &Context::ALL, Action::Redraw, None, Group::Console, "Draw the screen anew"),
    bind(&[ctrl('z')], &Context::ALL, Action::Suspend, None, Group::Console, "Suspend; fg comes back"),
    bind(&[ch('a')], LINES, Action::Acknowledge, None, Group::Console, "Take note of the alerts shown; Esc does, too"),
    bind(&[ch('<'), ch('[')], LOG, Action::Slower, None, Group::Replay, "Slower"),
    bind(&[ch('>'), ch(']')], LOG, Action::Faster, None, Group::Replay, "Faster; beyond ×60 as fast as can be"),
    bind(&[code(KeyCode::Left)], LOG, Action::SeekBack, None, Group::Replay, "Ten seconds back"),
    bind(&[code(KeyCode::Right)], LOG, Action::SeekOn, None, Group::Replay, "Ten seconds on"),
    bind(&[ch('s')], LOG, Action::Split, Some("split"), Group::Panes, "Split: one more pane with a filter, search and place of its own; at most 4"),
    bind(&[ch('S')], LOG, Action::ClosePane, None, Group::Panes, "Close this pane"),
    bind(&[code(KeyCode::Tab)], LOG, Action::NextPane, None, Group::Panes, "Go to the next pane"),
    bind(&[code(KeyCode::BackTab)], LOG, Action::PreviousPane, None, Group::Panes, "Go to the previous pane (Shift-Tab)"),
    bind(&[ch('x')], LOG, Action::FullPane, None, Group::Panes, "All the room for this pane, or back"),
];

/// The bindings of a context that the footer hints at.
pub fn hints(context: Context) -> impl Iterator<Item = &'static Binding> {
    let here = BINDINGS.iter().filter(move |binding| binding.contexts.contains(&context));
    here.filter(|binding| binding.hint.is_some())
}

/// The bindings of a group, in the order of the table.
pub fn group(group: Group) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| binding.group == group)
}

/// The table as Markdown, for the README.
pub fn markdown() -> String {
    let mut out = String::new();
    for title in Group::ALL {
        out.push_str(&format!("| {} | |\n| --- | --- |\n", title.title()));
        for binding in group(title) {
            let keys: Vec<_> =
                binding.keys.iter().map(|key| format!("`{}`", key.label())).collect();
            out.push_str(&format!("| {} | {} |\n", keys.join(" "), binding.help));
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests;
