//! The table of commands, used for parsing, completion, help and the docs.

use std::time::Duration;

use jiff::civil::Time;

use crate::keymap::Action;
use crate::model::history::Topic;
use crate::model::query::ast::SQLITE;
use crate::model::query::{Purpose, Query};
use crate::msg::Target;
use bklit_wire::debug_log::{Level, Stage, UnknownName};
use bklit_wire::duration;
use bklit_wire::event_lookup::id_problem;
use bklit_wire::pause::Pausable;
use bklit_wire::suggestion::did_you_mean;

/// The kind of a command's argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// How long ago, or `off`.
    Since,
    /// A query, or nothing for none.
    Query(Purpose),
    /// A query, `off` with a number or `all`, or nothing.
    Notify,
    /// An event's id.
    EventId,
    /// A session's id.
    SessionId,
    /// A time of day, or how long ago.
    Moment,
    /// A level.
    Level,
    /// A stage.
    Stage,
    /// A project, or `all`.
    Project,
    /// A process, or `all`.
    Process,
    /// A file to write.
    File,
    /// A file to write, or `off`.
    FileOrOff,
    /// A theme.
    Theme,
    /// A new name.
    NewName,
    /// An existing name.
    SavedName,
    /// A switch, and `on` or `off`.
    Switch,
    /// A part of the pipeline to pause, and why.
    Pause,
    /// A part of the pipeline to resume.
    Resume,
    /// SQL, the name of a saved query, or nothing.
    Sql,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The command's name.
    pub name: &'static str,
    /// The argument's notation in the help.
    pub usage: &'static str,
    /// The kind of its argument.
    pub argument: Argument,
    /// What the command does.
    pub help: &'static str,
}

const fn spec(
    name: &'static str,
    usage: &'static str,
    argument: Argument,
    help: &'static str,
) -> Spec {
    Spec { name, usage, argument, help }
}

/// All commands.
#[rustfmt::skip]
pub const COMMANDS: &[Spec] = &[
    spec("since", "10m|off", Argument::Since, "Show only lines of the last 10m, and new ones"),
    spec("filter", "QUERY", Argument::Query(Purpose::Filter), "Show only lines that match the query; without one, all"),
    spec("search", "QUERY", Argument::Query(Purpose::Search), "Search; without a query, end the search"),
    spec("level", "LEVEL", Argument::Level, "Show only this level and above: info, warn, error"),
    spec("project", "ID|all", Argument::Project, "Show only this project"),
    spec("process", "NAME|all", Argument::Process, "Show only lines of this process"),
    spec("export", "FILE", Argument::File, "Write what this pane shows, or the result of sql: FILE.jsonl or FILE.csv; export! overwrites an existing file"),
    spec("record", "FILE|off", Argument::FileOrOff, "Record everything to a file, for bklit-tui replay; record! overwrites an existing file"),
    spec("notify", "QUERY|off N", Argument::Notify, "Raise an alert on each line that matches the query, up to 8 queries; without one, list them; off all removes all"),
    spec("trace", "ID", Argument::EventId, "Trace an event by its id, even one no longer in the log: its earlier lines, and where it is now"),
    spec("session", "ID", Argument::SessionId, "Show all events of a visitor's session by its id, including refused ones"),
    spec("goto", "TIME", Argument::Moment, "Go to the first line at or after a time: 14:05, 14:05:30, or 10m for ten minutes ago"),
    spec("save", "NAME", Argument::NewName, "Save this pane's filter under a name"),
    spec("load", "NAME", Argument::SavedName, "Apply a filter that was saved or is in the config file"),
    spec("theme", "NAME", Argument::Theme, "Colours for a dark or a light background, or none: dark, light, mono"),
    spec("set", "NAME on|off", Argument::Switch, "Turn on or off: utc (times), ascii (signs), fold (repeats as one line), wrap (long lines), mouse"),
    spec("problems", "", Argument::None, "Similar warnings, errors and failed events, in groups"),
    spec("queue", "", Argument::None, "The queue: batches in flight and failed events"),
    spec("live", "", Argument::None, "Current visitors"),
    spec("history", "", Argument::None, "Figures over time, of the whole pipeline"),
    spec("timeline", "", Argument::None, "Show the timeline above the log, or hide it"),
    spec("stage", "NAME", Argument::Stage, "A stage's latencies, rate and failures over time"),
    spec("who", "", Argument::None, "Events by project, token, address, page, type, referrer or country"),
    spec("processes", "", Argument::None, "Processes that share a Redis"),
    spec("sql", "QUERY|NAME", Argument::Sql, "Query the store: run an SQL statement or a saved query; without one, open the screen"),
    spec("pause", "intake|workers REASON", Argument::Pause, "Pause accepting events (intake) or storing them (workers), in all processes that share the queue"),
    spec("resume", "intake|workers", Argument::Resume, "Resume what was paused"),
    spec("verify", "", Argument::None, "Results of dual-write verification"),
    spec("help", "", Argument::None, "Keys and commands"),
    spec("q", "", Argument::None, "Quit"),
];

/// The switches of `set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Times in UTC.
    Utc,
    /// Only ASCII.
    Ascii,
    /// Repeats as one line.
    Fold,
    /// Long lines wrapped.
    Wrap,
    /// The mouse.
    Mouse,
}

impl Switch {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("utc", Self::Utc),
        ("ascii", Self::Ascii),
        ("fold", Self::Fold),
        ("wrap", Self::Wrap),
        ("mouse", Self::Mouse),
    ];
}

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line of JSON per line.
    Jsonl,
    /// A CSV table.
    Csv,
}

/// An action on alerts for lines.
#[derive(Clone, Debug)]
pub enum Notify {
    /// Show the queries.
    List,
    /// Add a query.
    Watch(Query),
    /// Remove the query with this number; `None` removes all.
    Stop(Option<usize>),
}

/// A moment, as a time of day or relative to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This long ago.
    Ago(Duration),
    /// The latest moment at this time of day.
    Clock(Time),
}

/// A parsed command.
#[derive(Clone, Debug)]
pub enum Command {
    /// Show only lines that are not older; `None` shows all.
    Since(Option<Duration>),
    /// Search or filter.
    Query(Purpose, Option<Query>),
    /// Show a level and above.
    Level(Level),
    /// Show a project; `None` shows all.
    Project(Option<String>),
    /// Show lines of a process; `None` shows all.
    Process(Option<String>),
    /// Export the lines shown.
    Export(Target, Format),
    /// Record new messages; `None` stops recording.
    Record(Option<Target>),
    /// Change the alerts on lines.
    Notify(Notify),
    /// Go to the first line from a moment on.
    GoTo(Moment),
    /// Open a view.
    Open(Action),
    /// Show figures over time.
    History(Topic),
    /// Show or hide the timeline.
    Timeline,
    /// Trace an event.
    Trace(String),
    /// Show a session.
    Session(String),
    /// Save the filter.
    Save(String),
    /// Apply a saved filter.
    Load(String),
    /// Change the theme.
    Theme(String),
    /// Change a switch.
    Set(Switch, bool),
    /// Pause a part of the pipeline.
    Pause(Pausable, Option<String>),
    /// Resume it.
    Resume(Pausable),
    /// Query the store; `None` opens the screen.
    Sql(Option<String>),
    /// Show the help.
    Help,
    /// Quit the console.
    Quit,
}

/// Splits a command into its name, with `!` if present, and its argument.
pub fn split(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches([' ', ':']);
    line.split_once(' ').map_or((line, ""), |(name, argument)| (name, argument.trim()))
}

/// A command's row in the table, and whether `!` follows its name.
pub fn find(name: &str) -> Option<(&'static Spec, bool)> {
    let (plain, forced) = name.strip_suffix('!').map_or((name, false), |plain| (plain, true));
    let spec = COMMANDS.iter().find(|spec| spec.name == plain)?;
    let may_force = matches!(spec.argument, Argument::File | Argument::FileOrOff);
    (may_force || !forced).then_some((spec, forced))
}

/// Parses a command.
///
/// # Errors
/// The message says what is valid.
pub fn parse(line: &str) -> Result<Command, String> {
    let (name, argument) = split(line);
    let Some((spec, overwrite)) = find(name) else {
        let plain = name.strip_suffix('!').unwrap_or(name);
        let meant = did_you_mean(plain, COMMANDS.iter().map(|spec| spec.name));
        return Err(format!("unknown command: {name}{meant}"));
    };
    let may_be_alone = matches!(
        spec.argument,
        Argument::None | Argument::Query(_) | Argument::Notify | Argument::Sql
    );
    if argument.is_empty() && !may_be_alone {
        return Err(format!("usage: {} {}", spec.name, spec.usage));
    }
    let target = || Target { path: argument.to_owned(), overwrite };
    Ok(match spec.argument {
        Argument::None if !argument.is_empty() => {
            return Err(format!("{} takes no argument", spec.name));
        }
        Argument::None => match spec.name {
            "help" => Command::Help,
            "problems" => Command::Open(Action::Problems),
            "queue" => Command::Open(Action::Queue),
            "live" => Command::Open(Action::Live),
            "history" => Command::History(Topic::Pipeline),
            "timeline" => Command::Timeline,
            "processes" => Command::Open(Action::Processes),
            "who" => Command::Open(Action::Who),
            "verify" => Command::Open(Action::Verify),
            _ => Command::Quit,
        },
        Argument::Moment => Command::GoTo(moment(argument)?),
        Argument::Since => Command::Since(since(argument)?),
        Argument::Query(purpose) => Command::Query(purpose, query(argument, purpose)?),
        Argument::Notify => Command::Notify(notify(argument)?),
        Argument::Level => Command::Level(argument.parse().map_err(|e| format!("{e}"))?),
        Argument::Process => Command::Process((argument != "all").then(|| argument.to_owned())),
        Argument::Stage => Command::History(Topic::Stage(stage(argument)?)),
        Argument::Project => Command::Project((argument != "all").then(|| argument.to_owned())),
        Argument::File => Command::Export(target(), format_of(argument)?),
        Argument::FileOrOff if argument == "off" => Command::Record(None),
        Argument::FileOrOff => Command::Record(Some(target())),
        Argument::Theme => Command::Theme(argument.to_owned()),
        Argument::EventId => Command::Trace(event_id(argument)?),
        Argument::SessionId => Command::Session(event_id(argument)?),
        Argument::NewName => Command::Save(new_name(argument)?),
        Argument::SavedName => Command::Load(argument.to_owned()),
        Argument::Switch => switch(argument)?,
        Argument::Sql => Command::Sql((!argument.is_empty()).then(|| argument.to_owned())),
        Argument::Resume => Command::Resume(argument.parse()?),
        Argument::Pause => {
            let (part, reason) = split(argument);
            Command::Pause(part.parse()?, (!reason.is_empty()).then(|| reason.to_owned()))
        }
    })
}

/// A stage by its name; the store's also by the store's name.
fn stage(argument: &str) -> Result<Stage, String> {
    match argument {
        SQLITE | "store" => Ok(Stage::Clickhouse),
        name => name.parse().map_err(|error: UnknownName| error.to_string()),
    }
}

fn since(argument: &str) -> Result<Option<Duration>, String> {
    if argument == "off" {
        return Ok(None);
    }
    let wrong = |_| "invalid duration: try 90s, 10m, 2h, or off".to_owned();
    duration::parse(argument).map(Some).map_err(wrong)
}

fn moment(argument: &str) -> Result<Moment, String> {
    if let Ok(time) = argument.parse() {
        return Ok(Moment::Clock(time));
    }
    let ago = duration::parse(argument.trim_start_matches('-'));
    ago.map(Moment::Ago)
        .map_err(|_| "invalid time: try 14:05, 14:05:30, or 10m for ten minutes ago".to_owned())
}

fn query(argument: &str, purpose: Purpose) -> Result<Option<Query>, String> {
    Query::parse(argument, purpose).map_err(|mistake| mistake.to_string())
}

fn event_id(argument: &str) -> Result<String, String> {
    // As copied from a ticket or from JSON.
    let id = argument.trim_matches(['"', '\'', '`', ',']);
    match id_problem(id) {
        Some(problem) => Err(format!("the id {problem}")),
        None => Ok(id.to_owned()),
    }
}

fn notify(argument: &str) -> Result<Notify, String> {
    let which =
        argument.strip_prefix("off").filter(|rest| rest.is_empty() || rest.starts_with(' '));
    match which.map(str::trim) {
        Some("" | "all") => Ok(Notify::Stop(None)),
        Some(number) => number.parse().map(|number| Notify::Stop(Some(number))).map_err(|_| {
            "usage: notify off N, with a number that notify shows, or notify off all".to_owned()
        }),
        None => Ok(query(argument, Purpose::Filter)?.map_or(Notify::List, Notify::Watch)),
    }
}

/// The format of a file, by its name.
///
/// # Errors
/// If the name is unknown, with the known ones.
pub fn format_of(path: &str) -> Result<Format, String> {
    match path.rsplit_once('.') {
        Some((_, "jsonl")) => Ok(Format::Jsonl),
        Some((_, "csv")) => Ok(Format::Csv),
        _ => Err("the file's name must end with .jsonl or .csv".to_owned()),
    }
}

/// The longest name of a filter or query.
pub const MAX_NAME: usize = 40;

/// Whether a text can be the name of a filter or query.
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_plain)
}

fn new_name(name: &str) -> Result<String, String> {
    if is_name(name) {
        return Ok(name.to_owned());
    }
    Err(format!("a name has letters, digits, - and _, at most {MAX_NAME}"))
}

fn switch(argument: &str) -> Result<Command, String> {
    let (name, to) = argument.split_once(' ').unwrap_or((argument, ""));
    let Some((_, switch)) = Switch::ALL.into_iter().find(|(known, _)| *known == name) else {
        let meant = did_you_mean(name, Switch::ALL.map(|(known, _)| known));
        return Err(format!("unknown switch {name} (utc, ascii, fold, wrap, mouse){meant}"));
    };
    match to.trim() {
        "on" => Ok(Command::Set(switch, true)),
        "off" => Ok(Command::Set(switch, false)),
        _ => Err("usage: set NAME on|off".to_owned()),
    }
}

/// The table as Markdown, for docs/console.md.
pub fn markdown() -> String {
    let mut out = String::from("| command | |\n| --- | --- |\n");
    for spec in COMMANDS {
        let usage = spec.usage.replace('|', "\\|");
        let gap = if usage.is_empty() { "" } else { " " };
        out.push_str(&format!("| `:{}{gap}{usage}` | {} |\n", spec.name, spec.help));
    }
    out
}
