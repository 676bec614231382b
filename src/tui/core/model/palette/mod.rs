//! The palette: the command being typed, its completions and the history.
//!
//! - `commands`: the table of commands

pub mod commands;
#[cfg(test)]
mod tests;

use tui_input::Input;

use self::commands::{Argument, COMMANDS, Switch};
use crate::appearance::Scheme;
use crate::histories::{History, Recall};
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::pause::Pausable;

/// The most completions.
pub const MAX_CANDIDATES: usize = 100;

/// A completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The text to insert.
    pub word: String,
    /// Its description.
    pub help: String,
}

/// The files of a directory, if known.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The directory as typed, ending in `/`.
    pub dir: String,
    /// Their names; directories end in `/`.
    pub names: Vec<String>,
}

/// The sources of completions.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Projects in the log.
    pub projects: Vec<String>,
    /// Processes that publish figures.
    pub processes: Vec<String>,
    /// The names and queries of saved filters.
    pub filters: Vec<(String, String)>,
    /// The names of saved queries, and what they show.
    pub queries: Vec<(String, String)>,
    /// The names of the user's own themes.
    pub skins: Vec<String>,
    /// The queries that raise alerts.
    pub watched: Vec<String>,
    /// The files of the directory being typed.
    pub files: Files,
}

/// The open palette.
#[derive(Debug, Default)]
pub struct Palette {
    /// The input.
    pub input: Input,
    /// The completions.
    pub candidates: Vec<Candidate>,
    /// The chosen completion.
    pub chosen: Option<usize>,
    /// Why the command could not be executed.
    pub problem: Option<String>,
    /// Whether what was inserted last did not fit and is missing.
    pub(crate) is_cut: bool,
    /// The sources of completions.
    pub known: Known,
    /// The start of the word to complete, in bytes.
    start: usize,
    /// The position in the history.
    recall: Recall,
}

impl Palette {
    /// Opens an empty palette.
    pub fn new(known: Known) -> Self {
        let mut palette = Self { known, ..Self::default() };
        palette.complete();
        palette
    }

    /// Recomputes the completions, after the input has changed.
    pub fn complete(&mut self) {
        (self.start, self.candidates) = candidates(self.input.value(), &self.known);
        self.chosen = None;
    }

    /// Chooses the next or previous completion, and inserts it.
    pub fn choose(&mut self, forward: bool) {
        self.choose_nth(cycled(self.chosen, self.candidates.len(), forward));
    }

    /// Chooses a completion, and inserts it.
    pub fn choose_nth(&mut self, nth: usize) {
        let count = self.candidates.len();
        let Some(candidate) = self.candidates.get(nth) else { return };
        let head = self.input.value().get(..self.start).unwrap_or_default();
        let mut text = format!("{head}{}", candidate.word);
        let ends_here = self.start > 0
            || commands::find(&candidate.word)
                .is_none_or(|(spec, _)| spec.argument == Argument::None);
        if count == 1 && !ends_here {
            text.push(' ');
        }
        self.input = Input::new(text);
        if count == 1 {
            self.complete();
        } else {
            self.chosen = Some(nth);
        }
        (self.problem, self.is_cut) = (None, false);
    }

    /// The number of completions scrolled off at the top.
    pub fn top(&self, height: usize) -> usize {
        self.chosen.map_or(0, |nth| (nth + 1).saturating_sub(height))
    }

    /// Shows the older or newer command of the history.
    pub fn recall(&mut self, history: &History, older: bool) {
        self.input = Input::new(self.recall.step(history, self.input.value(), older));
        (self.problem, self.is_cut) = (None, false);
        self.complete();
    }

    /// The directory whose files are needed, if they are not known.
    pub fn wanted_dir(&self) -> Option<String> {
        let (name, argument) = commands::split(self.input.value());
        let (spec, _) = commands::find(name)?;
        let wants = matches!(spec.argument, Argument::File | Argument::FileOrOff);
        let dir = argument.rfind('/').map_or("", |end| &argument[..=end]);
        (wants && (dir != self.known.files.dir || self.known.files.names.is_empty()))
            .then(|| dir.to_owned())
    }
}

/// The position after or before the chosen one of `count`, wrapping around.
pub(super) fn cycled(chosen: Option<usize>, count: usize, forward: bool) -> usize {
    match (chosen, forward) {
        (None, true) => 0,
        (None, false) => count.saturating_sub(1),
        (Some(nth), true) => (nth + 1) % count.max(1),
        (Some(nth), false) => (nth + count.saturating_sub(1)) % count.max(1),
    }
}

/// The start of the last word of a command, and its completions.
fn candidates(line: &str, known: &Known) -> (usize, Vec<Candidate>) {
    let lead = line.len() - line.trim_start_matches([' ', ':']).len();
    let rest = &line[lead..];
    let Some((name, _)) = rest.split_once(' ') else {
        let fitting = COMMANDS.iter().filter(|spec| spec.name.starts_with(rest));
        let names = fitting.map(|spec| Candidate {
            word: spec.name.to_owned(),
            help: format!("{}  {}", spec.usage, spec.help).trim_start().to_owned(),
        });
        return (lead, names.collect());
    };
    let Some((spec, _)) = commands::find(name) else { return (line.len(), Vec::new()) };
    let argument = rest[name.len()..].trim_start();
    let from = line.len() - argument.len();
    // The last word of queries and switches; the whole argument of all others.
    let word_at = match spec.argument {
        Argument::Query(_) | Argument::Notify | Argument::Switch | Argument::Pause => {
            argument.rfind(' ').map_or(0, |space| space + 1)
        }
        Argument::File | Argument::FileOrOff => argument.rfind('/').map_or(0, |slash| slash + 1),
        _ => 0,
    };
    let word = &argument[word_at..];
    let mut found = match (spec.argument, &argument[..word_at]) {
        (Argument::Notify, "off ") => watched(known),
        _ => words(spec.argument, word_at > 0, known),
    };
    found.retain(|candidate| candidate.word.starts_with(word) && candidate.word != word);
    found.truncate(MAX_CANDIDATES);
    (from + word_at, found)
}

fn words(argument: Argument, later: bool, known: &Known) -> Vec<Candidate> {
    let plain = |word: &str, help: &str| Candidate { word: word.to_owned(), help: help.to_owned() };
    let all = |words: &[&str]| words.iter().map(|word| plain(word, "")).collect();
    match argument {
        Argument::None
        | Argument::NewName
        | Argument::EventId
        | Argument::SessionId
        | Argument::Moment => Vec::new(),
        Argument::Since => all(&["1m", "10m", "1h", "24h", "off"]),
        Argument::Level => all(&Level::ALL.map(Level::as_str)),
        Argument::Stage => all(&Stage::ALL.map(Stage::as_str)),
        Argument::Theme => {
            let built_in = Scheme::ALL.iter().map(|scheme| plain(scheme.as_str(), ""));
            built_in.chain(known.skins.iter().map(|name| plain(name, "from the config"))).collect()
        }
        Argument::Pause | Argument::Resume if !later => all(&Pausable::ALL.map(Pausable::as_str)),
        Argument::Pause | Argument::Resume => Vec::new(),
        Argument::Switch if later => all(&["on", "off"]),
        Argument::Switch => all(&Switch::ALL.map(|(name, _)| name)),
        Argument::Project => {
            let projects = known.projects.iter().map(|id| plain(id, ""));
            std::iter::once(plain("all", "all projects")).chain(projects).collect()
        }
        Argument::Process => {
            let processes = known.processes.iter().map(|name| plain(name, ""));
            std::iter::once(plain("all", "all processes")).chain(processes).collect()
        }
        Argument::SavedName => {
            known.filters.iter().map(|(name, query)| plain(name, query)).collect()
        }
        Argument::Sql => known.queries.iter().map(|(name, help)| plain(name, help)).collect(),
        Argument::File => files(&known.files),
        Argument::FileOrOff => {
            let off = (!later).then(|| plain("off", "stop recording"));
            off.into_iter().chain(files(&known.files)).collect()
        }
        Argument::Query(_) | Argument::Notify => {
            let off = (argument == Argument::Notify && !later)
                .then(|| plain("off", "remove one alert, or all"));
            let levels = Level::ALL.iter().map(|level| plain(&format!("level:{level}"), ""));
            let stages = Stage::ALL.iter().map(|stage| plain(&format!("stage:{stage}"), ""));
            let fields = [
                ("id:", "a part of the event id"),
                ("dur:>", "took longer than, in ms"),
                ("data.", "a detail: data.url:/checkout"),
            ];
            let fields = fields.into_iter().map(|(word, help)| plain(word, help));
            let projects = known.projects.iter().map(|id| plain(&format!("project:{id}"), ""));
            off.into_iter().chain(levels).chain(stages).chain(fields).chain(projects).collect()
        }
    }
}

/// The alerts that can be removed.
fn watched(known: &Known) -> Vec<Candidate> {
    let all = Candidate { word: "all".to_owned(), help: "remove all".to_owned() };
    let numbered = known
        .watched
        .iter()
        .enumerate()
        .map(|(place, query)| Candidate { word: (place + 1).to_string(), help: query.clone() });
    numbered.chain([all]).collect()
}

fn files(files: &Files) -> Vec<Candidate> {
    files.names.iter().map(|name| Candidate { word: name.clone(), help: String::new() }).collect()
}
