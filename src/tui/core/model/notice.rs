//! A message shown for a while.

use super::Model;

/// How long a notice is shown, in milliseconds.
const NOTICE_MILLIS: i64 = 4_000;

/// A message shown for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its text.
    pub text: String,
    until: i64,
}

impl Model {
    /// The notice on the screen.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_ref().map(|notice| notice.text.as_str())
    }

    /// Shows a message for a while.
    pub(crate) fn notify(&mut self, text: impl Into<String>) {
        let until = self.wall.epoch_millis().saturating_add(NOTICE_MILLIS);
        self.notice = Some(Notice { text: text.into(), until });
    }

    /// Removes a notice whose time is over. Returns whether there was one.
    pub(crate) fn forget_old_notice(&mut self) -> bool {
        let now = self.wall.epoch_millis();
        let old = |notice: &Notice| !(notice.until - NOTICE_MILLIS..notice.until).contains(&now);
        self.notice.take_if(|notice| old(notice)).is_some()
    }
}
