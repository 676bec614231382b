//! The events of a session, in order.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::{Draw, polled};
use crate::format;
use crate::model::Model;
use crate::model::layout::Layout;
use crate::model::parts::ListParts;
use crate::model::session::{Fate, MAX_ROWS, Session, SessionRow};
use crate::theme::Theme;
use crate::view::draw::{Segment, joined, put, put_segments, row, rule, select, styled};
use crate::view::panel;
use bklit_wire::text;

/// `12:34:56.789`
const TIME: usize = 12;
/// `received`
const FATE: usize = 8;
/// `session_end`
const KIND: usize = 11;
const PROJECT: usize = 14;
/// The end of an event's id.
const ID: usize = 9;
/// The width from which the event's id is shown.
const ID_MIN_WIDTH: usize = 96;

impl Draw for Session {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        render(model, self, buf, layout.overlay());
        None
    }

    fn status(model: &Model, buf: &mut Buffer, area: Rect) {
        if let Some(session) = model.shown::<Self>() {
            let theme = model.options.theme;
            panel::lower(buf, area, (theme, true), &gaps(session, theme), &[]);
        }
    }
}

fn render(model: &Model, session: &Session, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    rule(buf, row(area, 0), theme, &title(session, theme), &summary(model, session));
    let parts = ListParts::of(area);
    let columns = Columns::of(session, parts.list.width.into());
    labels(&columns, buf, parts.labels, theme);
    let (top, selected) = (session.cursor.top(), session.selected());
    let rows = session.rows().iter().enumerate().skip(top).take(parts.list.height.into());
    for (nth, event) in rows {
        event_row(model, event, &columns, nth == selected, buf, row(parts.list, nth - top));
    }
    if session.rows().is_empty() {
        nothing(model, session, buf, parts.list);
    }
    if let Some(event) = session.selected_row().filter(|_| parts.details.height > 0) {
        details(model, event, buf, parts.details);
    }
}

fn title(session: &Session, theme: Theme) -> Vec<Segment> {
    let id = text::safe(session.id()).into_owned();
    let mut title = vec![styled("session ", theme.dim()), styled(id, theme.strong())];
    if let Some(project) = session.project() {
        title.push(styled(format!(" of {}", text::safe(project)), theme.dim()));
    }
    title
}

/// How many events there are, by what became of them.
fn summary(model: &Model, session: &Session) -> Vec<Segment> {
    let theme = model.options.theme;
    let mut items = Vec::new();
    if session.has_work(model.ring()) {
        items.push(vec![styled("searching", theme.warning())]);
    }
    for fate in [Fate::Stored, Fate::Received, Fate::Failed, Fate::Refused] {
        let count = session.count(fate) as u64;
        if count > 0 {
            let says = format!("{} {}", format::count(count), fate.name());
            items.push(vec![styled(says, style(fate, theme))]);
        }
    }
    joined(items, theme)
}

/// What was not searched.
fn gaps(session: &Session, theme: Theme) -> Vec<Segment> {
    let mut items = Vec::new();
    if session.is_cut() {
        let newest = format!("only the newest {}", format::count(MAX_ROWS as u64));
        items.push(vec![styled(newest, theme.warning())]);
    }
    if let Some(why) = polled::error(session.polled()) {
        items.push(vec![styled(format!("not searched: {why}"), theme.warning())]);
    }
    for gap in session.polled().data().into_iter().flatten() {
        items.push(vec![styled(text::safe(gap).into_owned(), theme.warning())]);
    }
    joined(items, theme)
}

fn style(fate: Fate, theme: Theme) -> Style {
    match fate {
        Fate::Note => theme.dim(),
        Fate::Refused => theme.warning(),
        Fate::Received => theme.plain(),
        Fate::Failed => theme.error(),
        Fate::Stored => theme.good(),
    }
}

/// The columns for a width: their starts; optional ones have the width 0.
struct Columns {
    project: usize,
    id: usize,
    what: usize,
    width: usize,
}

impl Columns {
    fn of(session: &Session, width: usize) -> Self {
        let project = if session.project().is_none() && width >= 76 { PROJECT } else { 0 };
        let gap = if project > 0 { 2 } else { 0 };
        let id = if width >= ID_MIN_WIDTH { ID } else { 0 };
        Self { project, id, what: 1 + TIME + 2 + FATE + 2 + KIND + 2 + project + gap, width }
    }
}

fn labels(columns: &Columns, buf: &mut Buffer, at: Rect, theme: Theme) {
    let dim = theme.dim();
    put(buf, at, 1, TIME, "time", dim);
    put(buf, at, 15, FATE, "state", dim);
    put(buf, at, 25, KIND, "type", dim);
    put(buf, at, 38, columns.project, "project", dim);
    put(buf, at, columns.what, 20, "what", dim);
    put(buf, at, columns.width - columns.id - 1, columns.id, "event", dim);
}

fn event_row(
    model: &Model,
    event: &SessionRow,
    columns: &Columns,
    selected: bool,
    buf: &mut Buffer,
    at: Rect,
) {
    let theme = model.options.theme;
    if selected {
        select(buf, at, theme);
    }
    let dim = theme.on(selected, theme.dim());
    put(buf, at, 1, TIME, &time(model, event), dim);
    put(buf, at, 15, FATE, event.fate.name(), theme.on(selected, style(event.fate, theme)));
    put(buf, at, 25, KIND, &text::safe(&event.kind), dim);
    let project = event.project.as_deref().unwrap_or_default();
    put(buf, at, 38, columns.project, &text::safe(project), dim);
    let end = columns.width - 1 - if columns.id > 0 { columns.id + 2 } else { 0 };
    let room = end.saturating_sub(columns.what);
    let mut segments = Vec::new();
    if let Some(reason) = &event.reason {
        let tone = if event.fate == Fate::Note { dim } else { theme.reason() };
        segments.push(styled(text::safe(reason).into_owned(), theme.on(selected, tone)));
        segments.push(styled("  ", dim));
    }
    segments.push(styled(what(event), if event.reason.is_some() { dim } else { theme.plain() }));
    put_segments(buf, at, columns.what, room, &segments);
    if let Some(id) = event.event_id.as_deref().filter(|_| columns.id > 0) {
        let id = text::safe(id);
        put(buf, at, end + 2, columns.id, &text::clip_start(&id, columns.id), dim);
    }
}

/// A time from the store is exact to the second.
fn time(model: &Model, event: &SessionRow) -> String {
    match &event.line {
        Some(_) => model.zoned(event.at).strftime("%H:%M:%S%.3f").to_string(),
        None => model.time_of_day(event.at),
    }
}

fn what(event: &SessionRow) -> String {
    match (&event.line, event.what.is_empty()) {
        (Some(line), true) => line.as_ref().message().to_owned(),
        _ => text::safe(&event.what).into_owned(),
    }
}

fn nothing(model: &Model, session: &Session, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width).saturating_sub(4);
    let is_searching = session.has_work(model.ring())
        || (session.polled().data().is_none() && session.polled().error().is_none());
    let says = match is_searching && model.replay().is_none() {
        true => "searching…",
        false => "No event of this session in the log, the store or the failed queue.",
    };
    put(buf, row(area, 0), 2, width, says, theme.dim());
}

/// The selected event in full.
fn details(model: &Model, event: &SessionRow, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let id = event.event_id.as_deref().map_or("no event id".into(), text::safe);
    rule(buf, row(area, 0), theme, &[styled(id.into_owned(), theme.dim())], &[]);
    let width = usize::from(area.width).saturating_sub(3);
    let mut at = 1;
    let reason = event.reason.as_deref().map(text::safe);
    let what = what(event);
    let parts = [(reason.as_deref(), theme.reason()), (Some(what.as_str()), theme.plain())];
    for (part, style) in parts {
        for piece in part.map(|part| text::wrap(part, width)).into_iter().flatten().take(2) {
            put(buf, row(area, at), 2, width, piece, style);
            at += 1;
        }
    }
}
