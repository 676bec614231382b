//! The log: figures above, panes below, and what they show.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::Draw;
use crate::format;
use crate::keymap::{Action, Binding};
use crate::model::filter::{Condition, Filter, OneProcess, StageSet};
use crate::model::grouping::GroupKey;
use crate::model::layout::Layout;
use crate::model::pane::{Pane, Visit, Wanted};
use crate::model::query::Query;
use crate::model::screen::LogScreen;
use crate::model::{Flow, Link, Model};
use crate::view::draw::{Segment, joined, put, styled};
use crate::view::panel::Panel;
use crate::view::{MAX_QUERY, figures, panel, panes, timeline};
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::{reason, text};

/// The most columns of a group's text among other conditions.
const MAX_GROUP: usize = 60;
/// The columns of the log's upper border that are not for a group's text.
const GROUP_FRAME: usize = 14;

impl Draw for LogScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        figures::render(model, buf, layout);
        frame(model, buf, layout);
        timeline::render(model, buf, layout);
        panes::render(model, buf, layout);
        None
    }

    fn status(model: &Model, buf: &mut Buffer, area: Rect) {
        status(model, buf, area);
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        match binding.action {
            Action::Pause if model.flow() != Flow::Live => Some("resume"),
            Action::Follow if model.pane().follows() => None,
            Action::NextMatch | Action::PreviousMatch if model.pane().search().is_none() => None,
            _ => binding.hint,
        }
    }
}

/// The frame of the log, which continues that of the figures.
fn frame(model: &Model, buf: &mut Buffer, layout: &Layout) {
    let theme = model.options.theme;
    let height = layout.status.bottom() - layout.rule.y;
    let title = if model.is_in_timeline() { "timeline" } else { "log" };
    let mut right = cut_off(model, layout.rule.width);
    if right.is_empty() && layout.queue.is_none() {
        // The upper border has no space for it.
        right.extend(figures::stalled(model));
    }
    let panel = Panel {
        title: [vec![styled(title, theme.strong())], group(model, layout.rule.width)].concat(),
        right: if right.is_empty() && layout.timeline.is_some() {
            timeline::title(model)
        } else {
            right
        },
        focused: is_focused(model),
        joined: true,
    };
    panel.draw(buf, Rect { height, ..layout.rule }, theme);
    if let Some(queue) = layout.queue {
        // A message may be shown there.
        if buf.cell((queue.x, layout.rule.y)).is_some_and(|cell| cell.symbol() == "─") {
            let at = Rect { x: queue.x, y: layout.rule.y, width: 1, height: 1 };
            put(buf, at, 0, 1, "┴", theme.frame(is_focused(model)));
        }
    }
}

/// What the lines of a group say, if the log shows only these. Lines do not repeat it.
fn group(model: &Model, width: u16) -> Vec<Segment> {
    let theme = model.options.theme;
    match &model.pane().filter().group {
        Some(group) if model.panes().count() == 1 => {
            let room = usize::from(width).saturating_sub(GROUP_FRAME);
            let what = reason::clip(group.what(), room).into_owned();
            vec![styled(" · ", theme.dim()), styled(what, theme.reason())]
        }
        _ => Vec::new(),
    }
}

/// Whether keys go to the log, and not to a line next to it.
pub(in crate::view) fn is_focused(model: &Model) -> bool {
    model.shown::<LogScreen>().is_some()
}

/// Why there are no new lines and figures, if so.
/// The width from which it is said since when there is no connection.
const WITH_TIME: u16 = 90;

fn cut_off(model: &Model, width: u16) -> Vec<Segment> {
    match &model.link {
        Link::Up => Vec::new(),
        Link::Down(reason) => {
            let reason = reason::clip(reason, usize::from(width) / 2).into_owned();
            let since = model.cut.filter(|_| width >= WITH_TIME);
            let since =
                since.map_or_else(String::new, |at| format!(" since {}", model.time_of_day(at)));
            vec![styled(format!("no connection{since}: {reason}"), model.options.theme.error())]
        }
    }
}

/// The conditions on the lines shown, as short phrases.
pub(in crate::view) fn shown_by(model: &Model, pane: &Pane) -> Vec<String> {
    let filter = pane.filter();
    let mut phrases = Vec::new();
    match pane.visit() {
        Some(Visit::Context) => {
            phrases.push(format!("context ({} goes back)", model.key(Action::Context)));
        }
        Some(Visit::Group) => {
            let is_titled = model.panes().count() == 1;
            let group = match is_titled {
                true => "only these".to_owned(),
                false => phrase(model, filter, Condition::Group),
            };
            phrases.push(format!("{group} ({} goes back)", model.key(Action::Back)));
        }
        None => {}
    }
    // A group is of one level.
    let is_named = |condition| {
        let of_group = matches!(condition, Condition::Group | Condition::Level);
        of_group && matches!(pane.visit(), Some(Visit::Group))
    };
    let conditions = Condition::ALL.into_iter();
    let conditions = conditions.filter(|&condition| filter.has(condition) && !is_named(condition));
    phrases.extend(conditions.map(|condition| phrase(model, filter, condition)));
    if pane.folds() {
        phrases.push("repeats folded".to_owned());
    }
    if pane.shift() > 0 && !pane.wraps() {
        let back = model.key(Action::ScrollLeft);
        phrases.push(format!("from column {} ({back} goes back)", pane.shift() + 1));
    }
    phrases
}

/// A condition as a short phrase.
pub(in crate::view) fn phrase(model: &Model, filter: &Filter, condition: Condition) -> String {
    let text = |text: Option<String>| text.unwrap_or_default();
    match condition {
        Condition::Stages => stages(filter.stages),
        Condition::Level if filter.level == Level::Error => "errors".to_owned(),
        Condition::Level => "warnings and errors".to_owned(),
        Condition::Project => {
            let name = |project: &String| format!("project {}", text::clip(project, MAX_QUERY));
            text(filter.project.as_ref().map(name))
        }
        Condition::Process => {
            let name = |process: &OneProcess| {
                format!("process {}", text::clip(&text::safe(&process.name), MAX_QUERY))
            };
            text(filter.process.as_ref().map(name))
        }
        Condition::Query => {
            text(filter.query.as_ref().map(|query| format!("filter {}", quoted(query))))
        }
        Condition::Group => {
            let name = |group: &GroupKey| format!("only “{}”", text::clip(group.what(), MAX_GROUP));
            text(filter.group.as_ref().map(name))
        }
        Condition::Since => text(filter.since.map(|since| {
            let begins = model.ring().begins(filter.level).filter(|&begins| begins > since);
            let begins = begins.map(|at| format!(", log begins {}", model.time_of_day(at)));
            format!("since {}{}", model.time_of_day(since), begins.unwrap_or_default())
        })),
    }
}

fn stages(shown: StageSet) -> String {
    let (on, off): (Vec<_>, Vec<_>) =
        Stage::ALL.into_iter().partition(|&stage| shown.contains(Some(stage)));
    let names = |stages: &[Stage]| stages.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ");
    match on.len() {
        0 => "no stage".to_owned(),
        1..=3 => format!("only {}", names(&on)),
        _ => format!("without {}", names(&off)),
    }
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
    let shows_all = left.is_empty() && pane.search().is_none();
    if shows_all {
        left.push(vec![styled("all lines", theme.dim())]);
    }
    if let Some(search) = pane.search() {
        let found = pane.found().len() as u64;
        let count = match pane.found_place() {
            Some(place) => {
                format!("match {} of {}", format::count(place as u64 + 1), format::count(found))
            }
            None => format!("{} match", format::count(found)),
        };
        let what = styled(format!("search {} ", quoted(search)), theme.plain());
        left.push(vec![what, styled(count, theme.warning())]);
    }
    let left = joined(left, theme);
    let mut right = missing(model);
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
    // What is shown matters more than where the reader is in it.
    let right = positions(model).into_iter().map(|place| {
        let place = std::iter::once(vec![place]);
        joined(right.iter().cloned().chain(place).collect(), theme)
    });
    let mut right: Vec<_> = right.collect();
    let fitting = right.iter().position(|right| panel::fits(area, &left, right));
    let right = right.swap_remove(fitting.unwrap_or(right.len() - 1));
    let left = if shows_all && fitting.is_none() { Vec::new() } else { left };
    panel::lower(buf, area, (theme, is_focused(model)), &left, &right);
}

/// The jump in progress.
fn seeking(model: &Model) -> Option<Vec<Segment>> {
    let seek = model.seek()?;
    let wanted = match seek.wanted() {
        Wanted::Level(Level::Error) => "an error",
        Wanted::Level(_) => "a warning or error",
        Wanted::Event(_) => "the event",
        Wanted::Found => "a match",
    };
    let first = model.ring().first_of(model.pane().filter().level);
    let done = seek.progress(first, model.limit());
    let end = model.key(Action::Back);
    let says = format!("looking for {wanted} {done} %, {end} stops");
    Some(vec![styled(says, model.options.theme.warning())])
}

/// Why lines may be missing.
fn missing(model: &Model) -> Vec<Vec<Segment>> {
    let theme = model.options.theme;
    let mut items = Vec::new();
    if model.lost() > 0 {
        let lost = format!("{} lost", format::count(model.lost()));
        items.push(vec![styled(lost, theme.warning())]);
    }
    if let Some(recording) = &model.recording {
        let size = format::bytes(recording.bytes);
        let text = match &recording.broke {
            None => styled(format!("recording {size}"), theme.warning()),
            Some(why) => {
                styled(format!("recording stopped at {size}: {}", text::safe(why)), theme.error())
            }
        };
        items.push(vec![text]);
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

/// The reader's position, from the most to the fewest words.
fn positions(model: &Model) -> Vec<Segment> {
    let theme = model.options.theme;
    let pane = model.pane();
    let shown = pane.index().len() as u64;
    let kept = model.ring().len() as u64;
    let level = pane.filter().level;
    let cursor = pane.window(model.log_height()).cursor.filter(|_| !pane.follows());
    let follows = match (cursor, model.flow()) {
        (Some(cursor), _) => {
            let line = format::count(cursor as u64 + 1);
            let of = format!("line {line} of {}", format::count(shown));
            return vec![styled(of, theme.plain()), styled(format!("line {line}"), theme.plain())];
        }
        (None, Flow::Live) => "following",
        (None, Flow::Paused { .. }) => "paused",
    };
    let lines = format::lines(shown);
    let all = if pane.filter().shows_all() || shown == kept || level > Level::Info {
        lines.clone()
    } else {
        format!("{} of {} lines", format::count(shown), format::count(kept))
    };
    let begins = model.ring().begins(level);
    let begins = begins.map(|at| format!(" from {}", model.time_of_day(at))).unwrap_or_default();
    let places = [
        format!("{all}{begins} · {follows}"),
        format!("{all} · {follows}"),
        format!("{lines} · {follows}"),
        follows.to_owned(),
    ];
    places.map(|place| styled(place, theme.dim())).into()
}
