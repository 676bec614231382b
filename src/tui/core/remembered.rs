//! The layout of the console when it was last used: its panes with their filters, and what else is
//! shown. The next run starts with it.

use serde::{Deserialize, Serialize};

use bklit_wire::debug_log::Level;

/// The version of the format; others are not read.
const VERSION: u32 = 1;
/// The largest text that is read or written, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// The layout of a console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    pub(crate) version: u32,
    /// Whether only the flow is shown of the figures.
    pub only_flow: bool,
    /// Whether the timeline is shown.
    pub timeline: bool,
    /// The theme, if another one than that of the settings was chosen.
    pub theme: Option<ChosenTheme>,
    /// The panes.
    pub panes: Vec<RememberedPane>,
    /// Which of them has the focus.
    pub focus: usize,
    /// Whether that one is maximized.
    pub full: bool,
}

/// A theme that was chosen in the console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenTheme {
    /// Its name.
    pub name: String,
    /// The theme in the settings at that time: if the setting has changed since, it takes
    /// precedence.
    pub instead_of: String,
}

/// A pane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedPane {
    /// The names of the stages shown; `None` is all.
    pub stages: Option<Vec<String>>,
    /// The lowest level shown.
    pub level: Option<Level>,
    /// The project shown.
    pub project: Option<String>,
    /// The process shown.
    pub process: Option<String>,
    /// The query in the filter's box.
    pub query: Option<String>,
    /// Whether repeats are folded.
    pub folds: bool,
    /// Whether long lines are wrapped.
    pub wraps: bool,
}

impl Remembered {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("larger than {} KiB", MAX_BYTES / 1024));
        }
        let read: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match read.version {
            VERSION => Ok(read),
            version => Err(format!("version {version} is not supported")),
        }
    }

    /// The text of its file; `None` if it is too large to be read again.
    pub fn to_text(&self) -> Option<Vec<u8>> {
        let versioned = Self { version: VERSION, ..self.clone() };
        let text = serde_json::to_vec_pretty(&versioned).ok()?;
        (text.len() <= MAX_BYTES).then_some(text)
    }

    /// Without anything that hides lines, for a different log.
    #[must_use]
    pub fn without_filters(mut self) -> Self {
        let looks = |pane: &RememberedPane| RememberedPane {
            folds: pane.folds,
            wraps: pane.wraps,
            ..RememberedPane::default()
        };
        let pane = self.panes.get(self.focus).map(looks);
        (self.panes, self.focus, self.full) = (pane.into_iter().collect(), 0, false);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_other_files_cannot() {
        let pane = RememberedPane {
            stages: Some(vec!["worker".into()]),
            level: Some(Level::Warn),
            query: Some("\"ü\" -x".into()),
            folds: true,
            ..RememberedPane::default()
        };
        let theme = ChosenTheme { name: "light".into(), instead_of: "dark".into() };
        let panes = vec![RememberedPane::default(), pane];
        let written = Remembered { panes, focus: 1, theme: Some(theme), ..Remembered::default() };
        let read = Remembered::read(&written.to_text().unwrap()).unwrap();
        assert_eq!(Remembered { version: 0, ..read.clone() }, written);
        assert_eq!(read.without_filters().panes[0].stages, None);
        let more = r#"{"version":1,"panes":[{"later":1}],"later":true}"#;
        assert_eq!(Remembered::read(more.as_bytes()).unwrap().panes.len(), 1);
        for (text, problem) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("[]", "version 0"),
            ("{}", "version 0 is not supported"),
            (r#"{"version":2}"#, "version 2 is not supported"),
            (r#"{"version":1,"panes":3}"#, "invalid type"),
            ("\u{0}\u{1}", "expected value"),
        ] {
            let error = Remembered::read(text.as_bytes()).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let large = vec![b' '; MAX_BYTES + 1];
        assert_eq!(Remembered::read(&large).unwrap_err(), "larger than 64 KiB");
        let query = Some("x".repeat(MAX_BYTES));
        let panes = vec![RememberedPane { query, ..RememberedPane::default() }];
        assert_eq!(Remembered { panes, ..Remembered::default() }.to_text(), None);
    }
}
