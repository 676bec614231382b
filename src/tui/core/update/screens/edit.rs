//! Failed events are edited, compared with what they were, and retried.

use super::{Handler, Outcome, Selection, page, queue};
use crate::bulk::{Known, Operation, Plan, Preview, Which};
use crate::keymap::Action;
use crate::model::edit::{Edit, EditScreen, EditState, editable};
use crate::model::screen::Screen;
use crate::model::{Model, PromptPurpose};
use crate::msg::Effect;
use crate::requests::{KeptEdit, Request};
use crate::update::{bulk, prompt};
use bklit_wire::json_text::one_line;
use bklit_wire::queue::{self as wire, Edited, FailedView};

impl Handler for EditScreen {
    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::ConfirmEdit => confirm(model).into(),
            Action::EditOne => again(model).into(),
            _ => Outcome::Ignored,
        }
    }

    fn scroll(model: &mut Model, action: Action) {
        page::scroll::<Self>(model, action);
    }

    fn settle(model: &mut Model) {
        page::settle::<Self>(model);
    }

    fn selection(model: &Model) -> Option<Selection> {
        let editing = model.shown::<Self>()?.editing()?;
        Some(queue::failed_item(&editing.item))
    }

    fn back(model: &mut Model) -> bool {
        model.notify("discarded; the failed queue is unchanged");
        false
    }
}

/// Opens an event in the editor.
pub(super) fn edit_one(model: &mut Model, item: Option<FailedView>) -> Option<Effect> {
    if !queue::may_change(model, item.is_none()) {
        return None;
    }
    let item = item?;
    let text = editable(&item.body);
    model.edited = Some(Box::new(item));
    Some(Effect::Edit(text))
}

/// Asks for a rule that edits many events.
pub(super) fn edit_many(model: &mut Model, which: Which, known: Known) {
    if queue::may_change(model, known.count == 0) {
        prompt::open(model, PromptPurpose::Rule(which, known), String::new());
    }
}

/// Edits it again.
fn again(model: &mut Model) -> Option<Effect> {
    match &model.shown::<EditScreen>()?.edit {
        Edit::One(editing) if editing.state == EditState::Sending => None,
        Edit::One(editing) => {
            let (item, text) = (editing.item.clone(), editing.text.clone());
            model.edited = Some(Box::new(item));
            Some(Effect::Edit(text))
        }
        Edit::Many { plan, preview, .. } => {
            let (which, rule) = (plan.which.clone(), plan.operation.rule_text());
            let known = Known { count: preview.chosen, is_exact: true };
            model.screens.pop();
            prompt::open(model, PromptPurpose::Rule(which, known), rule);
            None
        }
    }
}

fn confirm(model: &mut Model) -> Option<Effect> {
    let again = model.key(Action::EditOne);
    match &mut model.shown_mut::<EditScreen>()?.edit {
        Edit::One(editing) => match editing.state {
            EditState::Valid => {
                editing.state = EditState::Sending;
                let (item, body) = (Box::new(editing.item.clone()), editing.body.clone());
                model.panels.queue.changes = true;
                return Some(Effect::Ask(Request::Edit(item, body)));
            }
            EditState::Invalid(_) => {
                model.notify(format!("it is not valid; {again} edits it again"));
            }
            EditState::Checking | EditState::Sending => {}
        },
        Edit::Many { plan, .. } => {
            let plan = Box::new(plan.clone());
            prompt::open(model, PromptPurpose::Confirm(plan), String::new());
        }
    }
    None
}

/// Shows what the editor left, and has it checked.
pub(in crate::update) fn take_edited(
    model: &mut Model,
    edited: Result<String, String>,
) -> Option<Effect> {
    model.dirty = true;
    let item = *model.edited.take()?;
    let text = match edited {
        Ok(text) => text,
        Err(why) => {
            model.notify(why);
            return None;
        }
    };
    if model.shown::<EditScreen>().is_some() {
        model.screens.pop();
    }
    if text.trim_end() == editable(&item.body).trim_end() {
        model.notify("not changed; the failed queue is unchanged");
        return None;
    }
    let (body, state, check) = match one_line(&text) {
        Err(problem) => (String::new(), EditState::Invalid(problem), None),
        Ok(body) => {
            let edit = wire::Edit { id: item.id.clone(), body: body.clone() };
            (body, EditState::Checking, Some(Effect::Ask(Request::CheckEdit(edit))))
        }
    };
    model.push_screen(Screen::Edit(Box::new(EditScreen::one(item, text, body, state))));
    check
}

/// Shows whether an edited event is valid.
pub(in crate::update) fn checked(model: &mut Model, body: &str, result: Result<Edited, String>) {
    let shown = model.shown_mut::<EditScreen>().and_then(EditScreen::editing_mut);
    let Some(editing) = shown.filter(|editing| editing.body == body) else { return };
    if editing.state != EditState::Checking {
        return;
    }
    editing.state = match result {
        Ok(Edited { invalid, .. }) => match invalid.into_iter().next() {
            None => EditState::Valid,
            Some(invalid) => EditState::Invalid(invalid.error),
        },
        Err(why) => EditState::Invalid(format!("it cannot be checked: {why}")),
    };
}

/// Shows what became of an edited event.
pub(in crate::update) fn retried(
    model: &mut Model,
    result: Result<KeptEdit, String>,
) -> Option<Effect> {
    model.panels.queue.changes = false;
    let (result, state) = match result {
        Ok(KeptEdit { edited: Edited { changed: 0, invalid }, .. }) => {
            match invalid.into_iter().next() {
                Some(invalid) => {
                    ("not retried".to_owned(), Some(EditState::Invalid(invalid.error)))
                }
                None => (queue::GONE.to_owned(), None),
            }
        }
        Ok(KeptEdit { kept, .. }) => {
            (format!("edited event put back into the queue; original: {kept}"), None)
        }
        // Can be repeated: if it was done, the event is no longer in the failed queue.
        Err(why) => (format!("cannot edit: {why}"), Some(EditState::Valid)),
    };
    let is_sending = |screen: &EditScreen| {
        screen.editing().is_some_and(|editing| editing.state == EditState::Sending)
    };
    let shown = model.shown_mut::<EditScreen>().filter(|screen| is_sending(screen));
    match (state, shown.and_then(EditScreen::editing_mut)) {
        (Some(state), Some(editing)) => editing.state = state,
        (None, Some(_)) => drop(model.screens.pop()),
        (_, None) => {}
    }
    model.notify(result);
    queue::asks_again(model)
}

/// Shows what a rule would change.
pub(in crate::update) fn previewed(model: &mut Model, plan: &Plan, preview: Preview) {
    let Operation::Preview(rule) = &plan.operation else { return };
    if preview.changes == 0 {
        let chosen = crate::format::plural(preview.chosen, "event");
        model.notify(format!("the rule changes none of {chosen}: {rule}"));
        return;
    }
    let known = Known { count: preview.changes, is_exact: true };
    let plan = Plan { operation: Operation::Edit(rule.clone()), known, ..plan.clone() };
    model.push_screen(Screen::Edit(Box::new(EditScreen::many(plan, preview))));
}

/// Begins what a preview has shown, which is closed.
pub(in crate::update) fn begin(model: &mut Model, plan: Plan) -> Option<Effect> {
    if model.shown::<EditScreen>().is_some() {
        model.screens.pop();
    }
    bulk::begin(model, plan)
}
