//! The stack of open screens.

use super::screen::{LogScreen, Screen, Shown, on_screen};
use super::{Focus, Model};
use crate::keymap::{Action, Context};

/// The most open screens.
const MAX_SCREENS: usize = 8;

impl Model {
    /// The topmost screen.
    pub fn screen(&self) -> &Screen {
        self.screens.last().unwrap_or(&Screen::Log(LogScreen))
    }

    /// The state of the topmost screen, if it is of this type.
    pub fn shown<S: Shown>(&self) -> Option<&S> {
        S::of(self.screen())
    }

    /// The same, mutable.
    pub(crate) fn shown_mut<S: Shown>(&mut self) -> Option<&mut S> {
        self.screens.last_mut().and_then(S::of_mut)
    }

    /// All screens of this type, also those below others.
    pub(crate) fn all_shown_mut<S: Shown + 'static>(&mut self) -> impl Iterator<Item = &mut S> {
        self.screens.iter_mut().filter_map(S::of_mut)
    }

    /// Opens a screen on top; the oldest one is dropped if there are too many.
    pub(crate) fn push_screen(&mut self, screen: Screen) {
        while self.screens.len() >= MAX_SCREENS {
            self.screens.remove(0);
        }
        self.screens.push(screen);
    }

    /// The context of keys.
    pub fn context(&self) -> Context {
        match &self.focus {
            Focus::Field(_) | Focus::Prompt(_) => Context::Field,
            Focus::Letter(_) => Context::Letter,
            Focus::Palette(_) => Context::Palette,
            Focus::Sql => Context::SqlInput,
            Focus::Keys if self.is_in_timeline() => Context::Timeline,
            Focus::Keys => on_screen!(self.screen(), S => S::CONTEXT),
        }
    }

    /// The label of an action's key: in this context, or else anywhere.
    pub fn key(&self, action: Action) -> String {
        self.options.shell.bindings.label(self.context(), action)
    }
}
