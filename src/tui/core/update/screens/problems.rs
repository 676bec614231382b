//! The problems: similar warnings, errors and failed events, in groups.

use ratatui::layout::Rect;

use super::{Handler, List, Outcome, Selection, edit, queue};
use crate::bulk::{Known, Which};
use crate::keymap::Action;
use crate::model::cursor::target;
use crate::model::filter::Filter;
use crate::model::panels::{MAX_FAILED, Problem, ProblemKey};
use crate::model::parts::ListParts;
use crate::model::screen::{Detail, FailedDetail, ProblemsScreen, Screen};
use crate::model::{ExportOf, Model, PromptPurpose};
use crate::msg::Effect;
use crate::update::prompt;
use bklit_wire::queue::FailedView;

const NONE: &str = "no problem is selected";
const NO_FAILED: &str = "this group has no failed events";

impl Handler for ProblemsScreen {
    const IS_PANEL: bool = true;

    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::GroupLines => open_lines(model),
            Action::NextSpan => {
                let problems = &mut model.panels.problems;
                problems.span = problems.span.next();
                refresh(model);
            }
            Action::SortGroups => {
                let problems = &mut model.panels.problems;
                problems.sort = problems.sort.next();
                refresh(model);
            }
            Action::RetryGroup => change(model, Action::RetryAll),
            Action::EditMany => match failed_of(model) {
                Some((which, known)) => edit::edit_many(model, which, known),
                None => model.notify(NO_FAILED),
            },
            Action::DeleteGroup => change(model, Action::DeleteAll),
            Action::ExportGroup => export(model),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let height = usize::from(model.list_parts().list.height);
        let problems = &mut model.panels.problems;
        let place = target(action, problems.cursor.selected(), height);
        problems.cursor.select(place, problems.rows().len(), height);
    }

    fn settle(model: &mut Model) {
        let height = usize::from(model.list_parts().list.height);
        let problems = &mut model.panels.problems;
        problems.cursor.settle(problems.rows().len(), height);
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        model.dirty = true;
        refresh(model);
        // A replay has no pipeline.
        if model.replay.is_some() { None } else { queue::poll(model) }
    }

    fn selection(model: &Model) -> Option<Selection> {
        let problems = &model.panels.problems;
        let problem = problems.selected()?;
        let lines = problems.group(problem).map(|group| group.last_lines.iter().rev());
        let line = lines.into_iter().flatten().find_map(|&number| {
            let line = model.ring.get(number)?.to_owned();
            Some(Selection::Line(Detail { number, line, scroll: 0 }))
        });
        line.or_else(|| newest_failed(model, problem).map(queue::failed_item))
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let problems = &model.panels.problems;
        vec![List {
            area: ListParts::of(view).list,
            top: problems.cursor.top(),
            count: problems.rows().len(),
            selected: Some(problems.cursor.selected()),
            opens: Action::GroupLines,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let height = usize::from(model.list_parts().list.height);
        let problems = &mut model.panels.problems;
        problems.cursor.select(place, problems.rows().len(), height);
    }
}

/// Brings the rows up to date.
pub(in crate::update) fn refresh(model: &mut Model) {
    model.panels.problems.refresh(model.now);
    <ProblemsScreen as Handler>::settle(model);
}

/// Groups the failed events that have arrived. While the problems are shown, all are requested.
pub(in crate::update) fn take_failed(model: &mut Model) {
    model.panels.problems.take_failed(model.panels.queue.all());
    if model.shown::<ProblemsScreen>().is_some() {
        if model.panels.queue.unknown() > 0 {
            model.panels.queue.want(MAX_FAILED);
        }
        refresh(model);
    }
}

fn newest_failed<'a>(model: &'a Model, problem: &Problem) -> Option<&'a FailedView> {
    let failed = model.panels.problems.failed_of(problem)?;
    model.panels.queue.all().iter().find(|item| item.id == failed.newest)
}

fn open_lines(model: &mut Model) {
    let Some(problem) = model.panels.problems.selected().cloned() else {
        return model.notify(NONE);
    };
    match &problem.key {
        ProblemKey::Lines(key) => {
            model.screens.clear();
            let (limit, height) = (model.limit(), model.log_height());
            let pane = model.panes.focused_mut();
            pane.visit_group(key.clone(), &model.ring, limit, height);
            let back = model.key(Action::Back);
            model.notify(format!("only the lines of this group; {back} goes back to the problems"));
        }
        ProblemKey::Failed(_) => match newest_failed(model, &problem).cloned() {
            Some(item) => {
                model.push_screen(Screen::Failed(Box::new(FailedDetail { item, scroll: 0 })));
            }
            None => model.notify("these failed events are gone"),
        },
    }
}

/// The failed events of the selected group.
fn failed_of(model: &Model) -> Option<(Which, Known)> {
    let problems = &model.panels.problems;
    let failed = problems.failed_of(problems.selected()?)?;
    let known = Known { count: failed.count, is_exact: model.panels.queue.unknown() == 0 };
    Some((Which::Reason(failed.reason.clone()), known))
}

fn change(model: &mut Model, action: Action) {
    let Some((which, known)) = failed_of(model) else {
        return model.notify(NO_FAILED);
    };
    queue::change_many(model, action, which, known);
}

/// Asks for a file for the failed events, or else for the lines.
fn export(model: &mut Model) {
    let (of, name) = match (model.panels.problems.selected(), failed_of(model)) {
        (None, _) => return model.notify(NONE),
        (_, Some((which, known))) => (ExportOf::Failed(which, known), "failed-%Y%m%d-%H%M%S.jsonl"),
        (Some(Problem { key: ProblemKey::Lines(key), .. }), None) => {
            let filter = Filter::of_group(key.clone());
            (ExportOf::Lines(Box::new(filter)), "problem-%Y%m%d-%H%M%S.jsonl")
        }
        (Some(_), None) => return model.notify(NO_FAILED),
    };
    let name = model.zoned(model.now).strftime(name).to_string();
    prompt::open(model, PromptPurpose::Export(of), name);
}
