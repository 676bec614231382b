//! A screen as SVG: text on a fixed grid, in a window, without scripts or external resources.

use std::fmt::Write as _;

use vt100::{Cell, Screen};

use crate::colours::{Ink, Rgb, Scheme, hex, look};
use crate::glyphs::{self, HEIGHT, WIDTH};

/// Font size; the letters of a monospace font are about 0.6 times as wide as high.
const FONT_SIZE: usize = 15;
/// From the top of a row to its baseline.
const BASELINE: usize = 14;
/// Padding around the screen.
const MARGIN: usize = 14;
/// Height of the window's bar.
const BAR: usize = 34;
const FONTS: &str =
    "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace";

/// The screen as an SVG file.
pub fn render(screen: &Screen, title: &str, scheme: &Scheme) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let mut picture = Picture::new(*scheme);
    for row in 0..rows {
        picture.row(screen, row, columns);
    }
    picture.finish(title, columns.into(), rows.into())
}

/// Screens one after the other, each for some seconds, in a loop; without animations, the first
/// one. Each has its own title.
pub fn film(screens: &[(&str, Screen)], title: &str, scheme: &Scheme, seconds: usize) -> String {
    let mut picture = Picture::new(*scheme);
    let (mut columns, mut rows) = (0, 0);
    let sizes = screens.iter().map(|(_, screen)| screen.size());
    for (high, wide) in sizes {
        (columns, rows) = (columns.max(usize::from(wide.get())), rows.max(usize::from(high.get())));
    }
    let (width, height) = extent(columns, rows);
    let mut frames = String::new();
    for (nth, (caption, screen)) in screens.iter().enumerate() {
        let (high, wide) = screen.size();
        for row in 0..high.get() {
            picture.row(screen, row, wide.get());
        }
        let _ = writeln!(
            frames,
            "<g class=\"f f{nth}\">\n<text class=\"t\" x=\"{}\" y=\"22\">{}</text>",
            width / 2,
            escape(caption)
        );
        picture.contents(&mut frames);
        frames.push_str("</g>\n");
    }
    let mut out = head(title, (width, height));
    picture.style(&mut out);
    let share = 100.0 / screens.len().max(1) as f32;
    let _ = write!(
        out,
        "<style>\n.f{{visibility:hidden;animation:f {}s step-end infinite}}\n.f0{{visibility:visible}}\n\
         @keyframes f{{0%{{visibility:visible}}{share:.2}%{{visibility:hidden}}}}\n",
        seconds * screens.len()
    );
    for nth in 0..screens.len() {
        let _ = writeln!(out, ".f{nth}{{animation-delay:{}s}}", nth * seconds);
    }
    out.push_str("</style>\n");
    picture.window(&mut out, "", (width, height));
    out + &frames + "</svg>\n"
}

/// Width and height of a picture.
fn extent(columns: usize, rows: usize) -> (usize, usize) {
    (columns * WIDTH + 2 * MARGIN, rows * HEIGHT + BAR + 2 * MARGIN)
}

/// The start of a file.
fn head(title: &str, (width, height): (usize, usize)) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>bklit-tui: {}</title>\n",
        escape(title)
    )
}

/// Neighbouring cells with the same style.
struct Run {
    column: usize,
    columns: usize,
    text: String,
    ink: Ink,
    /// Whether the character may come from a font with other widths; then it is centred in its cell.
    odd: bool,
}

/// A part of the picture in one colour.
struct Area {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// Areas by colour, in the order of a colour's first use.
#[derive(Default)]
struct Areas(Vec<(Rgb, Vec<Area>)>);

struct Picture {
    scheme: Scheme,
    /// Drawn below the text: backgrounds.
    below: Areas,
    /// Drawn with the text: lines, blocks, underlines.
    beside: Areas,
    text: String,
    /// Text styles; the class of a style is its index.
    inks: Vec<(Rgb, bool, bool)>,
}

impl Picture {
    fn new(scheme: Scheme) -> Self {
        let (below, beside) = Default::default();
        Self { scheme, below, beside, text: String::new(), inks: Vec::new() }
    }

    fn row(&mut self, screen: &Screen, row: u16, columns: u16) {
        let cursor = (!screen.hide_cursor()).then(|| screen.cursor_position());
        let y = usize::from(row) * HEIGHT;
        let mut run: Option<Run> = None;
        for column in 0..columns {
            let Some(cell) = screen.cell(row, column) else { continue };
            let (ink, background) = look(cell, &self.scheme, cursor == Some((row, column)));
            let column = usize::from(column);
            let x = column * WIDTH;
            if background != self.scheme.background {
                self.below.add(background, Area { x, y, width: WIDTH, height: HEIGHT });
            }
            if ink.underline {
                let y = y + BASELINE + 2;
                self.beside.add(ink.colour, Area { x, y, width: WIDTH, height: 1 });
            }
            if cell.is_wide_continuation() {
                continue;
            }
            let next = if self.draw((x, y), cell, ink.colour) {
                None
            } else {
                let next = Run::of(cell, column, ink);
                match run.as_mut().map(|run| run.take(&next)) {
                    Some(true) => continue,
                    _ => Some(next),
                }
            };
            let before = std::mem::replace(&mut run, next);
            self.write(y, before);
        }
        self.write(y, run);
    }

    /// Draws a character as a shape; false if it must be drawn as text.
    fn draw(&mut self, (x, y): (usize, usize), cell: &Cell, colour: Rgb) -> bool {
        let mut characters = cell.contents().chars();
        let (Some(character), None) = (characters.next(), characters.next()) else { return false };
        let parts = glyphs::parts(character);
        for &(left, top, right, bottom) in &parts {
            let (x, y) = (x + left, y + top);
            self.beside.add(colour, Area { x, y, width: right - left, height: bottom - top });
        }
        !parts.is_empty()
    }

    fn write(&mut self, y: usize, run: Option<Run>) {
        let Some(run) = run else { return };
        let text = run.text.trim_end_matches(' ');
        if text.is_empty() {
            return;
        }
        let columns = run.columns - (run.text.len() - text.len());
        let class = self.class(run.ink);
        let (x, y, width) = (run.column * WIDTH, y + BASELINE, columns * WIDTH);
        let text = escape(text);
        // Writing to a string cannot fail.
        let _ = if run.odd {
            let middle = x as f32 + width as f32 / 2.0;
            writeln!(self.text, r#"<text class="{class} m" x="{middle}" y="{y}">{text}</text>"#)
        } else if columns == 1 {
            writeln!(self.text, r#"<text class="{class}" x="{x}" y="{y}">{text}</text>"#)
        } else {
            writeln!(
                self.text,
                r#"<text class="{class}" x="{x}" y="{y}" textLength="{width}">{text}</text>"#
            )
        };
    }

    fn class(&mut self, Ink { colour, bold, italic, .. }: Ink) -> String {
        let ink = (colour, bold, italic);
        let known = self.inks.iter().position(|known| *known == ink);
        let place = known.unwrap_or_else(|| {
            self.inks.push(ink);
            self.inks.len() - 1
        });
        format!("s{place}")
    }

    fn finish(mut self, title: &str, columns: usize, rows: usize) -> String {
        let (width, height) = extent(columns, rows);
        let mut out = head(title, (width, height));
        self.style(&mut out);
        self.window(&mut out, title, (width, height));
        self.contents(&mut out);
        out + "</svg>\n"
    }

    /// Writes what was drawn since the last time; the text styles stay.
    fn contents(&mut self, out: &mut String) {
        let _ = writeln!(out, "<g transform=\"translate({MARGIN} {})\">", BAR + MARGIN);
        std::mem::take(&mut self.below).write(out);
        std::mem::take(&mut self.beside).write(out);
        out.push_str(&std::mem::take(&mut self.text));
        out.push_str("</g>\n");
    }

    fn style(&self, out: &mut String) {
        let of_title = hex(self.scheme.title);
        let _ = write!(
            out,
            "<style>\ntext{{font:{FONT_SIZE}px {FONTS}}}\n.m{{text-anchor:middle}}\n\
             .t{{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:{of_title};\
             text-anchor:middle}}\n"
        );
        for (place, &(colour, bold, italic)) in self.inks.iter().enumerate() {
            let bold = if bold { ";font-weight:700" } else { "" };
            let italic = if italic { ";font-style:italic" } else { "" };
            let _ = writeln!(out, ".s{place}{{fill:{}{bold}{italic}}}", hex(colour));
        }
        out.push_str("</style>\n");
    }

    fn window(&self, out: &mut String, title: &str, (width, height): (usize, usize)) {
        let Scheme { background, bar, border, .. } = self.scheme;
        let (background, bar, border) = (hex(background), hex(bar), hex(border));
        let _ = write!(
            out,
            r#"<rect x=".5" y=".5" width="{}" height="{}" rx="10" fill="{background}" stroke="{border}"/>
<path fill="{bar}" d="M1 {BAR}V11a10 10 0 0 1 10-10H{}a10 10 0 0 1 10 10V{BAR}z"/>
<path fill="{border}" d="M1 {BAR}h{}v1H1zM14 17.5a6 6 0 1 0 12 0a6 6 0 1 0-12 0zM34 17.5a6 6 0 1 0 12 0a6 6 0 1 0-12 0zM54 17.5a6 6 0 1 0 12 0a6 6 0 1 0-12 0z"/>
<text class="t" x="{}" y="22">{}</text>
"#,
            width - 1,
            height - 1,
            width - 11,
            width - 2,
            width / 2,
            escape(title)
        );
    }
}

impl Run {
    fn of(cell: &Cell, column: usize, ink: Ink) -> Self {
        let text = if cell.has_contents() { cell.contents() } else { " " };
        let columns = if cell.is_wide() { 2 } else { 1 };
        Self { column, columns, text: text.into(), ink, odd: !is_common(text) }
    }

    /// Appends the next cell if both can be one text: words with a space between.
    fn take(&mut self, next: &Self) -> bool {
        let (after_space, is_space) = (self.text.ends_with(' '), next.text == " ");
        let alike = self.ink == next.ink && !self.odd && !next.odd;
        if !alike || (after_space && (is_space || self.text == " ")) {
            return false;
        }
        self.columns += next.columns;
        self.text += &next.text;
        true
    }
}

impl Areas {
    /// Adds an area, merged with the previous one if they are adjacent.
    fn add(&mut self, colour: Rgb, area: Area) {
        let known = self.0.iter().position(|(of, _)| *of == colour);
        let place = known.unwrap_or_else(|| {
            self.0.push((colour, Vec::new()));
            self.0.len() - 1
        });
        let areas = &mut self.0[place].1;
        match areas.last_mut() {
            Some(last)
                if (last.y, last.height) == (area.y, area.height)
                    && last.x + last.width == area.x =>
            {
                last.width += area.width;
            }
            _ => areas.push(area),
        }
    }

    fn write(&self, out: &mut String) {
        for (colour, areas) in &self.0 {
            let _ = write!(out, "<path fill=\"{}\" d=\"", hex(*colour));
            for Area { x, y, width, height } in areas {
                let _ = write!(out, "M{x} {y}h{width}v{height}h-{width}z");
            }
            out.push_str("\"/>\n");
        }
    }
}

/// Whether every monospace font has the character in the width of a cell.
fn is_common(text: &str) -> bool {
    text.chars().all(|c| matches!(c, ' '..='~' | '\u{a1}'..='\u{ff}' | '–' | '—' | '…' | '“' | '”'))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
