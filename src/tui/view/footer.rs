//! The last two rows: what the log shows and where the reader is, and the keys; or the text
//! field, and what is to be said about it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;

use super::draw::{Segment, joined, put, put_right, put_segments, rule, segments_width, styled};
use super::{alerts, format, palette, prompt};
use crate::keymap;
use crate::keymap::{Action, Binding};
use crate::model::filter::StageSet;
use crate::model::layout::Layout;
use crate::model::pane::{Pane, Wanted};
use crate::model::query::Query;
use crate::model::{Field, Flow, Focus, Letter, Model, PromptPurpose, Purpose, Screen};
use bklit_wire::backend::Change;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::text;
use bklit_wire::time::UtcMillis;

/// Columns of what was typed that are shown of a filter or search.
const MAX_QUERY: usize = 24;

/// Returns where the cursor is, when there is a text field.
pub(super) fn render(model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
    if let Focus::Field(field) = model.focus() {
        let position = render_field(model, field, buf, layout.status);
        under_field(model, field, buf, layout.hints);
        return Some(position);
    }
    if let Focus::Prompt(shown) = model.focus() {
        return Some(prompt::render(model, shown, buf, layout));
    }
    if let Focus::Palette(open) = model.focus() {
        return Some(palette::render(model, open, buf, layout));
    }
    if let Screen::Log = model.screen() {
        status(model, buf, layout.status);
    }
    if let Focus::Letter(letter) = model.focus() {
        marks(model, *letter, buf, layout.hints);
    } else {
        told_or_hints(model, buf, layout.hints);
        // An alert is more, and stands where notices do.
        if let Some(notice) = model.notice().filter(|_| has_alerts(model)) {
            let all = " ".repeat(layout.status.width.into());
            put(buf, layout.status, 0, all.len(), &all, model.options.theme.plain());
            tell(model, notice, buf, layout.status);
        }
    }
    None
}

fn render_field(model: &Model, field: &Field, buf: &mut Buffer, area: Rect) -> Position {
    let theme = model.options.theme;
    let label = match field.purpose {
        Purpose::Search => " Search: ",
        Purpose::Filter => " Filter: ",
    };
    let used = put(buf, area, 0, 12, label, theme.title());
    let result = result(model, field);
    let width = usize::from(area.width);
    put_right(buf, area, width - 1, 30, &result, theme.dim());
    let start = used + 1;
    let room = width.saturating_sub(start + text::width(&result) + 3).max(1);
    let scroll = field.input.visual_scroll(room);
    let value = skip_columns(field.input.value(), scroll);
    put(buf, area, start, room, text::fit(value, room), theme.strong());
    if let Some(problem) = &field.problem {
        // The place of the mistake, where it is in sight.
        let chars = |from, count| field.input.value().chars().skip(from).take(count);
        let columns = |text: String| text::width(&text);
        let from = columns(chars(0, problem.at).collect());
        let to = from + columns(chars(problem.at, problem.length).collect()).max(1);
        let (from, to) = (from.max(scroll), to.min(scroll + room).max(scroll));
        let x = area.x + u16::try_from(start + from - scroll).unwrap_or(0);
        let wide = u16::try_from(to.saturating_sub(from)).unwrap_or(0);
        let place = Rect { x, width: wide, ..area }.intersection(area);
        buf.set_style(place, theme.error().add_modifier(Modifier::UNDERLINED));
    }
    let x = start + field.input.visual_cursor().saturating_sub(scroll).min(room);
    Position { x: area.x + u16::try_from(x).unwrap_or(0), y: area.y }
}

fn skip_columns(value: &str, columns: usize) -> &str {
    &value[text::fit(value, columns).len()..]
}

fn query_of<'a>(model: &'a Model, field: &Field) -> Option<&'a Query> {
    match field.purpose {
        Purpose::Search => model.pane().search(),
        Purpose::Filter => model.pane().filter().query.as_ref(),
    }
}

fn result(model: &Model, field: &Field) -> String {
    if query_of(model, field).is_none() && field.problem.is_none() {
        return String::new();
    }
    let (found, word) = match field.purpose {
        Purpose::Search => (model.pane().found().len(), "found"),
        Purpose::Filter => (model.pane().index().len(), "left"),
    };
    let progress = model.pane().progress(model.ring(), model.limit());
    let progress = progress.map_or_else(String::new, |done| format!(" · {done} %"));
    format!("{} {word}{progress}", format::count(found as u64))
}

fn under_field(model: &Model, field: &Field, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let room = usize::from(area.width) - 2;
    if let Some(problem) = &field.problem {
        put(buf, area, 1, room, &text::safe(&problem.to_string()), theme.error());
    } else if let Some(note) = query_of(model, field).and_then(Query::note) {
        put(buf, area, 1, room, &text::safe(note), theme.warning());
    } else {
        told_or_hints(model, buf, area);
    }
}

/// What there is to be told, and else the keys.
fn told_or_hints(model: &Model, buf: &mut Buffer, area: Rect) {
    match model.notice() {
        _ if has_alerts(model) => alerts::render(model, buf, area),
        Some(notice) => tell(model, notice, buf, area),
        None => hints(model, buf, area),
    }
}

fn has_alerts(model: &Model) -> bool {
    !model.alerts().banners().is_empty()
}

fn tell(model: &Model, notice: &str, buf: &mut Buffer, area: Rect) {
    let room = usize::from(area.width).saturating_sub(2);
    let notice = text::safe(notice);
    put(buf, area, 1, room, &text::clip(&notice, room), model.options.theme.strong());
}

/// What decides which lines are shown, as short phrases.
pub(super) fn shown_by(model: &Model, pane: &Pane) -> Vec<String> {
    let filter = pane.filter();
    let mut phrases = Vec::new();
    if pane.in_context() {
        phrases.push(format!("context ({} goes back)", model.key(Action::Context)));
    }
    if filter.stages != StageSet::ALL {
        let (on, off): (Vec<_>, Vec<_>) =
            Stage::ALL.into_iter().partition(|&stage| filter.stages.contains(Some(stage)));
        let names =
            |stages: &[Stage]| stages.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ");
        phrases.push(match on.len() {
            0 => "no stage".to_owned(),
            1..=3 => format!("only {}", names(&on)),
            _ => format!("without {}", names(&off)),
        });
    }
    match filter.level {
        Level::Info => {}
        Level::Warn => phrases.push("warnings and errors".to_owned()),
        Level::Error => phrases.push("errors".to_owned()),
    }
    if let Some(project) = &filter.project {
        phrases.push(format!("project {}", text::clip(project, MAX_QUERY)));
    }
    if let Some(query) = &filter.query {
        phrases.push(format!("filter {}", quoted(query)));
    }
    if let Some(since) = filter.since {
        phrases.push(format!("since {}", time_of_day(model, since)));
    }
    phrases
}

pub(super) fn time_of_day(model: &Model, time: UtcMillis) -> String {
    let time = time.timestamp().to_zoned_datetime(model.zone.clone());
    time.strftime("%H:%M:%S").to_string()
}

fn quoted(query: &Query) -> String {
    let source = text::safe(query.source());
    format!("“{}”", text::clip(&source, MAX_QUERY))
}

fn status(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let pane = model.pane();
    let mut left: Vec<Vec<Segment>> = shown_by(model, pane)
        .into_iter()
        .map(|phrase| vec![styled(phrase, theme.warning())])
        .collect();
    if left.is_empty() && pane.search().is_none() {
        left.push(vec![styled("all lines", theme.dim())]);
    }
    if let Some(search) = pane.search() {
        let found = pane.found().len() as u64;
        let count = match pane.found_place() {
            Some(place) => {
                format!("{} of {} found", format::count(place as u64 + 1), format::count(found))
            }
            None => format!("{} found", format::count(found)),
        };
        let what = styled(format!("search {} ", quoted(search)), theme.plain());
        left.push(vec![what, styled(count, theme.warning())]);
    }
    let left = joined(left, theme);
    let mut right = amiss(model);
    right.extend(seeking(model));
    if let Some(done) = pane.progress(model.ring(), model.limit()) {
        let does = if pane.filter().shows_all() { "searching" } else { "filtering" };
        right.push(vec![styled(format!("{does} {done} %"), theme.warning())]);
    }
    if !model.shows_all_panes() {
        let panes = model.panes();
        let nth = format!("pane {} of {}", panes.focus() + 1, panes.count());
        right.push(vec![styled(nth, theme.warning())]);
    }
    right.push(vec![place(model)]);
    rule(buf, area, theme, &left, &joined(right, theme));
}

/// The jump on its way.
fn seeking(model: &Model) -> Option<Vec<Segment>> {
    let seek = model.seek()?;
    let wanted = match seek.wanted() {
        Wanted::Level(Level::Error) => "an error",
        Wanted::Level(_) => "a warning or error",
        Wanted::Event(_) => "the event",
        Wanted::Found => "a line found",
    };
    let done = seek.progress(model.ring(), model.limit());
    let end = model.key(Action::Back);
    let says = format!("looking for {wanted} {done} %, {end} stops");
    Some(vec![styled(says, model.options.theme.warning())])
}

/// Why there may be fewer lines than there should.
fn amiss(model: &Model) -> Vec<Vec<Segment>> {
    let theme = model.options.theme;
    let mut items = Vec::new();
    if model.lost() > 0 {
        let lost = format!("{} lost", format::count(model.lost()));
        items.push(vec![styled(lost, theme.warning())]);
    }
    if let Some(recording) = &model.recording {
        let size = format::bytes(recording.bytes);
        let said = match &recording.broke {
            None => styled(format!("recording {size}"), theme.warning()),
            Some(why) => {
                styled(format!("recording ended at {size}: {}", text::safe(why)), theme.error())
            }
        };
        items.push(vec![said]);
        if recording.lost > 0 {
            let lost = format!("{} not recorded", format::count(recording.lost));
            items.push(vec![styled(lost, theme.error())]);
        }
    }
    if let Some(export) = &model.export {
        items.push(vec![styled(format!("exporting {} %", export.progress()), theme.warning())]);
    }
    if let Some((line, _)) = model.replay().and_then(|replay| replay.first_unreadable.as_ref()) {
        let count = model.replay().map_or(1, |replay| replay.unreadable);
        let what = match count {
            1 => format!("line {line} of the file is unreadable"),
            count => {
                format!("{} lines of the file are unreadable, first {line}", format::count(count))
            }
        };
        items.push(vec![styled(what, theme.error())]);
    }
    let sampling = model.figures().summary().sampling;
    if sampling > 1 {
        let shown = format!("1 of {} events shown", format::count(sampling.into()));
        items.push(vec![styled(shown, theme.warning())]);
    }
    items
}

/// Where the reader is.
fn place(model: &Model) -> Segment {
    let theme = model.options.theme;
    let pane = model.pane();
    let shown = pane.index().len() as u64;
    let kept = model.ring().len() as u64;
    let of = if pane.filter().shows_all() || shown == kept {
        format!("{} lines", format::count(shown))
    } else {
        format!("{} of {} lines", format::count(shown), format::count(kept))
    };
    let cursor = pane.window(model.log_height()).cursor.filter(|_| !pane.follows());
    match (cursor, model.flow()) {
        (Some(cursor), _) => {
            let line = format::count(cursor as u64 + 1);
            let line = format!("line {line} of {}", format::count(shown));
            styled(line, theme.plain())
        }
        (None, Flow::Live) => styled(format!("{of} · following"), theme.dim()),
        (None, Flow::Paused { .. }) => styled(format!("{of} · paused"), theme.dim()),
    }
}

/// The marks there are, while a letter is awaited.
fn marks(model: &Model, letter: Letter, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let asked = match letter {
        Letter::Mark => " Mark as: ",
        Letter::Jump => " Go to mark: ",
    };
    let mut x = put(buf, area, 0, 20, asked, theme.title()) + 1;
    let width = usize::from(area.width);
    if model.marks.is_empty() {
        let says = format!("a letter; {} cancels", model.key(Action::Cancel));
        put(buf, area, x, width - x, &says, theme.dim());
    }
    for (name, &number) in &model.marks {
        let message = model.ring().get(number).map_or("no longer kept", |line| line.message());
        let mark = [
            styled(name.to_string(), theme.key()),
            styled(format!(" {}", text::clip(message, MAX_QUERY)), theme.dim()),
        ];
        let needed = segments_width(&mark);
        if x + needed < width {
            x += put_segments(buf, area, x, needed, &mark) + 2;
        }
    }
}

/// What a key does now; `None` when that is nothing.
fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
    match binding.action {
        Action::Accept => Some(match model.focus() {
            Focus::Prompt(asked) => answer(&asked.purpose),
            _ => return binding.hint,
        }),
        Action::Pause if model.flow() != Flow::Live => Some("go on"),
        Action::Follow if model.pane().follows() => None,
        Action::NextMatch | Action::PreviousMatch if model.pane().search().is_none() => None,
        Action::RetryOne | Action::RetryAll | Action::DeleteOne | Action::DeleteAll
            if model.options.read_only =>
        {
            None
        }
        Action::RetryOne | Action::RetryAll | Action::DeleteOne | Action::DeleteAll
            if model.boards().queue.selected_batch().is_some()
                && matches!(model.screen(), Screen::Queue) =>
        {
            None
        }
        Action::NextList if !has_lists(model) => None,
        _ => binding.hint,
    }
}

/// What Enter does to a question.
fn answer(asked: &PromptPurpose) -> &'static str {
    match asked {
        PromptPurpose::QueueFilter { .. } => "keep",
        PromptPurpose::Export => "write",
        PromptPurpose::Confirm(Change::Retry, _) => "retry them",
        PromptPurpose::Confirm(Change::Delete, _) => "delete them",
    }
}

/// Whether there is another list to go to.
fn has_lists(model: &Model) -> bool {
    match model.screen() {
        Screen::Queue => !model.boards().queue.batches().is_empty(),
        _ => model.boards().live.counts().iter().filter(|&&count| count > 0).count() > 1,
    }
}

pub(super) fn hints(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let mut x = 1;
    for binding in keymap::hints(model.context()) {
        let Some(does) = hint(model, binding) else { continue };
        let key =
            styled(keymap::short_label(model.options.shell.bindings.keys(binding)), theme.key());
        let hint = [key, styled(format!(" {does}"), theme.dim())];
        // A hint that does not fit whole is left out, and a shorter one may still fit.
        let needed = segments_width(&hint);
        if x + needed < width {
            x += put_segments(buf, area, x, needed, &hint) + 2;
        }
    }
}
