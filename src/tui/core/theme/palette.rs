//! What a terminal supports: its colours and characters.

use crate::appearance::{Ascii, Colors};

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
