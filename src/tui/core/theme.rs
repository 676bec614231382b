//! All colours and emphasis, in one place. Text without a special meaning has the terminal's own
//! colours, so that dark and light terminals both work. Colour means state; a stage's colour is used
//! only for its name.
//!
//! - `palette`: what the terminal supports
//! - `role`: what colours are used for, and the built-in themes
//! - `skin`: the user's own colours

mod palette;
mod role;
mod skin;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use crate::appearance::Scheme;
use crate::state::State;
use bklit_wire::debug_log::{Level, Stage};
pub use palette::{Palette, needs_ascii};
pub use role::Role;
pub use skin::{Skin, WrongSkin};

/// A stage's colour on a dark background, as an index into a terminal's 256 colours.
pub fn indexed(stage: Stage) -> u8 {
    match Role::of(stage).color(Scheme::Dark, Palette::Ansi256) {
        Some(Color::Indexed(index)) => index,
        _ => 7,
    }
}

/// The styles of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    palette: Palette,
    skin: Skin,
}

impl Theme {
    /// The theme of a palette, for a dark background.
    pub fn new(palette: Palette) -> Self {
        Self::of(Scheme::Dark, palette)
    }

    /// A skin, or a built-in theme, for a palette.
    pub fn of(skin: impl Into<Skin>, palette: Palette) -> Self {
        Self { palette, skin: skin.into() }
    }

    /// The same palette with another skin.
    #[must_use]
    pub fn with_skin(self, skin: impl Into<Skin>) -> Self {
        Self { skin: skin.into(), ..self }
    }

    /// Whether the terminal has colours.
    pub fn has_colours(self) -> bool {
        self.palette != Palette::NoColour
    }

    fn palette(self) -> Palette {
        if self.skin.base() == Scheme::Mono { Palette::NoColour } else { self.palette }
    }

    /// A colour, if the terminal and the theme have one for it.
    fn tint(self, role: Role) -> Option<Color> {
        self.skin.color(role, self.palette())
    }

    fn colour(self, role: Role) -> Style {
        self.tint(role).map_or_else(Style::new, |colour| Style::new().fg(colour))
    }

    fn background(self, role: Role) -> Style {
        self.tint(role).map_or_else(Style::new, |colour| Style::new().bg(colour))
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
        self.or_modifier(self.colour(Role::of(stage)), emphasis)
    }

    /// A stage's name next to its figures.
    pub fn chip(self, stage: Stage) -> Style {
        if self.palette() == Palette::NoColour {
            return self.stage(stage);
        }
        self.stage(stage).patch(self.strong())
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
        self.or_modifier(self.colour(Role::Error), Modifier::UNDERLINED)
            .add_modifier(Modifier::BOLD)
    }

    /// A warning.
    pub fn warning(self) -> Style {
        self.or_modifier(self.colour(Role::Warning), Modifier::BOLD)
    }

    /// A good state.
    pub fn good(self) -> Style {
        self.colour(Role::Good)
    }

    /// A value with a state: only values that are above normal have a colour.
    pub fn state(self, state: State) -> Style {
        match state {
            State::Unknown | State::Idle => self.dim(),
            State::Normal => self.plain(),
            State::High => self.warning(),
            State::Critical => self.error(),
        }
    }

    /// A bar or a dot of a graph with a state.
    pub fn bar(self, state: State) -> Style {
        match state {
            State::Unknown | State::Idle | State::Normal => self.dim(),
            State::High => self.warning(),
            State::Critical => self.colour(Role::Error),
        }
    }

    /// A duration: grey below 10 ms, the text's colour below 100 ms, yellow below 1 s, then red.
    pub fn duration(self, micros: f64) -> Style {
        match micros {
            n if n < 10e3 => self.dim(),
            n if n < 100e3 => self.plain(),
            n if n < 1e6 => self.warning(),
            _ => self.colour(Role::Error),
        }
    }

    /// The text of a line of a level.
    pub fn message(self, level: Level) -> Style {
        match level {
            Level::Error => self.colour(Role::Error),
            Level::Info | Level::Warn => Style::new(),
        }
    }

    /// The reason of a warning or an error: the brightest text of its line.
    pub fn reason(self) -> Style {
        self.strong()
    }

    /// The background of a log line of this level.
    pub fn row(self, level: Level) -> Style {
        match level {
            Level::Info => Style::new(),
            Level::Warn => self.background(Role::WarningRow),
            Level::Error => self.background(Role::ErrorRow),
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

    /// The frame of a panel; the focused one stands out.
    pub fn frame(self, focused: bool) -> Style {
        let role = if focused { Role::Accent } else { Role::Frame };
        let emphasis = if focused { Modifier::BOLD } else { Modifier::DIM };
        self.or_modifier(self.colour(role), emphasis)
    }

    /// The label of a text field.
    pub fn title(self) -> Style {
        self.badge_of(Role::Accent)
    }

    /// Less important text: labels, details, rules.
    pub fn dim(self) -> Style {
        self.or_modifier(self.colour(Role::Dim), Modifier::DIM)
    }

    /// More important text: names, input.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// A key to press.
    pub fn key(self) -> Style {
        self.colour(Role::Accent).add_modifier(Modifier::BOLD)
    }

    /// A state that the user should notice, such as PAUSED.
    pub fn badge(self) -> Style {
        self.badge_of(Role::Warning)
    }

    /// Text that the user must notice: an alert.
    pub fn alarm(self) -> Style {
        self.badge_of(Role::Error)
    }

    /// Text on a background of a colour: black or white, whichever is easier to read.
    fn badge_of(self, role: Role) -> Style {
        match self.tint(role) {
            Some(colour) => Style::new().fg(text_on(colour)).bg(colour),
            None => Style::new().add_modifier(Modifier::REVERSED),
        }
        .add_modifier(Modifier::BOLD)
    }

    /// The selected line.
    pub fn selected(self) -> Style {
        match self.tint(Role::Selection) {
            Some(colour) => Style::new().fg(text_on(colour)).bg(colour),
            None => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// A match of the search.
    pub fn found(self) -> Style {
        match self.tint(Role::Match) {
            Some(colour) => Style::new().fg(text_on(colour)).bg(colour),
            // The selected line is reversed as well; there the underline marks the match.
            None => Style::new().add_modifier(Modifier::REVERSED | Modifier::UNDERLINED),
        }
    }
}

/// Black or white, by the luminance of the background.
fn text_on(background: Color) -> Color {
    let Some((r, g, b)) = components(background) else {
        // The terminal's own colours: all that are used as a background are bright, except these.
        let dark = matches!(background, Color::Blue | Color::Red | Color::Magenta | Color::Black);
        return if dark { Color::White } else { Color::Black };
    };
    let linear = |value: u8| (f64::from(value) / 255.0).powf(2.2);
    let luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    match (background, luminance > 0.18) {
        (Color::Indexed(_), true) => Color::Indexed(16),
        (Color::Indexed(_), false) => Color::Indexed(231),
        (_, true) => Color::Rgb(0, 0, 0),
        (_, false) => Color::Rgb(255, 255, 255),
    }
}

/// A colour as red, green and blue; `None` if each terminal has its own.
fn components(colour: Color) -> Option<(u8, u8, u8)> {
    let step = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    match colour {
        Color::Rgb(r, g, b) => Some((r, g, b)),
        Color::Indexed(n @ 16..=231) => {
            let n = n - 16;
            Some((step(n / 36), step(n / 6 % 6), step(n % 6)))
        }
        Color::Indexed(n @ 232..) => {
            Some((8 + 10 * (n - 232), 8 + 10 * (n - 232), 8 + 10 * (n - 232)))
        }
        _ => None,
    }
}

/// A run of text in one style.
pub type Segment = Span<'static>;

/// Text with a style.
pub fn styled(what: impl Into<String>, style: Style) -> Segment {
    Span::styled(what.into(), style)
}

#[cfg(test)]
mod tests;
