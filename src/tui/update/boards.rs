//! The views beside the log: opening them, asking for what they show, moving in them.

use super::field::set_filter;
use super::{queue, trace};
use crate::backend::{Answer, Request};
use crate::keymap::Action;
use crate::model::boards::{LiveItem, LiveList, QueueList};
use crate::model::cursor::{across, target};
use crate::model::query::Query;
use crate::model::query::ast::{Ast, DataTest, Term, Test};
use crate::model::{Detail, Model, Screen};
use crate::msg::Effect;

/// Opens a view, in place of another one of its kind.
pub(super) fn open(model: &mut Model, action: Action) -> Option<Effect> {
    let screen = match action {
        Action::Queue => Screen::Queue,
        Action::Live => Screen::Live,
        _ => Screen::Verify,
    };
    if let Screen::Queue | Screen::Live | Screen::Verify = model.screen() {
        model.screens.pop();
    }
    model.push_screen(screen);
    settle(model);
    poll(model)
}

/// Asks for what is on the screen, if it is time to.
pub(super) fn poll(model: &mut Model) -> Option<Effect> {
    let now = model.now;
    match model.screens.last() {
        Some(Screen::Queue | Screen::Failed(_)) => {
            // Times left and ages go on.
            model.dirty = true;
            model.boards.queue.polled.is_due(now).then(|| queue::question(model))
        }
        Some(Screen::Live) => {
            model.dirty = true;
            model.boards.live.polled.is_due(now).then_some(Effect::Ask(Request::Live))
        }
        Some(Screen::Batch(_)) => {
            model.dirty = true;
            if model.boards.queue.polled.is_due(now) {
                // Its lease goes on meanwhile.
                let question = queue::question(model);
                model.outbox.push(question);
            }
            queue::batch_question(model)
        }
        Some(Screen::Trace(shown)) => {
            // Until it is stored, how long it waits goes on.
            model.dirty |= !shown.is_stored();
            trace::ask(model)
        }
        _ => None,
    }
}

/// Takes an answer; some lead to the next question.
pub(super) fn take(model: &mut Model, answer: Answer) -> Option<Effect> {
    let now = model.now;
    match answer {
        Answer::Queue(answer) => {
            model.boards.queue.take(answer, now);
            settle(model);
            None
        }
        Answer::Live(answer) => {
            model.boards.live.take(answer, now);
            settle(model);
            None
        }
        Answer::Batch(id, answer) => {
            queue::take_batch(model, &id, &answer);
            settle(model);
            None
        }
        Answer::Event(id, answer) => {
            trace::take(model, &id, &answer);
            None
        }
        Answer::Changed(change, result) => queue::changed(model, change, result),
        Answer::Exported(result) => {
            queue::exported(model, result);
            None
        }
    }
}

/// Keeps the selected rows in sight.
pub(super) fn settle(model: &mut Model) {
    let parts = model.queue_parts();
    model.boards.queue.settle(parts.batches.into(), parts.failed.into());
    let rows = model.live_parts().rows;
    model.boards.live.settle(rows.map(usize::from));
    let findings = model.verify_rows();
    let selected = model.boards.verify.selected();
    model.boards.verify.select(selected, findings);
    let events = model.batch_rows();
    for screen in &mut model.screens {
        if let Screen::Batch(shown) = screen {
            let count = shown.events().len();
            shown.cursor.settle(count, events);
        }
    }
}

/// Moves through the rows.
pub(super) fn scroll(model: &mut Model, action: Action) {
    match model.screen() {
        Screen::Queue => scroll_queue(model, action),
        Screen::Live => scroll_live(model, action),
        Screen::Batch(_) => {
            let rows = model.batch_rows();
            if let Some(Screen::Batch(shown)) = model.screens.last_mut() {
                shown.scroll(action, rows);
            }
        }
        _ => {
            let height = model.verify_rows();
            let to = target(action, model.boards.verify.selected(), height);
            model.boards.verify.select(to, height);
        }
    }
}

fn scroll_queue(model: &mut Model, action: Action) {
    let parts = model.queue_parts();
    let board = &mut model.boards.queue;
    let counts = [board.batches().len(), board.count()];
    let (list, cursor, height) = match board.list() {
        QueueList::Batches => (0, board.batch, parts.batches),
        QueueList::Failed => (1, board.cursor, parts.failed),
    };
    let within = || (list, target(action, cursor.selected(), height.into()));
    match across(action, list, cursor.selected(), &counts).unwrap_or_else(within) {
        (0, place) => board.select_batch(place, parts.batches.into()),
        (_, place) => board.select(place, parts.failed.into()),
    }
    settle(model);
}

fn scroll_live(model: &mut Model, action: Action) {
    let rows = model.live_parts().rows;
    let board = &mut model.boards.live;
    let (list, place) = (board.list() as usize, board.cursor(board.list()).selected());
    let within = || (list, target(action, place, rows[list].into()));
    let (list, place) = across(action, list, place, &board.counts()).unwrap_or_else(within);
    board.select(LiveList::ALL[list], place, rows[list].into());
}

/// Goes to the next or the previous list of the view that has something in it.
pub(super) fn change_list(model: &mut Model, action: Action) {
    let next = |at: usize, counts: &[usize]| {
        let step = if action == Action::NextList { 1 } else { counts.len() - 1 };
        let all = (1..=counts.len()).map(|nth| (at + nth * step) % counts.len());
        all.into_iter().find(|&list| counts[list] > 0)
    };
    if let Screen::Live = model.screen() {
        let board = &mut model.boards.live;
        if let Some(list) = next(board.list() as usize, &board.counts()) {
            board.list = LiveList::ALL[list];
        }
        return;
    }
    let board = &mut model.boards.queue;
    let counts = [board.batches().len(), board.count()];
    board.list = match next(board.list() as usize, &counts) {
        Some(0) => QueueList::Batches,
        Some(_) => QueueList::Failed,
        None => board.list,
    };
    settle(model);
}

/// Shows what the selected row of the live view is about.
pub(super) fn open_row(model: &mut Model) -> Option<Effect> {
    let (project, page) = match model.boards.live.selected() {
        Some(LiveItem::Project(project)) => (project.project_id.clone(), None),
        Some(LiveItem::Page(page)) => (page.project_id.clone(), Some(page.url.clone())),
        Some(LiveItem::Event(_)) => return trace::open(model),
        None => {
            model.notify(super::actions::NO_LINE);
            return None;
        }
    };
    model.screens.clear();
    let query = page.and_then(|url| {
        let test = Test::Data("url".to_owned(), DataTest::Contains(url));
        Query::of(Ast { inverted: false, terms: vec![Term { negated: false, test }] })
    });
    let told = match &query {
        Some(query) => format!("only {} of project {project}", query.source()),
        None => format!("only lines of project {project}; the command project all shows all"),
    };
    set_filter(model, |filter| {
        filter.project = Some(project);
        if query.is_some() {
            filter.query = query;
        }
    });
    model.notify(told);
    None
}

/// The selected line of what the verifier told, in full.
pub(super) fn detail(model: &Model) -> Option<Detail> {
    let Screen::Verify = model.screen() else { return None };
    let (number, line) = model.boards.verify.selected_line()?;
    Some(Detail { number: *number, line: line.clone(), scroll: 0 })
}

/// The id of what is selected in a view beside the log; `None` in other views, and where nothing
/// is.
pub(super) fn selected_id(model: &Model) -> Option<Option<String>> {
    match model.screen() {
        Screen::Queue if model.boards.queue.selected_batch().is_some() => {
            model.boards.queue.selected_batch().map(|batch| Some(batch.id.clone()))
        }
        Screen::Queue | Screen::Failed(_) => {
            queue::item(model).map(|item| item.event.event_id.clone())
        }
        Screen::Batch(shown) => shown.selected().map(|event| event.event_id.clone()),
        Screen::Live => model.boards.live.selected().map(|item| match item {
            LiveItem::Project(project) => Some(project.project_id.clone()),
            LiveItem::Page(page) => Some(page.url.clone()),
            LiveItem::Event(event) => Some(event.event_id.clone()),
        }),
        _ => None,
    }
}

/// The same as JSON.
pub(super) fn selected_json(model: &Model) -> Option<String> {
    match model.screen() {
        Screen::Queue if model.boards.queue.selected_batch().is_some() => {
            serde_json::to_string(model.boards.queue.selected_batch()?).ok()
        }
        Screen::Queue | Screen::Failed(_) => serde_json::to_string(queue::item(model)?).ok(),
        Screen::Batch(shown) => serde_json::to_string(shown.selected()?).ok(),
        Screen::Live => match model.boards.live.selected()? {
            LiveItem::Project(project) => serde_json::to_string(project).ok(),
            LiveItem::Page(page) => serde_json::to_string(page).ok(),
            LiveItem::Event(event) => serde_json::to_string(event).ok(),
        },
        _ => None,
    }
}
