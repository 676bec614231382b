//! The problems: a row for each group, and the details of the selected one.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::{Draw, leads, polled};
use crate::format;
use crate::keymap::{Action, Binding};
use crate::model::Model;
use crate::model::grouping::{ByProject, Group};
use crate::model::layout::Layout;
use crate::model::panels::{Problem, ProblemKey, ProblemsPanel};
use crate::model::parts::ListParts;
use crate::model::screen::ProblemsScreen;
use crate::theme::Theme;
use crate::view::draw::{
    Segment, joined, put, put_right, put_segments, row, rule, segments_width, select, styled,
};
use crate::view::panel;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::time::UtcMillis;
use bklit_wire::{reason, text};

/// `1,234 k`
const COUNT: usize = 6;
/// The most cells of a trend: ten minutes, or an hour in parts of five minutes.
const TREND: usize = 12;
/// `12:34:56`
const FIRST: usize = 8;
/// The most columns of a project.
const PROJECT: usize = 14;
/// `1,234 k`
const FAILED: usize = 6;
/// The names of the columns before the reason.
const NAMES: [&str; 7] = ["count", "trend", "first", "last", "failed", "where", "project"];

/// The columns, as wide as what is in them. A column that is left out has the width 0: one without
/// space, or that is empty in all rows.
struct Columns {
    /// Their widths from left to right, without the reason.
    widths: [usize; 7],
}

impl Columns {
    fn of(model: &Model, width: usize) -> Self {
        let problems = &model.panels().problems;
        let rows = || problems.rows().iter();
        let widest = |nth: usize, texts: &mut dyn Iterator<Item = String>| {
            let widest = texts.map(|text| text::width(&text)).max().unwrap_or(0);
            if widest == 0 { 0 } else { widest.max(NAMES[nth].len()) }
        };
        let last = widest(3, &mut rows().map(|problem| last(model, problem)));
        let failed = rows().any(|problem| problem.failed.is_some());
        let places = widest(5, &mut rows().map(|problem| place(model, problem).join(" ")));
        let project = |problem| problems.projects(problem).map_or_else(String::new, one_project);
        let project = widest(6, &mut rows().map(project));
        let all = [COUNT, trend(problems), FIRST, last, FAILED, places, project];
        Self::fitting(width, all, failed)
    }

    /// Of columns of these widths, those for which there is space.
    fn fitting(width: usize, all: [usize; 7], has_failed: bool) -> Self {
        let [count, trend, first, last, failed, place, project] = all;
        let from = |least: usize, column: usize| if width >= least { column } else { 0 };
        let failed = if has_failed { from(70, failed) } else { 0 };
        let (trend, first, project) = (from(78, trend), from(100, first), from(112, project));
        Self { widths: [count, trend, first, last, failed, place, project] }
    }

    /// The start of each column, and of the reason.
    fn starts(&self) -> [usize; 8] {
        let mut starts = [3; 8];
        for (nth, width) in self.widths.into_iter().enumerate() {
            let gap = if width > 0 { 2 } else { 0 };
            starts[nth + 1] = starts[nth] + width + gap;
        }
        starts
    }

    /// Writes a cell; numbers and times are right-aligned.
    fn put(&self, buf: &mut Buffer, at: Rect, nth: usize, what: &str, style: Style) -> usize {
        let (start, width) = (self.starts()[nth], self.widths[nth]);
        if matches!(NAMES[nth], "count" | "failed" | "last") {
            put_right(buf, at, start + width, width, what, style);
            return width;
        }
        put(buf, at, start, width, what, style)
    }
}

/// The cells of a trend.
fn trend(problems: &ProblemsPanel) -> usize {
    problems.span().minutes().map_or(TREND, |minutes| minutes.min(TREND))
}

impl Draw for ProblemsScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        render(model, buf, layout.overlay());
        None
    }

    fn status(model: &Model, buf: &mut Buffer, area: Rect) {
        panel::lower(buf, area, (model.options.theme, true), &queue_state(model), &[]);
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        let problems = &model.panels().problems;
        let selected = problems.selected();
        let has_failed = selected.is_some_and(|problem| problem.failed.is_some());
        let group = selected.and_then(|problem| problems.group(problem));
        let mut lines = group.into_iter().flat_map(|group| group.last_lines.iter().rev());
        let newest = lines.find_map(|&number| model.ring().get(number));
        match binding.action {
            Action::Trace | Action::Session => {
                let leads = newest.map_or(has_failed, |line| leads(line, binding.action));
                binding.hint.filter(|_| leads)
            }
            Action::RetryGroup | Action::DeleteGroup => binding.hint.filter(|_| has_failed),
            Action::GroupLines | Action::ExportGroup => binding.hint.filter(|_| selected.is_some()),
            _ => binding.hint,
        }
    }
}

fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let problems = &model.panels().problems;
    rule(buf, row(area, 0), theme, &title(problems, theme), &total(model, problems));
    let parts = ListParts::of(area);
    let columns = Columns::of(model, parts.list.width.into());
    labels(&columns, buf, parts.labels, theme);
    let height = usize::from(parts.list.height);
    let (top, selected) = (problems.cursor().top(), problems.cursor().selected());
    for (nth, problem) in problems.rows().iter().enumerate().skip(top).take(height) {
        let at = row(parts.list, nth - top);
        problem_row(model, problem, &columns, nth == selected, buf, at);
    }
    if problems.rows().is_empty() {
        nothing(model, buf, parts.list);
    }
    if let Some(problem) = problems.selected().filter(|_| parts.details.height > 0) {
        details(model, problem, buf, parts.details);
    }
}

fn title(problems: &ProblemsPanel, theme: Theme) -> Vec<Segment> {
    let dim = format!(" · {} · {}", problems.span().name(), problems.sort().name());
    vec![styled("problems", theme.strong()), styled(dim, theme.dim())]
}

fn total(model: &Model, problems: &ProblemsPanel) -> Vec<Segment> {
    let rows = problems.rows();
    let lines: u64 = rows.iter().map(|problem| problems.count(problem, model.now)).sum();
    let groups = format::plural(rows.len() as u64, "group");
    let mut says = format!("{groups}, {}", format::count(lines));
    let evicted = problems.groups().evicted();
    if evicted.groups > 0 {
        says.push_str(&format!(" · {} older groups dropped", format::count(evicted.groups)));
    }
    vec![styled(says, model.options.theme.dim())]
}

/// Whether all failed events are known.
fn queue_state(model: &Model) -> Vec<Segment> {
    let (theme, queue) = (model.options.theme, &model.panels().queue);
    let mut items = Vec::new();
    if let Some(why) = polled::error(&queue.polled) {
        items.push(vec![styled(format!("failed events unknown: {why}"), theme.warning())]);
    } else if queue.unknown() > 0 {
        let (all, unknown) = (queue.all().len() as u64, queue.unknown());
        let says = format!(
            "grouped the newest {} failed events, not {} older ones",
            format::count(all),
            format::count(unknown)
        );
        items.push(vec![styled(says, theme.warning())]);
    }
    joined(items, theme)
}

fn labels(columns: &Columns, buf: &mut Buffer, at: Rect, theme: Theme) {
    for (nth, name) in NAMES.into_iter().enumerate() {
        columns.put(buf, at, nth, name, theme.dim());
    }
    put(buf, at, columns.starts()[7], usize::from(at.width), "reason", theme.dim());
}

fn problem_row(
    model: &Model,
    problem: &Problem,
    columns: &Columns,
    selected: bool,
    buf: &mut Buffer,
    at: Rect,
) {
    let (theme, problems) = (model.options.theme, &model.panels().problems);
    if selected {
        select(buf, at, theme);
    }
    let (group, failed) = (problems.group(problem), problems.failed_of(problem));
    let (sign, style) = match problem.key.level() {
        Level::Error => ("✗", theme.error()),
        _ => ("▲", theme.warning()),
    };
    let dim = theme.on(selected, theme.dim());
    put(buf, at, 1, 1, sign, style);
    columns.put(buf, at, 0, &format::short_count(problems.count(problem, model.now)), style);
    let first = group.map(|group| group.first).or_else(|| failed?.first);
    if let Some(group) = group {
        let minutes = if problems.span().minutes() == Some(10) { 10 } else { 60 };
        let trend = bars(&group.per_minute(model.now, minutes));
        columns.put(buf, at, 1, &trend, theme.on(selected, Style::new()));
    }
    let first = first.map_or_else(String::new, |first| model.time_of_day(first));
    columns.put(buf, at, 2, &first, dim);
    columns.put(buf, at, 3, &last(model, problem), dim);
    if let Some(failed) = failed {
        columns.put(buf, at, 4, &format::short_count(failed.count), theme.error());
    }
    let [name, status] = place(model, problem);
    let style = group.map_or(theme.plain(), |group| stage_style(theme, group.key.stage()));
    let used = columns.put(buf, at, 5, &name, style);
    put(buf, at, columns.starts()[5] + used + 1, 3, &status, theme.plain());
    let projects = problems.projects(problem).map_or_else(String::new, one_project);
    columns.put(buf, at, 6, &projects, dim);
    let start = columns.starts()[7];
    let room = usize::from(at.width).saturating_sub(start + 1);
    let what = group.map_or_else(|| what(problem), Group::what);
    put(buf, at, start, room, &reason::clip(what, room), theme.on(selected, theme.reason()));
}

/// How long ago the last one was.
fn last(model: &Model, problem: &Problem) -> String {
    let last = model.panels().problems.last(problem);
    last.map_or_else(String::new, |last| age(model.now, last))
}

/// The stage, and the status if there is one.
fn place(model: &Model, problem: &Problem) -> [String; 2] {
    let Some(group) = model.panels().problems.group(problem) else {
        return ["failed queue".to_owned(), String::new()];
    };
    let name = group.key.stage().map_or("unparsed", |stage| model.stage_name(stage));
    let status = group.key.status().map_or_else(String::new, |status| status.to_string());
    [name.to_owned(), status]
}

fn stage_style(theme: Theme, stage: Option<Stage>) -> Style {
    stage.map_or(theme.dim(), |stage| theme.stage(stage))
}

fn what(problem: &Problem) -> &str {
    match &problem.key {
        ProblemKey::Lines(key) => key.what(),
        ProblemKey::Failed(reason) => reason,
    }
}

/// `shop`, `shop +2`
fn one_project(projects: &ByProject) -> String {
    let Some((first, _)) = projects.named.iter().max_by_key(|(_, count)| count) else {
        return String::new();
    };
    match (projects.named.len() - 1, projects.others) {
        (0, 0) => first.to_string(),
        (more, 0) => format!("{} +{more}", text::clip(first, PROJECT - 3)),
        _ => format!("{} +…", text::clip(first, PROJECT - 3)),
    }
}

/// How long ago, `now` within two seconds.
fn age(now: UtcMillis, then: UtcMillis) -> String {
    match now.epoch_millis().saturating_sub(then.epoch_millis()) {
        ..2_000 => "now".to_owned(),
        millis => format::micros(millis as f64 * 1e3),
    }
}

/// Counts per minute as bars; an hour in parts of five minutes.
fn bars(minutes: &[u32]) -> String {
    const BARS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let each = minutes.len().div_ceil(TREND);
    let parts = minutes.chunks(each.max(1));
    let parts: Vec<u64> = parts.map(|part| part.iter().map(|&n| u64::from(n)).sum()).collect();
    let most = parts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |&count: &u64| BARS[(count * (BARS.len() as u64 - 1)).div_ceil(most) as usize];
    parts.iter().map(bar).collect()
}

fn nothing(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let problems = &model.panels().problems;
    let width = usize::from(area.width).saturating_sub(4);
    let older = problems.groups().len() as u64;
    put(buf, row(area, 0), 2, width, "No warnings, errors or failed events.", theme.good());
    if older > 0 {
        let key = model.key(Action::NextSpan);
        let groups = format::plural(older, "older group");
        put(buf, row(area, 1), 2, width, &format!("{groups}; {key} shows them."), theme.dim());
    }
}

/// The selected problem as its last line has it: the reason in full, the projects, what can be done.
fn details(model: &Model, problem: &Problem, buf: &mut Buffer, area: Rect) {
    let (theme, problems) = (model.options.theme, &model.panels().problems);
    let group = problems.group(problem);
    let message = group.map_or("events in the failed queue", |group| group.key.message());
    rule(buf, row(area, 0), theme, &[styled(message, theme.strong())], &[]);
    let width = usize::from(area.width).saturating_sub(3);
    // The reason leaves a row for what can be done, and one for the projects.
    let facts = facts(model, problem, width);
    let rows = usize::from(area.height).saturating_sub(1);
    let what = group.map_or_else(|| what(problem), |group| &group.example);
    let pieces = text::wrap(what, width);
    let most = rows.saturating_sub(facts.len()).max(2);
    let mut y = 1;
    for (nth, piece) in pieces.iter().take(most).enumerate() {
        let is_cut = nth + 1 == most && pieces.len() > most;
        let rest =
            &what[what.len() - pieces[nth..].iter().map(|piece| piece.len()).sum::<usize>()..];
        put(buf, row(area, y), 2, width, if is_cut { rest } else { piece }, theme.reason());
        y += 1;
    }
    for fact in facts {
        put_segments(buf, row(area, y), 2, width, &fact);
        y += 1;
    }
}

/// What else is known of a problem, in as few rows as it fits into, most important first.
fn facts(model: &Model, problem: &Problem, width: usize) -> Vec<Vec<Segment>> {
    let (theme, problems) = (model.options.theme, &model.panels().problems);
    let mut items = Vec::new();
    if let Some(failed) = problems.failed_of(problem) {
        let count = format::plural(failed.count, "event");
        let retry = model.key(Action::RetryGroup);
        let says = format!("{count} in the failed queue, {retry} retries");
        items.push(vec![styled(says, theme.error())]);
    }
    if let Some(group) = problems.group(problem) {
        let (first, last) = (model.time_of_day(group.first), model.time_of_day(group.last));
        // A line may stand for many.
        let all = format::plural(group.count, "time");
        items.push(vec![styled(format!("{all} from {first} to {last}"), theme.dim())]);
    }
    let named = problems.projects(problem).map_or_else(String::new, listed);
    items.push(vec![styled(named, theme.plain())]);
    let mut rows: Vec<Vec<Segment>> = Vec::new();
    for item in items {
        match rows.last_mut() {
            Some(row) if segments_width(row) + 3 + segments_width(&item) <= width => {
                *row = joined(vec![std::mem::take(row), item], theme);
            }
            _ => rows.push(item),
        }
    }
    rows
}

/// `projects: shop 121, blog 3 and 7 of others`
fn listed(projects: &ByProject) -> String {
    let ByProject { named, others } = projects;
    if named.is_empty() {
        return "no project".to_owned();
    }
    let mut sorted: Vec<_> = named.iter().collect();
    sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name));
    let names: Vec<_> =
        sorted.iter().map(|(name, count)| format!("{name} {}", format::count(*count))).collect();
    let word = if named.len() == 1 && *others == 0 { "project" } else { "projects" };
    let more = match others {
        0 => String::new(),
        others => format!(" and {} of others", format::count(*others)),
    };
    format!("{word}: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_leave_space_for_the_reason() {
        let widest = [COUNT, TREND, FIRST, 7, FAILED, "ingestion 400".len(), PROJECT];
        for width in 58..=250 {
            let columns = Columns::fitting(width, widest, true);
            assert!(columns.starts()[7] + 20 <= width, "{width}");
        }
    }

    #[test]
    fn a_trend_shows_single_lines() {
        assert_eq!(bars(&[0, 1, 0, 100, 50, 0, 0, 0, 0, 1]), "·▁·█▄····▁");
        let mut hour = [0; 60];
        (hour[59], hour[0]) = (3, 1);
        assert_eq!(bars(&hour), "▃··········█");
        assert_eq!(bars(&[0; 10]), "··········");
    }
}
