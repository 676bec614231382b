//! Scrolling through a text.

use crate::keymap::Action;
use crate::model::Model;
use crate::model::cursor::target;
use crate::model::pages::Page;

pub(super) fn scroll<P: Page>(model: &mut Model, action: Action) {
    let height = model.layout().map_or(1, |layout| layout.page_rows());
    if let Some(page) = model.shown_mut::<P>() {
        *page.scroll_mut() = target(action, page.scroll(), height);
    }
    settle::<P>(model);
}

/// Limits scrolling to the last row.
pub(super) fn settle<P: Page>(model: &mut Model) {
    let Some(layout) = model.layout() else { return };
    let Some(page) = model.shown::<P>() else { return };
    let rows = page.rows(model, layout.page().width).len();
    let most = rows.saturating_sub(layout.page_rows());
    if let Some(page) = model.shown_mut::<P>() {
        *page.scroll_mut() = page.scroll().min(most);
    }
}
