//! The screen in ASCII, for terminals and fonts without other characters.
//!
//! This is the last step of drawing: every other character is replaced by a similar one of the same
//! width, or by a `?` per column if none is known.

use ratatui::buffer::Buffer;

use bklit_wire::text;

/// The replacement for a character of the console.
fn sign(symbol: &str) -> Option<&'static str> {
    Some(match symbol {
        "─" | "–" | "—" | "−" | "‐" => "-",
        "━" => "=",
        "│" | "┃" => "|",
        "┌" | "┐" | "└" | "┘" | "├" | "┤" | "┬" | "┴" | "┼" => "+",
        "╭" | "╮" | "╰" | "╯" => "+",
        "╌" => "-",
        "●" | "•" | "◆" | "✱" => "*",
        "○" | "◇" => "o",
        "✓" => "+",
        "✗" => "x",
        "×" => "x",
        "▶" | "▸" | "▌" | "→" | "›" | "»" => ">",
        "◀" | "←" | "‹" | "«" => "<",
        "↑" | "▲" => "^",
        "↓" | "▼" => "v",
        "…" => "~",
        "·" => ".",
        "“" | "”" | "„" => "\"",
        "‘" | "’" => "'",
        "µ" | "μ" => "u",
        // Bars, by their height.
        "▁" => "_",
        "▂" => ".",
        "▃" => ":",
        "▄" => "-",
        "▅" => "=",
        "▆" => "+",
        "▇" => "*",
        "█" => "#",
        "░" | "▒" | "▓" => "%",
        other => return dots(other),
    })
}

/// The replacement for a braille character of a graph, by its height.
fn dots(symbol: &str) -> Option<&'static str> {
    let dots =
        u32::from(symbol.chars().next()?).checked_sub(0x2800).filter(|&dots| dots < 0x100)?;
    Some(match dots {
        0 => " ",
        dots if dots & 0x09 > 0 => "#",
        dots if dots & 0x12 > 0 => "+",
        dots if dots & 0x24 > 0 => "-",
        _ => "_",
    })
}

/// Replaces everything that is not ASCII.
pub(super) fn simplify(buf: &mut Buffer) {
    let width = usize::from(buf.area.width);
    let mut covered = 0;
    for (nth, cell) in buf.content.iter_mut().enumerate() {
        if nth.checked_rem(width) == Some(0) {
            covered = 0;
        }
        if covered > 0 {
            covered -= 1;
            cell.set_symbol("?");
            continue;
        }
        if cell.symbol().is_ascii() {
            continue;
        }
        covered = text::width(cell.symbol()).saturating_sub(1);
        let sign = sign(cell.symbol()).unwrap_or("?");
        cell.set_symbol(sign);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn signs_are_replaced_and_text_keeps_its_width() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 20, 2));
        buf.set_string(0, 0, "─● evt_… 東京é🚀 12 µs", Style::new());
        buf.set_string(0, 1, "▁▂▃▄▅▆▇█ │ plain", Style::new());
        simplify(&mut buf);
        let rows: Vec<String> = buf
            .content()
            .chunks(20)
            .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect())
            .collect();
        assert_eq!(rows, ["-* evt_~ ??????? 12 ", "_.:-=+*# | plain    "]);
    }

    #[test]
    fn bars_of_each_height_differ() {
        let bars = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"].map(sign);
        let apart: std::collections::HashSet<_> = bars.iter().collect();
        assert_eq!(apart.len(), bars.len());
    }
}
