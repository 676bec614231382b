//! The palette: input, completion, and the execution of commands.

use std::collections::BTreeSet;
use std::sync::Arc;

use crossterm::event::{Event, KeyEvent};
use tui_input::backend::crossterm::to_input_request;
use tui_input::{Input, InputRequest};

use super::field::{self, save_histories, set_filter};
use super::screens::{self, history, session, sql, trace};
use super::{alerts, mouse, navigation, timeline, typing};
use crate::format;
use crate::keymap::{Action, Context};
use crate::model::export::Export;
use crate::model::filter::Filter;
use crate::model::palette::commands;
use crate::model::palette::commands::{Argument, Command, Format, Switch};
use crate::model::palette::{Known, Palette};
use crate::model::query::Query;
use crate::model::screen::{Help, SqlRow, SqlScreen};
use crate::model::{Focus, Model, Purpose, Recording, Screen};
use crate::msg::{Effect, Job, Target};
use crate::requests::Request;
use crate::settings::skin_of;
use bklit_wire::pause::Pausable;
use bklit_wire::time::UtcMillis;

/// The most characters in a command.
const MAX_CHARS: usize = 1_000;
/// How many of the newest lines are searched for projects to complete.
const PROJECTS_OF_LINES: u64 = 20_000;
const MAX_PROJECTS: usize = 50;

/// Opens the palette.
pub(super) fn open(model: &mut Model) {
    let newest = model.ring.next().saturating_sub(PROJECTS_OF_LINES)..model.ring.next();
    let mut projects = BTreeSet::new();
    for (_, line) in model.ring.lines(newest) {
        if let Some(id) = line.project_id()
            && projects.len() < MAX_PROJECTS
            && !projects.contains(id)
        {
            projects.insert(id.to_owned());
        }
    }
    model.refresh_processes();
    let filters = model.filters.iter().map(|(name, query)| (name.clone(), query.clone()));
    let known = Known {
        queries: model.saved_queries().into_iter().map(|saved| (saved.name, saved.help)).collect(),
        skins: model.options.shell.skins.keys().cloned().collect(),
        projects: projects.into_iter().collect(),
        processes: model.panels.processes.rows().iter().map(|row| row.process.clone()).collect(),
        filters: filters.collect(),
        watched: model.alerts.watched().map(|query| query.source().to_owned()).collect(),
        ..Known::default()
    };
    model.focus = Focus::Palette(Box::new(Palette::new(known)));
}

/// Handles a key of the palette.
pub(super) fn act(model: &mut Model, action: Action) -> Option<Effect> {
    let Focus::Palette(palette) = &mut model.focus else { return None };
    match action {
        Action::Accept => return accept(model),
        Action::Cancel => model.focus = Focus::Keys,
        Action::NextCandidate => palette.choose(true),
        Action::PreviousCandidate => palette.choose(false),
        Action::OlderCommand => palette.recall(&model.histories.commands, true),
        _ => palette.recall(&model.histories.commands, false),
    }
    list_files(model)
}

/// Inserts or edits with a key that is not bound.
pub(super) fn type_key(model: &mut Model, key: &KeyEvent) -> Option<Effect> {
    match to_input_request(&Event::Key(*key))? {
        InputRequest::InsertChar(c) => insert(model, c.encode_utf8(&mut [0; 4])),
        request => edit(model, |input| Ok(_ = typing::edit(input, [request], MAX_CHARS))),
    }
}

/// Inserts a typed or pasted text, on one line and without what cannot be shown. Either all of it
/// is inserted or nothing, and into a query only text that need not be changed.
pub(super) fn insert(model: &mut Model, text: &str) -> Option<Effect> {
    edit(model, |input| {
        let is_at_end = input.cursor() == input.value().chars().count();
        let text = if is_at_end { text.trim_end_matches(['\r', '\n']) } else { text };
        let whole = typing::inserted(input, text);
        if whole.chars().count() > MAX_CHARS {
            return Err(typing::too_long(MAX_CHARS));
        }
        let one_line = text.replace("\r\n", " ");
        let chars = one_line.chars().map(|c| if c.is_control() { ' ' } else { c });
        typing::edit(input, chars.map(InputRequest::InsertChar), MAX_CHARS);
        if is_sql(input.value()) && input.value() != whole {
            return Err("not inserted: several lines, or what cannot be shown, can only be \
                        inserted on the screen that :sql opens"
                .to_owned());
        }
        Ok(())
    })
}

/// Whether a command is a query on the store.
fn is_sql(line: &str) -> bool {
    let (name, _) = commands::split(line);
    commands::find(name).is_some_and(|(spec, _)| spec.argument == Argument::Sql)
}

/// Changes the input, unless that fails.
fn edit(
    model: &mut Model,
    change: impl FnOnce(&mut Input) -> Result<(), String>,
) -> Option<Effect> {
    let Focus::Palette(palette) = &mut model.focus else { return None };
    model.dirty = true;
    let mut input = palette.input.clone();
    if let Err(problem) = change(&mut input) {
        (palette.problem, palette.is_cut) = (Some(problem), true);
        return None;
    }
    let has_changed = input.value() != palette.input.value();
    palette.input = input;
    if !has_changed {
        return None;
    }
    (palette.problem, palette.is_cut) = (None, false);
    palette.complete();
    list_files(model)
}

/// Requests the files of the directory being typed.
pub(super) fn list_files(model: &Model) -> Option<Effect> {
    let Focus::Palette(palette) = &model.focus else { return None };
    palette.wanted_dir().map(|dir| Effect::Job(Job::ListFiles(dir)))
}

/// Handles the list of a directory's files.
pub(super) fn take_files(model: &mut Model, dir: String, names: Vec<String>) {
    let Focus::Palette(palette) = &mut model.focus else { return };
    // Another directory was typed meanwhile.
    if palette.wanted_dir().as_ref() != Some(&dir) {
        return;
    }
    palette.known.files = crate::model::palette::Files { dir, names };
    palette.complete();
    model.dirty = true;
}

/// Executes the command; after an error the palette stays open.
fn accept(model: &mut Model) -> Option<Effect> {
    let Focus::Palette(palette) = &mut model.focus else { return None };
    let line = palette.input.value().trim().trim_start_matches(':').to_owned();
    if line.is_empty() {
        model.focus = Focus::Keys;
        return None;
    }
    if palette.is_cut {
        let says = "not executed: what was inserted last did not fit; change the command first";
        palette.problem = Some(says.to_owned());
        return None;
    }
    match commands::parse(&line).and_then(|command| carry_out(model, command)) {
        Ok(effect) => {
            if model.histories.commands.remember(&line) {
                save_histories(model);
            }
            if let Focus::Palette(_) = model.focus {
                model.focus = Focus::Keys;
            }
            effect
        }
        Err(problem) => {
            if let Focus::Palette(palette) = &mut model.focus {
                palette.problem = Some(problem);
            }
            None
        }
    }
}

fn carry_out(model: &mut Model, command: Command) -> Result<Option<Effect>, String> {
    if changes_the_log(&command) {
        model.screens.clear();
    }
    match command {
        Command::Since(ago) => {
            let now = model.now.epoch_millis();
            let since = ago.map(|ago| {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                UtcMillis::from_epoch_millis(now.saturating_sub(ago))
            });
            set_filter(model, |filter| filter.since = since);
        }
        Command::Query(purpose, query) => {
            field::apply(model, purpose, query);
            if purpose == Purpose::Search {
                let height = model.log_height();
                model.panes.focused_mut().reveal_found(height);
            }
        }
        Command::Level(level) => set_filter(model, |filter| filter.level = level),
        Command::Process(process) => field::set_process(model, process),
        Command::Project(project) => set_filter(model, |filter| filter.project = project),
        Command::Export(target, format) => return export(model, target, format).map(Some),
        Command::Record(target) => return record(model, target),
        Command::Notify(what) => alerts::notify(model, what)?,
        Command::History(topic) => return Ok(history::open(model, topic)),
        Command::Timeline => timeline::toggle(model),
        Command::Trace(id) => return Ok(trace::open_id(model, id)),
        Command::Session(id) => return Ok(session::open_id(model, id)),
        Command::Sql(query) => return Ok(sql::open(model, query)),
        Command::Save(name) => return save(model, name).map(Some),
        Command::Load(name) => load(model, &name)?,
        Command::Theme(name) => {
            let skin = skin_of(&name, &model.options.shell.skins)?;
            model.options.theme = model.options.theme.with_skin(skin);
            model.theme_name = name;
            if !model.options.theme.has_colours() {
                model.notify("this terminal has no colours (NO_COLOR or TERM=dumb)");
            }
        }
        Command::Set(switch, on) => return Ok(set(model, switch, on)),
        Command::Pause(part, reason) => return pause(model, part, true, reason).map(Some),
        Command::Resume(part) => return pause(model, part, false, None).map(Some),
        Command::GoTo(moment) => navigation::go_to(model, moment),
        Command::Open(view) => return Ok(screens::open(model, view)),
        Command::Help => {
            let filter = String::new();
            model.push_screen(Screen::Help(Help { scroll: 0, of: Context::Log, filter }));
        }
        Command::Quit => return Ok(Some(Effect::Quit)),
    }
    Ok(None)
}

/// Pauses or resumes a part of the pipeline.
fn pause(
    model: &Model,
    part: Pausable,
    paused: bool,
    reason: Option<String>,
) -> Result<Effect, String> {
    if model.options.read_only {
        return Err("the console is read-only".to_owned());
    }
    Ok(Effect::Ask(Request::Pause { part, paused, reason }))
}

/// Whether the effect of a command is visible on the log's screen.
fn changes_the_log(command: &Command) -> bool {
    use Command::{GoTo, Level, Load, Process, Project, Query, Since, Timeline};
    matches!(
        command,
        Since(_) | Query(..) | Level(_) | Project(_) | Process(_) | Load(_) | GoTo(_) | Timeline
    )
}

fn export(model: &mut Model, target: Target, format: Format) -> Result<Effect, String> {
    let shows_result = model.shown::<SqlScreen>().is_some() || model.shown::<SqlRow>().is_some();
    if shows_result && let Some(table) = model.panels.sql.table() {
        let rows = Export::of_rows(Arc::clone(table), format);
        return begin_export(model, rows, target);
    }
    let filter = model.pane().filter().clone();
    export_lines(model, filter, target, format)
}

/// Exports the lines that pass a filter.
pub(super) fn export_lines(
    model: &mut Model,
    filter: Filter,
    target: Target,
    format: Format,
) -> Result<Effect, String> {
    let first = model.ring.first_of(filter.level);
    let lines = Export::new(filter, format, first, model.limit());
    begin_export(model, lines, target)
}

/// Starts an export, unless one is in progress.
pub(super) fn begin_export(
    model: &mut Model,
    export: Export,
    target: Target,
) -> Result<Effect, String> {
    if model.export.is_some() {
        return Err("an export is in progress".to_owned());
    }
    model.export = Some(export);
    Ok(Effect::Job(Job::BeginExport(target)))
}

/// Requests the next piece of an export, or its end.
pub(super) fn export_piece(model: &mut Model) -> Option<Effect> {
    let export = model.export.as_mut().filter(|export| !export.waits)?;
    model.dirty = true;
    match export.piece(&model.ring) {
        Some(piece) => Some(Effect::Job(Job::ExportPiece(piece))),
        None => {
            export.waits = true;
            Some(Effect::Job(Job::EndExport))
        }
    }
}

/// An export has ended: its file's path, or the error.
pub(super) fn exported(model: &mut Model, outcome: Result<String, String>) {
    model.dirty = true;
    let Some(export) = model.export.take() else { return };
    model.notify(match outcome {
        Ok(path) => {
            let missed = match export.missed {
                0 => String::new(),
                missed => format!("; {} were no longer kept", format::count(missed)),
            };
            format!("exported {} to {path}{missed}", format::plural(export.lines, export.noun()))
        }
        Err(error) => format!("not exported: {error}"),
    });
}

fn record(model: &mut Model, target: Option<Target>) -> Result<Option<Effect>, String> {
    match (&target, &model.recording) {
        (None, Some(Recording { broke: Some(_), .. })) => {
            // This acknowledges that recording stopped.
            model.recording = None;
            Ok(None)
        }
        (Some(_), Some(recording)) if recording.broke.is_none() => {
            Err(format!("already recording to {}; :record off stops it", recording.path))
        }
        (None, None) => Err("not recording".to_owned()),
        _ => Ok(Some(Effect::Job(Job::Record(target)))),
    }
}

fn save(model: &mut Model, name: String) -> Result<Effect, String> {
    let Some(query) = &model.pane().filter().query else {
        let key = model.key(Action::Filter);
        return Err(format!("this pane has no filter to save; {key} or :filter sets one"));
    };
    let query = query.source().to_owned();
    model.filters.insert(name.clone(), query.clone());
    model.notify(format!("saved; :load {name} applies it"));
    Ok(Effect::Job(Job::SaveFilter { name, query }))
}

fn load(model: &mut Model, name: &str) -> Result<(), String> {
    let Some(source) = model.filters.get(name) else {
        let names: Vec<_> = model.filters.keys().map(String::as_str).collect();
        return Err(match names.as_slice() {
            [] => "no saved filters; :save NAME saves this pane's".to_owned(),
            names => format!("unknown filter {name} ({})", names.join(", ")),
        });
    };
    let query = Query::parse(source, Purpose::Filter)
        .map_err(|mistake| format!("filter {name}: {mistake}"))?;
    field::apply(model, Purpose::Filter, query);
    Ok(())
}

fn set(model: &mut Model, switch: Switch, on: bool) -> Option<Effect> {
    match switch {
        Switch::Utc => model.zone = model.options.zone(on),
        Switch::Ascii => model.ascii = on,
        Switch::Mouse => return mouse::set(model, on),
        Switch::Wrap => screens::set_wraps(model, on),
        Switch::Fold => {
            let (limit, height) = (model.limit(), model.log_height());
            model.panes.focused_mut().set_folds(on, &model.ring, limit, height);
        }
    }
    None
}
