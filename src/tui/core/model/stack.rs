//! The screens on top of each other.

use super::screen::{LogScreen, Screen, Shown, on_screen};
use super::{Focus, Model};
use crate::keymap::{Action, Context};

/// Screens on top of each other; from a trace to a detail to a trace is a long way.
const MAX_SCREENS: usize = 8;

impl Model {
    /// What is on the screen.
    pub fn screen(&self) -> &Screen {
        self.screens.last().unwrap_or(&Screen::Log(LogScreen))
    }

    /// What the screen shows, if it is of this type.
    pub fn shown<S: Shown>(&self) -> Option<&S> {
        S::of(self.screen())
    }

    /// The same, to be changed.
    pub(crate) fn shown_mut<S: Shown>(&mut self) -> Option<&mut S> {
        self.screens.last_mut().and_then(S::of_mut)
    }

    /// All screens of this type, also those below others.
    pub(crate) fn all_shown_mut<S: Shown + 'static>(&mut self) -> impl Iterator<Item = &mut S> {
        self.screens.iter_mut().filter_map(S::of_mut)
    }

    /// Shows another screen over this one; the oldest of too many is dropped.
    pub(crate) fn push_screen(&mut self, screen: Screen) {
        while self.screens.len() >= MAX_SCREENS {
            self.screens.remove(0);
        }
        self.screens.push(screen);
    }

    /// Where keys go.
    pub fn context(&self) -> Context {
        match &self.focus {
            Focus::Field(_) | Focus::Prompt(_) => Context::Field,
            Focus::Letter(_) => Context::Letter,
            Focus::Palette(_) => Context::Palette,
            Focus::Keys => on_screen!(self.screen(), S => S::CONTEXT),
        }
    }

    /// The key of an action as it is written: here, or else where it is bound.
    pub fn key(&self, action: Action) -> String {
        self.options.shell.bindings.label(self.context(), action)
    }
}
