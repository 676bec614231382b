//! One batch in flight, with its events.

use ratatui::layout::Rect;

use super::{Handler, List, Selection, queue};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::layout::{BATCH_HEAD, below};
use crate::model::panels::BatchPanel;
use crate::model::trace::Subject;
use crate::msg::Effect;
use crate::requests::Request;
use bklit_wire::queue::BatchView;

impl Handler for BatchPanel {
    fn scroll(model: &mut Model, action: Action) {
        let rows = model.batch_rows();
        if let Some(shown) = model.shown_mut::<Self>() {
            shown.scroll(action, rows);
        }
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        // Its lease is part of the queue's answer.
        let queue = queue::poll(model);
        model.outbox.extend(queue);
        question(model)
    }

    fn selection(model: &Model) -> Option<Selection> {
        let event = model.shown::<Self>()?.selected()?;
        let subject = event.event_id.clone().map(Subject::Event);
        Some(Selection::item(event, event.event_id.as_deref(), subject))
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let Some(shown) = model.shown::<Self>() else { return Vec::new() };
        vec![List {
            area: below(view, BATCH_HEAD),
            top: shown.cursor.top(),
            count: shown.events().len(),
            selected: Some(shown.cursor.selected()),
            opens: Action::Trace,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let rows = model.batch_rows();
        if let Some(shown) = model.shown_mut::<Self>() {
            let count = shown.events().len();
            shown.cursor.select(place, count, rows);
        }
    }
}

/// Requests its events, if a request is due.
pub(super) fn question(model: &mut Model) -> Option<Effect> {
    let now = model.now;
    let shown = model.shown_mut::<BatchPanel>()?;
    let asks = !shown.is_done() && shown.polled.is_due(now);
    asks.then(|| Effect::Ask(Request::Batch(shown.batch.id.clone())))
}

/// Applies a batch's events, wherever its screen is in the stack. The last ones stay when the batch
/// is done.
pub(in crate::update) fn take(
    model: &mut Model,
    id: &str,
    answer: &Result<Option<BatchView>, String>,
) {
    let now = model.now;
    for shown in model.all_shown_mut::<BatchPanel>().filter(|shown| shown.batch.id == id) {
        shown.take(answer.clone().map(|batch| batch.map(|batch| batch.events)), now);
    }
}
