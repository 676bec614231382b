//! Who is there now: visitors, page views and events by project, top pages, last events.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{put, put_right, row, rule, styled};
use super::{boards, format};
use crate::pipeline::debug_log::Stage;
use crate::pipeline::store::live::{ACTIVE_MINUTES, LiveView, MINUTES};
use crate::tui::model::Model;
use crate::tui::text;

/// From this width on top pages and last events stand side by side.
const SIDE_BY_SIDE: u16 = 110;
/// `1,234 visitors`
const NUMBER: usize = 9;
const PROJECT: usize = 20;

pub(super) fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let polled = &model.boards().live;
    boards::title(model, "live", Some(polled), buf, row(area, 0));
    let width = usize::from(area.width);
    let Some(view) = polled.data() else {
        let says = boards::error(polled)
            .map_or("asking the store…".into(), |why| format!("Not known: {why}"));
        put(buf, row(area, 1), 1, width - 2, &says, theme.dim());
        return;
    };
    if let Some(why) = boards::error(polled) {
        put(buf, row(area, 1), 1, width - 2, &format!("no answer: {why}"), theme.error());
    }
    let room = usize::from(area.height).saturating_sub(3);
    let lists = if area.width >= SIDE_BY_SIDE { 1 } else { 2 };
    let projects = view.projects.len().clamp(1, (room / (lists + 1)).saturating_sub(1).max(1));
    if polled.error().is_none() {
        summary(model, view, projects, buf, row(area, 1));
    }
    projects_table(model, view, buf, area, projects);
    let rest = Rect {
        y: area.y + u16::try_from(3 + projects).unwrap_or(u16::MAX),
        height: area.height.saturating_sub(u16::try_from(3 + projects).unwrap_or(u16::MAX)),
        ..area
    };
    if lists == 1 {
        let half = rest.width / 2;
        top_pages(model, view, buf, Rect { width: half, ..rest });
        last_events(model, view, buf, Rect { x: rest.x + half, width: rest.width - half, ..rest });
    } else {
        let half = rest.height / 2;
        top_pages(model, view, buf, Rect { height: half, ..rest });
        last_events(
            model,
            view,
            buf,
            Rect { y: rest.y + half, height: rest.height - half, ..rest },
        );
    }
}

fn summary(model: &Model, view: &LiveView, rows: usize, buf: &mut Buffer, at: Rect) {
    let theme = model.options.theme;
    let visitors: u64 = view.projects.iter().map(|project| project.visitors).sum();
    let word = if visitors == 1 { "visitor" } else { "visitors" };
    let used = put(buf, at, 1, NUMBER, &format::count(visitors), theme.good());
    let says = format!("{word} in the last {ACTIVE_MINUTES} min");
    put(buf, at, used + 2, usize::from(at.width).saturating_sub(used + 3), &says, theme.dim());
    let more = view.projects.len().saturating_sub(rows);
    if more > 0 || view.truncated {
        let sign = if view.truncated { "+" } else { "" };
        let projects = if more == 1 { "project" } else { "projects" };
        let says = format!("{more}{sign} more {projects}");
        put_right(buf, at, usize::from(at.width) - 1, 22, &says, theme.warning());
    }
}

fn projects_table(model: &Model, view: &LiveView, buf: &mut Buffer, area: Rect, rows: usize) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let labels = row(area, 2);
    let start = 1 + PROJECT + 1;
    // As much of the last half hour as there is room for.
    let minutes = width.saturating_sub(start + 3 * (NUMBER + 1) + 1).min(MINUTES);
    put(buf, labels, 1, PROJECT, "project", theme.dim());
    for (nth, label) in ["visitors", "views", "events"].into_iter().enumerate() {
        put_right(buf, labels, start + (nth + 1) * (NUMBER + 1) - 1, NUMBER, label, theme.dim());
    }
    let chart = start + 3 * (NUMBER + 1);
    let last = format!("views, last {minutes} min");
    put(buf, labels, chart, width.saturating_sub(chart + 1), &last, theme.dim());
    if view.projects.is_empty() {
        let says = format!("No event was stored in the last {MINUTES} min.");
        put(buf, row(area, 3), 1, width - 2, &says, theme.dim());
    }
    for (nth, project) in view.projects.iter().take(rows).enumerate() {
        let at = row(area, 3 + nth);
        put(buf, at, 1, PROJECT, &text::safe(&project.project_id), theme.plain());
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
        put(buf, at, chart, minutes, &bars(views), theme.stage(Stage::Pubsub));
    }
}

/// The counts as bars, the highest of which is the maximum.
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
    let title = format!("top pages, last {MINUTES} min");
    rule(buf, row(area, 0), theme, &[styled(title, theme.strong())], &[]);
    let rows = usize::from(area.height.saturating_sub(1));
    for (nth, page) in view.top_pages.iter().take(rows).enumerate() {
        let at = row(area, 1 + nth);
        put_right(buf, at, 1 + NUMBER, NUMBER, &format::count(page.views), theme.strong());
        put(
            buf,
            at,
            NUMBER + 3,
            width.saturating_sub(NUMBER + 4),
            &text::safe(&page.url),
            theme.plain(),
        );
    }
    if view.top_pages.is_empty() {
        put(buf, row(area, 1), 1, width.saturating_sub(2), "none", theme.dim());
    }
}

fn last_events(model: &Model, view: &LiveView, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    rule(buf, row(area, 0), theme, &[styled("last events stored", theme.strong())], &[]);
    let rows = usize::from(area.height.saturating_sub(1));
    for (nth, event) in view.last_events.iter().take(rows).enumerate() {
        let at = row(area, 1 + nth);
        let time = event.at.map_or_else(String::new, |at| {
            let at = at.timestamp().to_zoned_datetime(model.zone.clone());
            at.strftime("%H:%M:%S").to_string()
        });
        put(buf, at, 1, 8, &time, theme.dim());
        put(buf, at, 10, 12, &text::safe(&event.project_id), theme.plain());
        put(buf, at, 23, 8, &text::safe(&event.r#type), theme.stage(Stage::Pubsub));
        put(buf, at, 32, width.saturating_sub(33), &text::safe(&event.what), theme.plain());
    }
    if view.last_events.is_empty() {
        put(buf, row(area, 1), 1, width.saturating_sub(2), "none", theme.dim());
    }
}
