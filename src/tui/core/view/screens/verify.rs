//! The results of dual-write verification: the match rate, the counts, and the last findings.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::{Draw, polled};
use crate::format;
use crate::model::Model;
use crate::model::layout::{Layout, VERIFY_HEAD, below};
use crate::model::screen::VerifyScreen;
use crate::view::draw::{joined, put, put_segments, row, rule, styled};
use bklit_wire::gauges::{VerifyGauges, match_rate};
use bklit_wire::text;

/// Digits from 0 to 9, three rows high and three columns wide.
const DIGITS: [[&str; 3]; 10] = [
    ["┌─┐", "│ │", "└─┘"],
    [" ┐ ", " │ ", " ┴ "],
    ["╶─┐", "┌─┘", "└─╴"],
    ["╶─┐", " ─┤", "╶─┘"],
    ["╷ ╷", "└─┤", "  ╵"],
    ["┌─╴", "└─┐", "╶─┘"],
    ["┌─╴", "├─┐", "└─┘"],
    ["╶─┐", "  │", "  ╵"],
    ["┌─┐", "├─┤", "└─┘"],
    ["┌─┐", "└─┤", "╶─┘"],
];
const HOW: &str = "Dual write is off: nothing is compared. Start the pipeline with --dual-write, \
dual_write = true or BKLIT_DUAL_WRITE=true: each accepted event is then also inserted directly, \
bypassing the queue, and this shows whether both paths store the same.";

impl Draw for VerifyScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        render(model, buf, layout.overlay());
        None
    }
}

fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    polled::title::<()>(model, "verify", None, buf, row(area, 0));
    match model.figures().summary().verify {
        Some(found) => figures(model, &found, buf, area),
        None => off(model, buf, area),
    }
    findings(model, buf, area);
}

fn off(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let rows = text::wrap(HOW, usize::from(area.width).saturating_sub(3).min(100));
    for (nth, piece) in rows.into_iter().take(5).enumerate() {
        put(buf, row(area, 1 + nth), 2, usize::from(area.width) - 3, piece, theme.plain());
    }
}

fn figures(model: &Model, found: &VerifyGauges, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let mismatched = found.mismatched();
    let (rate, style) = match match_rate(found.matched, mismatched) {
        Some(rate) if mismatched > 0 => (rate, theme.error()),
        Some(rate) => (rate, theme.good()),
        None => (String::new(), theme.dim()),
    };
    let width = big(buf, area, &rate, style);
    let label = if rate.is_empty() { "nothing compared yet" } else { "% match" };
    put(
        buf,
        row(area, 3),
        2 + width,
        usize::from(area.width).saturating_sub(3 + width),
        label,
        style,
    );
    if let Some(since) = found.since {
        let says = format!("since {}", model.long_time(since));
        let x = 2 + width;
        put(
            buf,
            row(area, 2),
            x,
            usize::from(area.width).saturating_sub(x + 1),
            &says,
            theme.dim(),
        );
    }
    let figure = |n: u64, what: &str, style: Style| {
        vec![styled(format::count(n), style), styled(format!(" {what}"), theme.dim())]
    };
    let if_any = |n: u64, style| if n > 0 { style } else { theme.strong() };
    let row_of = |items| joined(items, theme);
    let room = usize::from(area.width) - 2;
    let counts = row_of(vec![
        figure(found.matched, "matched", theme.strong()),
        figure(mismatched, "mismatched", if_any(mismatched, theme.error())),
        figure(found.unknown(), "unknown", if_any(found.unknown(), theme.warning())),
        figure(found.waiting, "to compare", theme.strong()),
    ]);
    put_segments(buf, row(area, 4), 1, room, &counts);
    let (queue, baseline) = (found.missing_in_queue_path, found.missing_in_baseline);
    let kinds = row_of(vec![
        figure(queue, "not stored by the queue", if_any(queue, theme.error())),
        figure(baseline, "not in the baseline", if_any(baseline, theme.error())),
        figure(found.different, "different", if_any(found.different, theme.error())),
    ]);
    put_segments(buf, row(area, 5), 1, room, &kinds);
}

/// Writes a number three rows high; returns its width.
fn big(buf: &mut Buffer, area: Rect, number: &str, style: Style) -> usize {
    let mut x = 2;
    for c in number.chars() {
        let digit = c.to_digit(10).and_then(|digit| DIGITS.get(digit as usize));
        for line in 0..3 {
            let (piece, wide) = match digit {
                Some(digit) => (digit[line], 3),
                None => ([" ", " ", "."][line], 1),
            };
            put(buf, row(area, 1 + line), x, wide, piece, style);
        }
        x += if digit.is_some() { 4 } else { 2 };
    }
    x - 2
}

fn findings(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let panel = &model.panels().verify;
    let head = usize::from(VERIFY_HEAD) - 1;
    let place = match panel.count() {
        0 => Vec::new(),
        count => vec![styled(
            format!("{} of {}", panel.selected() + 1, format::count(count as u64)),
            theme.dim(),
        )],
    };
    rule(buf, row(area, head), theme, &[styled("findings, newest first", theme.strong())], &place);
    let list = below(area, VERIFY_HEAD);
    if panel.count() == 0 && model.figures().summary().verify.is_some() {
        put(buf, row(list, 0), 2, usize::from(area.width) - 3, "no mismatches", theme.dim());
    }
    for (nth, (_, line)) in panel.findings().skip(panel.top).take(list.height.into()).enumerate() {
        let (at, line) = (row(list, nth), line.as_ref());
        let selected = panel.top + nth == panel.selected();
        if selected {
            buf.set_style(at, theme.selected());
            put(buf, at, 0, 1, "▌", theme.key());
        }
        let time = model.time_of_day(line.time());
        put(buf, at, 2, 8, &time, theme.on(selected, theme.dim()));
        let width = usize::from(at.width);
        let id = line.event_id().unwrap_or("");
        let wide = if width >= 120 { 36 } else { 14 };
        put(buf, at, 11, wide, &text::clip_start(id, wide), theme.plain());
        let room = width.saturating_sub(13 + wide);
        // The difference is more useful than the fact that there is one.
        let detail = line.data().into_iter().find(|(key, _)| key == "problem");
        let detail = detail.and_then(|(_, value)| value.as_str().map(str::to_owned));
        let says = detail.unwrap_or_else(|| format!("{} {}", line.message(), line.fields()));
        put(buf, at, 12 + wide, room, &text::safe(&says), theme.message(line.level()));
    }
}
