//! The last rows: what the log shows and the reader's position, the alerts, and the keys; or the
//! text field and a message about it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Modifier;

use super::draw::{clear, put, put_message, put_right, put_segments, segments_width, styled};
use super::{MAX_QUERY, alerts, bulk, palette, prompt, screens};
use crate::bulk::Operation;
use crate::format;
use crate::keymap;
use crate::keymap::{Action, Binding, Context};
use crate::model::layout::Layout;
use crate::model::query::Query;
use crate::model::{Field, Focus, Letter, Model, PromptPurpose, Purpose};
use bklit_wire::text;

/// Returns the cursor's position, if there is a text field.
pub(super) fn render(model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
    bulk::render(model, buf, layout.bulk);
    alerts::render(model, buf, layout.alerts);
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
    screens::status(model, buf, layout);
    if let Focus::Letter(letter) = model.focus() {
        marks(model, *letter, buf, layout.hints);
    } else {
        notice_or_hints(model, buf, layout.hints);
    }
    None
}

fn render_field(model: &Model, field: &Field, buf: &mut Buffer, area: Rect) -> Position {
    let theme = model.options.theme;
    let label = match field.purpose {
        Purpose::Search => " Search: ",
        Purpose::Filter => " Filter: ",
    };
    clear(buf, area, 0, area.width.into());
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
        // The position of the error, if it is visible.
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

fn result(model: &Model, field: &Field) -> String {
    if model.query_of(field.purpose).is_none() && field.problem.is_none() {
        return String::new();
    }
    let found = match field.purpose {
        Purpose::Search => model.pane().found().len(),
        Purpose::Filter => model.pane().index().len(),
    };
    let progress = model.pane().progress(model.ring(), model.limit());
    let progress = progress.map_or_else(String::new, |done| format!(" · {done} %"));
    format!("{} match{progress}", format::count(found as u64))
}

fn under_field(model: &Model, field: &Field, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    if let Some(problem) = &field.problem {
        put_message(buf, area, &text::safe(&problem.to_string()), theme.error());
    } else if let Some(note) = model.query_of(field.purpose).and_then(Query::note) {
        put_message(buf, area, &text::safe(note), theme.warning());
    } else {
        notice_or_hints(model, buf, area);
    }
}

/// The notice, otherwise the keys.
fn notice_or_hints(model: &Model, buf: &mut Buffer, area: Rect) {
    match model.notice() {
        Some(notice) => show_notice(model, notice, buf, area),
        None => hints(model, buf, area),
    }
}

fn show_notice(model: &Model, notice: &str, buf: &mut Buffer, area: Rect) {
    put_message(buf, area, &text::safe(notice), model.options.theme.strong());
}

/// The existing marks, while a letter is expected.
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

/// What a key currently does; `None` if nothing.
fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
    match model.focus() {
        Focus::Prompt(asked) if binding.action == Action::Accept => Some(answer(&asked.purpose)),
        _ => screens::hint(model, binding),
    }
}

/// What Enter does in a prompt.
fn answer(asked: &PromptPurpose) -> &'static str {
    match asked {
        PromptPurpose::QueueFilter { .. } | PromptPurpose::HelpFilter { .. } => "apply",
        PromptPurpose::Rule(..) => "preview",
        PromptPurpose::Export(_) => "export",
        PromptPurpose::Delete(_) => Operation::Delete.verb(),
        PromptPurpose::Confirm(plan) => plan.operation.verb(),
    }
}

/// The keys of a replay; they come in pairs.
fn replay_keys(model: &Model) -> Vec<(String, &'static str)> {
    let pair = |one, other| format!("{} {}", model.key(one), model.key(other));
    match model.context() {
        Context::Log if model.replay().is_some() => vec![
            (pair(Action::Slower, Action::Faster), "speed"),
            (pair(Action::SeekBack, Action::SeekOn), "10 s"),
        ],
        _ => Vec::new(),
    }
}

pub(super) fn hints(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let mut x = 1;
    for (key, does) in replay_keys(model) {
        let hint = [styled(key, theme.key()), styled(format!(" {does}"), theme.dim())];
        x += put_segments(buf, area, x, width.saturating_sub(x), &hint) + 2;
    }
    for binding in keymap::hints(model.context()) {
        let Some(does) = hint(model, binding) else { continue };
        let key =
            styled(keymap::short_label(model.options.shell.bindings.keys(binding)), theme.key());
        let hint = [key, styled(format!(" {does}"), theme.dim())];
        // A hint that does not fit is left out; a shorter one may still fit.
        let needed = segments_width(&hint);
        if x + needed < width {
            x += put_segments(buf, area, x, needed, &hint) + 2;
        }
    }
}
