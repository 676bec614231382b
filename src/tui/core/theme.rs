//! All colours and emphasis, in one place. Text without a special meaning has the terminal's own
//! colours, so that dark and light terminals both work.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use crate::appearance::{Ascii, Colors, Scheme};
use bklit_wire::debug_log::{Level, Stage};

/// The colours that a terminal supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// The 16 colours of the terminal's own palette.
    Ansi16,
    /// 256 colours.
    Ansi256,
    /// All colours.
    TrueColour,
    /// None: bold, dim, underlined and reversed text instead.
    NoColour,
}

impl Palette {
    /// Detects it from `TERM` and `COLORTERM`, unless it is set. GNU screen passes on the `COLORTERM` of
    /// the terminal that it was started in, whose colours it may not have.
    pub fn find(no_color: bool, colors: Colors, variable: impl Fn(&str) -> Option<String>) -> Self {
        let named = |name| variable(name).unwrap_or_default();
        let in_screen = !named("STY").is_empty() && named("TMUX").is_empty();
        let colorterm = || if in_screen { String::new() } else { named("COLORTERM") };
        match colors {
            _ if no_color || named("TERM") == "dumb" => Self::NoColour,
            Colors::Ansi16 => Self::Ansi16,
            Colors::Ansi256 => Self::Ansi256,
            Colors::True => Self::TrueColour,
            Colors::Auto => match (colorterm().as_str(), named("TERM")) {
                ("truecolor" | "24bit", _) => Self::TrueColour,
                (_, term) if term.ends_with("-direct") => Self::TrueColour,
                (other, _) if !other.is_empty() => Self::Ansi256,
                (_, term) if term.contains("256") => Self::Ansi256,
                _ => Self::Ansi16,
            },
        }
    }
}

/// Whether the screen is limited to ASCII: by the setting, or else by the locale. Without a locale,
/// the terminal is assumed to support UTF-8.
pub fn needs_ascii(ascii: Ascii, variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = || {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(&variable);
        set.into_iter().find(|value| !value.is_empty())
    };
    match ascii {
        Ascii::On => true,
        Ascii::Off => false,
        Ascii::Auto => locale().is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            !locale.contains("utf-8") && !locale.contains("utf8")
        }),
    }
}

/// One colour for each kind of terminal.
struct Hue {
    ansi: Color,
    /// For dark and light backgrounds, from 256 colours.
    indexed: [u8; 2],
    /// The same from all colours.
    rgb: [(u8, u8, u8); 2],
}

const fn hue(ansi: Color, indexed: [u8; 2], rgb: [(u8, u8, u8); 2]) -> Hue {
    Hue { ansi, indexed, rgb }
}

const BLUE: Hue = hue(Color::Blue, [75, 25], [(104, 180, 255), (0, 84, 176)]);
const PURPLE: Hue = hue(Color::Magenta, [141, 91], [(192, 158, 255), (112, 52, 180)]);
const YELLOW: Hue = hue(Color::Yellow, [178, 94], [(226, 188, 76), (122, 84, 0)]);
const GREEN: Hue = hue(Color::Green, [77, 22], [(112, 210, 112), (16, 106, 36)]);
const ORANGE: Hue = hue(Color::LightRed, [208, 130], [(255, 160, 84), (160, 64, 0)]);
const PINK: Hue = hue(Color::LightMagenta, [212, 162], [(255, 144, 204), (176, 24, 112)]);
const RED: Hue = hue(Color::Red, [203, 160], [(255, 124, 120), (184, 16, 24)]);
const AMBER: Hue = hue(Color::Yellow, [220, 94], [(255, 214, 92), (128, 80, 0)]);
const GREY: Hue = hue(Color::DarkGray, [245, 241], [(156, 156, 156), (96, 96, 96)]);
const CYAN: Hue = hue(Color::Cyan, [80, 30], [(92, 208, 220), (0, 104, 120)]);

/// The colour of each stage.
fn hue_of(stage: Stage) -> &'static Hue {
    match stage {
        Stage::Ingestion => &BLUE,
        Stage::Queue => &PURPLE,
        Stage::Worker => &YELLOW,
        Stage::Clickhouse => &GREEN,
        Stage::Pubsub => &ORANGE,
        Stage::Websocket => &PINK,
    }
}

/// A stage's colour on a dark background, as an index into a terminal's 256 colours.
pub fn indexed(stage: Stage) -> u8 {
    hue_of(stage).indexed[0]
}

/// The styles of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    palette: Palette,
    scheme: Scheme,
}

impl Theme {
    /// The theme of a palette, for a dark background.
    pub fn new(palette: Palette) -> Self {
        Self::of(Scheme::Dark, palette)
    }

    /// A colour scheme for a palette.
    pub fn of(scheme: Scheme, palette: Palette) -> Self {
        Self { palette, scheme }
    }

    /// The colour scheme.
    pub fn scheme(self) -> Scheme {
        self.scheme
    }

    /// The same palette with another colour scheme.
    #[must_use]
    pub fn with_scheme(self, scheme: Scheme) -> Self {
        Self { scheme, ..self }
    }

    /// Whether the terminal has colours.
    pub fn has_colours(self) -> bool {
        self.palette != Palette::NoColour
    }

    fn palette(self) -> Palette {
        if self.scheme == Scheme::Mono { Palette::NoColour } else { self.palette }
    }

    fn pick<T: Copy>(self, of: [T; 2]) -> T {
        of[usize::from(self.scheme == Scheme::Light)]
    }

    /// A colour, if the terminal has any.
    fn tint(self, hue: &Hue) -> Option<Color> {
        match self.palette() {
            Palette::Ansi16 => Some(hue.ansi),
            Palette::Ansi256 => Some(Color::Indexed(self.pick(hue.indexed))),
            Palette::TrueColour => Some(rgb(self.pick(hue.rgb))),
            Palette::NoColour => None,
        }
    }

    fn colour(self, hue: &Hue) -> Style {
        self.tint(hue).map_or_else(Style::new, |colour| Style::new().fg(colour))
    }

    fn or_modifier(self, style: Style, modifier: Modifier) -> Style {
        if self.palette() == Palette::NoColour { style.add_modifier(modifier) } else { style }
    }

    /// A stage's name. Without colours each stage has its own emphasis, also on terminals without
    /// italics, and none uses that of a warning or an error.
    pub fn stage(self, stage: Stage) -> Style {
        let emphasis = match stage {
            Stage::Ingestion => Modifier::ITALIC,
            Stage::Queue => Modifier::BOLD | Modifier::ITALIC,
            Stage::Worker => Modifier::UNDERLINED,
            Stage::Clickhouse => Modifier::UNDERLINED | Modifier::DIM,
            Stage::Pubsub => Modifier::DIM | Modifier::ITALIC,
            Stage::Websocket => Modifier::BOLD | Modifier::UNDERLINED | Modifier::ITALIC,
        };
        self.or_modifier(self.stage_bars(stage), emphasis)
    }

    /// A stage's name next to its figures.
    pub fn chip(self, stage: Stage) -> Style {
        if self.palette() == Palette::NoColour {
            return self.stage(stage);
        }
        self.stage(stage).patch(self.strong())
    }

    /// A stage's bars; their form is distinct, so they need no emphasis.
    pub fn stage_bars(self, stage: Stage) -> Style {
        self.colour(hue_of(stage))
    }

    /// A level's name.
    pub fn level(self, level: Level) -> Style {
        match level {
            Level::Info => self.dim(),
            Level::Warn => self.warning(),
            Level::Error => self.error(),
        }
    }

    /// Something failed.
    pub fn error(self) -> Style {
        self.or_modifier(self.colour(&RED), Modifier::UNDERLINED).add_modifier(Modifier::BOLD)
    }

    /// A warning.
    pub fn warning(self) -> Style {
        self.or_modifier(self.colour(&AMBER), Modifier::BOLD)
    }

    /// A good state.
    pub fn good(self) -> Style {
        self.colour(&GREEN)
    }

    /// The text of a line of a level.
    pub fn message(self, level: Level) -> Style {
        match level {
            Level::Error => self.colour(&RED),
            Level::Info | Level::Warn => Style::new(),
        }
    }

    /// A style on the selected line, on whose background dim text is unreadable.
    pub fn on(self, selected: bool, style: Style) -> Style {
        if selected && style == self.dim() { Style::new() } else { style }
    }

    /// The terminal's default style.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// The program's name, and the label of a text field.
    pub fn title(self) -> Style {
        self.badge_of(&CYAN)
    }

    /// Less important text: labels, details, rules.
    pub fn dim(self) -> Style {
        self.or_modifier(self.colour(&GREY), Modifier::DIM)
    }

    /// More important text: names, input.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// A key to press.
    pub fn key(self) -> Style {
        self.colour(&CYAN).add_modifier(Modifier::BOLD)
    }

    /// A state that the user should notice, such as PAUSED.
    pub fn badge(self) -> Style {
        self.badge_of(&AMBER)
    }

    /// Text that the user must notice: an alert.
    pub fn alarm(self) -> Style {
        self.badge_of(&RED)
    }

    /// On a light background the badge is dark, so its text is light.
    fn badge_of(self, hue: &Hue) -> Style {
        let on_it = self.pick([Color::Indexed(16), Color::Indexed(231)]);
        let on_true = self.pick([rgb((0, 0, 0)), rgb((255, 255, 255))]);
        match self.palette() {
            Palette::Ansi16 => Style::new().fg(Color::Black).bg(hue.ansi),
            Palette::Ansi256 => Style::new().fg(on_it).bg(Color::Indexed(self.pick(hue.indexed))),
            Palette::TrueColour => Style::new().fg(on_true).bg(rgb(self.pick(hue.rgb))),
            Palette::NoColour => Style::new().add_modifier(Modifier::REVERSED),
        }
        .add_modifier(Modifier::BOLD)
    }

    /// The selected line.
    pub fn selected(self) -> Style {
        let (fg, bg) = self.pick([(255, 238), (16, 253)]);
        let (true_fg, true_bg) =
            self.pick([((255, 255, 255), (48, 52, 60)), ((0, 0, 0), (232, 238, 246))]);
        match self.palette() {
            Palette::Ansi256 => Style::new().fg(Color::Indexed(fg)).bg(Color::Indexed(bg)),
            Palette::TrueColour => Style::new().fg(rgb(true_fg)).bg(rgb(true_bg)),
            Palette::Ansi16 | Palette::NoColour => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// A match of the search.
    pub fn found(self) -> Style {
        match self.palette() {
            Palette::Ansi16 => Style::new().fg(Color::Black).bg(Color::Yellow),
            Palette::Ansi256 => Style::new().fg(Color::Indexed(16)).bg(Color::Indexed(222)),
            Palette::TrueColour => Style::new().fg(rgb((0, 0, 0))).bg(rgb((255, 222, 120))),
            // The selected line is reversed as well; there the underline marks the match.
            Palette::NoColour => {
                Style::new().add_modifier(Modifier::REVERSED | Modifier::UNDERLINED)
            }
        }
    }
}

fn rgb((r, g, b): (u8, u8, u8)) -> Color {
    Color::Rgb(r, g, b)
}

/// A run of text in one style.
pub type Segment = Span<'static>;

/// Text with a style.
pub fn styled(what: impl Into<String>, style: Style) -> Segment {
    Span::styled(what.into(), style)
}

#[cfg(test)]
mod tests;
