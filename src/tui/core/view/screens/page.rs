//! Scrollable texts: a line, a failed event, the help.

use ratatui::buffer::Buffer;
use ratatui::layout::Position;

use super::{Draw, leads};
use crate::keymap::{Action, Binding};
use crate::model::Model;
use crate::model::edit::{EditScreen, EditState};
use crate::model::layout::Layout;
use crate::model::pages::Page;
use crate::model::screen::{Detail, FailedDetail, Help, SqlRow};
use crate::view::draw::scrolled;

impl Draw for Detail {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        page(self, model, buf, layout)
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        let line = model.shown::<Self>().map(|shown| shown.line.as_ref());
        match (binding.action, line) {
            (Action::CopyId, Some(line)) => binding.hint.filter(|_| line.event_id().is_some()),
            (action @ (Action::Trace | Action::Session), Some(line)) => {
                binding.hint.filter(|_| leads(line, action))
            }
            _ => binding.hint,
        }
    }
}

impl Draw for FailedDetail {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        page(self, model, buf, layout)
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        let changes =
            matches!(binding.action, Action::RetryOne | Action::EditOne | Action::DeleteOne);
        binding.hint.filter(|_| !(changes && model.options.read_only))
    }
}

impl Draw for EditScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        page(self, model, buf, layout)
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        let is_valid = model.shown::<Self>().is_some_and(|screen| match screen.editing() {
            Some(editing) => editing.state == EditState::Valid,
            None => true,
        });
        binding.hint.filter(|_| binding.action != Action::ConfirmEdit || is_valid)
    }
}

impl Draw for Help {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        page(self, model, buf, layout)
    }
}

impl Draw for SqlRow {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        page(self, model, buf, layout)
    }
}

fn page(page: &impl Page, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
    let (area, theme) = (layout.page(), model.options.theme);
    let rows = page.rows(model, area.width);
    scrolled(buf, area, theme, &page.title(model), &rows, page.scroll());
    None
}
