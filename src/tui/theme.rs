//! All colours and emphasis, in one place. Text without a meaning of its own keeps the terminal's
//! colours, so dark and light terminals both work.

use ratatui::style::{Color, Modifier, Style};

use crate::pipeline::debug_log::{Level, Stage};

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// The 16 colours that the user chose for the terminal.
    Ansi16,
    /// 256 colours.
    Ansi256,
    /// None: bold, dim, underlined and reversed text instead.
    NoColour,
}

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    palette: Palette,
}

impl Theme {
    /// The theme of a palette.
    pub fn new(palette: Palette) -> Self {
        Self { palette }
    }

    /// The theme for this terminal by `TERM` and `COLORTERM`; without colours where asked for.
    pub fn from_environment(no_color: bool) -> Self {
        let named = |name| std::env::var(name).unwrap_or_default();
        let palette = if no_color || named("TERM") == "dumb" {
            Palette::NoColour
        } else if !named("COLORTERM").is_empty() || named("TERM").contains("256") {
            Palette::Ansi256
        } else {
            Palette::Ansi16
        };
        Self::new(palette)
    }

    fn colour(self, ansi: Color, indexed: u8) -> Style {
        match self.palette {
            Palette::Ansi16 => Style::new().fg(ansi),
            Palette::Ansi256 => Style::new().fg(Color::Indexed(indexed)),
            Palette::NoColour => Style::new(),
        }
    }

    fn or_modifier(self, style: Style, modifier: Modifier) -> Style {
        if self.palette == Palette::NoColour { style.add_modifier(modifier) } else { style }
    }

    /// A stage's name.
    pub fn stage(self, stage: Stage) -> Style {
        match stage {
            Stage::Ingestion => self.colour(Color::Blue, 75),
            Stage::Queue => self.colour(Color::Magenta, 141),
            Stage::Worker => self.colour(Color::Yellow, 178),
            Stage::Clickhouse => self.colour(Color::Green, 77),
            Stage::Pubsub => self.colour(Color::LightRed, 208),
            Stage::Websocket => self.colour(Color::LightMagenta, 212),
        }
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
        self.or_modifier(self.colour(Color::Red, 203), Modifier::UNDERLINED)
            .add_modifier(Modifier::BOLD)
    }

    /// Worth a look.
    pub fn warning(self) -> Style {
        self.or_modifier(self.colour(Color::Yellow, 220), Modifier::BOLD)
    }

    /// As it should be.
    pub fn good(self) -> Style {
        self.colour(Color::Green, 77)
    }

    /// The text of a line of a level.
    pub fn message(self, level: Level) -> Style {
        match level {
            Level::Error => self.colour(Color::Red, 203),
            Level::Info | Level::Warn => Style::new(),
        }
    }

    /// A style on the selected line, whose background swallows what is dim.
    pub fn on(self, selected: bool, style: Style) -> Style {
        if selected && style == self.dim() { Style::new() } else { style }
    }

    /// As the terminal shows text by itself.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// The program's name, and the label of a text field.
    pub fn title(self) -> Style {
        self.badge_of(Color::Cyan, 80)
    }

    /// Of less weight: labels, details, rules.
    pub fn dim(self) -> Style {
        self.or_modifier(self.colour(Color::DarkGray, 245), Modifier::DIM)
    }

    /// Of more weight: names, what is typed.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// A key to press.
    pub fn key(self) -> Style {
        self.colour(Color::Cyan, 80).add_modifier(Modifier::BOLD)
    }

    /// A state that wants to be seen, such as PAUSED.
    pub fn badge(self) -> Style {
        self.badge_of(Color::Yellow, 220)
    }

    fn badge_of(self, ansi: Color, indexed: u8) -> Style {
        match self.palette {
            Palette::Ansi16 => Style::new().fg(Color::Black).bg(ansi),
            Palette::Ansi256 => Style::new().fg(Color::Indexed(16)).bg(Color::Indexed(indexed)),
            Palette::NoColour => Style::new().add_modifier(Modifier::REVERSED),
        }
        .add_modifier(Modifier::BOLD)
    }

    /// The selected line.
    pub fn selected(self) -> Style {
        match self.palette {
            Palette::Ansi256 => Style::new().fg(Color::Indexed(255)).bg(Color::Indexed(238)),
            Palette::Ansi16 | Palette::NoColour => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// What a search found.
    pub fn found(self) -> Style {
        match self.palette {
            Palette::Ansi16 => Style::new().fg(Color::Black).bg(Color::Yellow),
            Palette::Ansi256 => Style::new().fg(Color::Indexed(16)).bg(Color::Indexed(222)),
            Palette::NoColour => Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_colour_has_no_colour_but_emphasis() {
        let theme = Theme::new(Palette::NoColour);
        let styles = [theme.error(), theme.warning(), theme.badge(), theme.selected()];
        for style in styles.into_iter().chain([theme.found(), theme.dim()]) {
            assert_eq!((style.fg, style.bg), (None, None));
            assert!(!style.add_modifier.is_empty());
        }
        assert_ne!(theme.selected(), theme.found());
    }

    #[test]
    fn every_stage_has_its_own_colour() {
        for palette in [Palette::Ansi16, Palette::Ansi256] {
            let theme = Theme::new(palette);
            let mut colours: Vec<_> = Stage::ALL.iter().map(|&s| theme.stage(s).fg).collect();
            colours.dedup();
            assert_eq!(colours.len(), Stage::ALL.len());
        }
    }
}
