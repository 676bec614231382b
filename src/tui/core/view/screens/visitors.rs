//! Current visitors: visitors, page views and events by project, top pages, latest events.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::{Draw, polled};
use crate::format;
use crate::keymap::{Action, Binding};
use crate::model::Model;
use crate::model::layout::{Layout, VisitorsParts};
use crate::model::panels::VisitorsList;
use crate::model::screen::VisitorsScreen;
use crate::view::draw::{
    Segment, put, put_right, put_segments, row, rule, segments_width, select, styled,
};
use bklit_wire::debug_log::Stage;
use bklit_wire::live_view::{ACTIVE_MINUTES, LiveView, MINUTES};
use bklit_wire::text;

/// The width from which long names of projects are shown.
const LONG_NAMES_MIN_WIDTH: usize = 110;
/// The width from which the list of pages shows their projects.
const PAGES_PROJECT_MIN_WIDTH: usize = 90;
/// `1,234 visitors`
const NUMBER: usize = 9;
const PROJECT: usize = 20;
const LONG_PROJECT: usize = 40;
const SHORT_PROJECT: usize = 12;

impl Draw for VisitorsScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        render(model, buf, layout.overlay());
        None
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        let counts = model.panels().visitors.counts();
        let has_lists = counts.iter().filter(|&&count| count > 0).count() > 1;
        binding.hint.filter(|_| binding.action != Action::NextList || has_lists)
    }
}

fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let polled = &model.panels().visitors.polled;
    polled::title(model, "live", Some(polled), buf, row(area, 0));
    let width = usize::from(area.width);
    let Some(view) = polled.data() else {
        let says =
            polled::error(polled).map_or("loading…".into(), |why| format!("Unavailable: {why}"));
        put(buf, row(area, 1), 1, width - 2, &says, theme.dim());
        return;
    };
    if let Some(why) = polled::error(polled) {
        put(buf, row(area, 1), 1, width - 2, &format!("no answer: {why}"), theme.error());
    }
    let parts = model.visitors_parts();
    if polled.error().is_none() {
        summary(model, view, buf, row(area, 1));
    }
    projects_table(model, view, buf, area, usize::from(parts.rows[0]));
    // Including their titles.
    let [_, pages, events] = parts.lists(area);
    let titled = |list: Rect| Rect { y: list.y.saturating_sub(1), height: list.height + 1, ..list };
    top_pages(model, view, buf, titled(pages).intersection(area));
    last_events(model, view, buf, titled(events).intersection(area));
}

/// The title of a list: whether it has the focus, and the reader's position.
fn title(model: &Model, list: VisitorsList, name: String, rows: usize) -> (Segment, Vec<Segment>) {
    let theme = model.options.theme;
    let panel = &model.panels().visitors;
    let is_focused = panel.list() == list;
    let count = panel.counts()[list as usize];
    let style = if is_focused { theme.key() } else { theme.strong() };
    let place = match count {
        0 => Vec::new(),
        count if is_focused || count > rows => {
            let place = format::count(panel.cursor(list).selected() as u64 + 1);
            let of = format::count(count as u64);
            vec![styled(format!("{place} of {of}"), theme.dim())]
        }
        _ => Vec::new(),
    };
    (styled(name, style), place)
}

/// The visible rows of a list: position, whether it is selected, area.
fn rows_of<'a, T>(
    model: &Model,
    list: VisitorsList,
    items: &'a [T],
    area: Rect,
    first: usize,
    rows: usize,
) -> impl Iterator<Item = (&'a T, bool, Rect)> {
    let panel = &model.panels().visitors;
    let cursor = panel.cursor(list);
    let is_focused = panel.list() == list;
    items.iter().enumerate().skip(cursor.top()).take(rows).map(move |(nth, item)| {
        let selected = is_focused && nth == cursor.selected();
        (item, selected, row(area, first + nth - cursor.top()))
    })
}

fn summary(model: &Model, view: &LiveView, buf: &mut Buffer, at: Rect) {
    let theme = model.options.theme;
    let width = usize::from(at.width);
    let visitors: u64 = view.projects.iter().map(|project| project.visitors).sum();
    let word = if visitors == 1 { "visitor" } else { "visitors" };
    let count = view.projects.len() as u64;
    let sign = if view.truncated { "+" } else { "" };
    let projects = if count == 1 { "project" } else { "projects" };
    let said = vec![
        styled(format::count(visitors), theme.good()),
        styled(format!(" {word} in the last {ACTIVE_MINUTES} min, in "), theme.dim()),
        styled(format!("{}{sign}", format::count(count)), theme.strong()),
        styled(format!(" {projects}"), theme.dim()),
    ];
    put_segments(buf, at, 1, width.saturating_sub(2), &said);
}

fn projects_table(model: &Model, view: &LiveView, buf: &mut Buffer, area: Rect, rows: usize) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let labels = row(area, 2);
    let name = if width >= LONG_NAMES_MIN_WIDTH { LONG_PROJECT } else { PROJECT };
    let start = 1 + name + 1;
    let (label, place) = title(model, VisitorsList::Projects, "project".to_owned(), rows);
    put_segments(buf, labels, 1, name, &[label]);
    for (nth, label) in ["visitors", "views", "events"].into_iter().enumerate() {
        put_right(buf, labels, start + (nth + 1) * (NUMBER + 1) - 1, NUMBER, label, theme.dim());
    }
    let chart = start + 3 * (NUMBER + 1);
    // As much of the last half hour as fits.
    let minutes = width.saturating_sub(chart + 1).min(MINUTES);
    let place_width = segments_width(&place);
    let room = width.saturating_sub(chart + place_width + 3);
    let last = format!("views, last {minutes} min");
    let last = if text::width(&last) <= room { last } else { "views".to_owned() };
    put(buf, labels, chart, room, &last, theme.dim());
    put_segments(buf, labels, width.saturating_sub(place_width + 1), place_width, &place);
    if view.projects.is_empty() {
        let says = format!("No event was stored in the last {MINUTES} min.");
        put(buf, row(area, 3), 1, width - 2, &says, theme.dim());
    }
    let first = usize::from(VisitorsParts::HEAD);
    for (project, selected, at) in
        rows_of(model, VisitorsList::Projects, &view.projects, area, first, rows)
    {
        if selected {
            select(buf, at, theme);
        }
        put(buf, at, 1, name, &text::safe(&project.project_id), theme.plain());
        let figures = [
            (project.visitors, theme.good()),
            (project.page_views.iter().sum(), theme.strong()),
            (project.events.iter().sum(), theme.strong()),
        ];
        for (nth, (figure, style)) in figures.into_iter().enumerate() {
            let end = start + (nth + 1) * (NUMBER + 1) - 1;
            put_right(buf, at, end, NUMBER, &format::count(figure), style);
        }
        let views = &project.page_views[project.page_views.len().saturating_sub(minutes)..];
        put(buf, at, chart, minutes, &bars(views), theme.dim());
    }
}

/// The counts as bars; the highest bar is the maximum.
fn bars(counts: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |&count: &u64| match count {
        0 => ' ',
        count => BARS[((count as f64 / most as f64 * 7.0).round() as usize).min(BARS.len() - 1)],
    };
    counts.iter().map(bar).collect()
}

fn top_pages(model: &Model, view: &LiveView, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let rows = usize::from(area.height.saturating_sub(1));
    let name = format!("top pages, last {MINUTES} min");
    let (name, place) = title(model, VisitorsList::Pages, name, rows);
    rule(buf, row(area, 0), theme, &[name], &place);
    for (page, selected, at) in rows_of(model, VisitorsList::Pages, &view.top_pages, area, 1, rows)
    {
        if selected {
            select(buf, at, theme);
        }
        put_right(buf, at, 1 + NUMBER, NUMBER, &format::count(page.views), theme.strong());
        let mut x = NUMBER + 3;
        if width >= PAGES_PROJECT_MIN_WIDTH {
            let dim = theme.on(selected, theme.dim());
            put(buf, at, x, SHORT_PROJECT, &text::safe(&page.project_id), dim);
            x += SHORT_PROJECT + 1;
        }
        put(buf, at, x, width.saturating_sub(x + 1), &text::safe(&page.url), theme.plain());
    }
    if view.top_pages.is_empty() {
        put(buf, row(area, 1), 1, width.saturating_sub(2), "none", theme.dim());
    }
}

fn last_events(model: &Model, view: &LiveView, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let rows = usize::from(area.height.saturating_sub(1));
    let (name, place) = title(model, VisitorsList::Events, "last events stored".to_owned(), rows);
    rule(buf, row(area, 0), theme, &[name], &place);
    for (event, selected, at) in
        rows_of(model, VisitorsList::Events, &view.last_events, area, 1, rows)
    {
        if selected {
            select(buf, at, theme);
        }
        let time = event.at.map_or_else(String::new, |at| model.time_of_day(at));
        put(buf, at, 1, 8, &time, theme.on(selected, theme.dim()));
        put(buf, at, 10, SHORT_PROJECT, &text::safe(&event.project_id), theme.plain());
        put(buf, at, 23, 8, &text::safe(&event.r#type), theme.stage(Stage::Pubsub));
        put(buf, at, 32, width.saturating_sub(33), &text::safe(&event.what), theme.plain());
    }
    if view.last_events.is_empty() {
        put(buf, row(area, 1), 1, width.saturating_sub(2), "none", theme.dim());
    }
}
