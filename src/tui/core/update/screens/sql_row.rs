//! One row of a result in full.

use super::{Handler, Outcome, Selection, page, sql};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::screen::SqlRow;
use crate::msg::Effect;

impl Handler for SqlRow {
    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::NextLine => step(model, true),
            Action::PreviousLine => step(model, false),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        page::scroll::<Self>(model, action);
    }

    fn settle(model: &mut Model) {
        page::settle::<Self>(model);
    }

    /// The query below may be running.
    fn poll(model: &mut Model) -> Option<Effect> {
        model.dirty |= model.panels.sql.running().is_some();
        None
    }

    fn selection(model: &Model) -> Option<Selection> {
        let shown = model.shown::<Self>()?;
        sql::selected(&shown.table, shown.row)
    }
}

/// Shows the next or previous row; the selection on the screen below moves as well.
fn step(model: &mut Model, forward: bool) {
    let Some(shown) = model.shown_mut::<SqlRow>() else { return };
    let (count, row) = (shown.table.rows().len(), shown.row);
    let next = if forward { row + 1 } else { row.wrapping_sub(1) };
    if next >= count {
        return model.notify(if forward {
            "this is the last row"
        } else {
            "this is the first row"
        });
    }
    (shown.row, shown.scroll) = (next, 0);
    let height = model.sql_parts().list.height.into();
    model.panels.sql.cursor.select(next, count, height);
}
