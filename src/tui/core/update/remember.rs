//! Remembers the layout of the console, and restores that of an earlier one.

use super::field::process_filter;
use crate::model::filter::{Filter, StageSet};
use crate::model::pane::Pane;
use crate::model::panes::MAX_PANES;
use crate::model::query::Query;
use crate::model::query::ast::UNPARSED;
use crate::model::{Amount, Focus, Model, Purpose};
use crate::msg::{Effect, Job};
use crate::remembered::{ChosenTheme, Remembered, RememberedPane};
use crate::settings::skin_of;
use bklit_wire::debug_log::{Level, Stage};

/// Restores the layout of an earlier console. Returns a notice about what that hides, if anything.
pub fn restore(model: &mut Model, remembered: &Remembered) -> Option<String> {
    model.amount = if remembered.only_flow { Amount::Few } else { Amount::All };
    model.timeline.is_shown = remembered.timeline;
    if let Some(chosen) = &remembered.theme
        && chosen.instead_of == model.options.shell.theme_name
        && let Ok(skin) = skin_of(&chosen.name, &model.options.shell.skins)
    {
        model.options.theme = model.options.theme.with_skin(skin);
        chosen.name.clone_into(&mut model.theme_name);
    }
    let mut is_whole = true;
    let panes =
        remembered.panes.iter().take(MAX_PANES).map(|pane| pane_of(model, pane, &mut is_whole));
    let panes: Vec<_> = panes.collect();
    let hides = panes.iter().any(|pane| !pane.filter().shows_all());
    model.panes.restore(panes, remembered.focus, remembered.full);
    model.settle_panes();
    model.dirty = true;
    if !is_whole {
        return Some("a filter of the last run is no longer valid and was left out".to_owned());
    }
    let key = model.key(crate::keymap::Action::Back);
    hides.then(|| format!("the filters of the last run apply; {key} removes them one by one"))
}

/// From now on, saves the layout when it changes.
pub fn begin(model: &mut Model) {
    model.saved = Some(remembered(model));
}

/// Saves the layout, if it has changed and nothing is being typed.
pub(super) fn save(model: &mut Model) {
    let (Some(saved), Focus::Keys) = (&model.saved, &model.focus) else { return };
    let current = remembered(model);
    if *saved != current {
        model.outbox.push(Effect::Job(Job::SaveLayout(current.clone())));
        model.saved = Some(current);
    }
}

fn remembered(model: &Model) -> Remembered {
    let configured = &model.options.shell.theme_name;
    let theme = (model.theme_name != *configured)
        .then(|| ChosenTheme { name: model.theme_name.clone(), instead_of: configured.clone() });
    let panes = &model.panes;
    Remembered {
        only_flow: model.amount == Amount::Few,
        timeline: model.timeline.is_shown(),
        theme,
        panes: (0..panes.count()).map(|nth| of_pane(panes.get(nth))).collect(),
        focus: panes.focus(),
        full: panes.is_full(),
        ..Remembered::default()
    }
}

/// Without the earliest time: what was recent then is not recent in the next run.
fn of_pane(pane: &Pane) -> RememberedPane {
    let filter = pane.own_filter();
    let known = Stage::ALL.into_iter().map(Some).chain([None]);
    let name = |stage: Option<Stage>| stage.map_or(UNPARSED, Stage::as_str).to_owned();
    let stages = || known.filter(|&stage| filter.stages.contains(stage)).map(name).collect();
    RememberedPane {
        stages: (filter.stages != StageSet::ALL).then(stages),
        level: Some(filter.level).filter(|&level| level != Level::Info),
        project: filter.project.clone(),
        process: filter.process.as_ref().map(|process| process.name.clone()),
        query: filter.query.as_ref().map(|query| query.source().to_owned()),
        folds: pane.folds(),
        wraps: pane.wraps(),
    }
}

fn pane_of(model: &mut Model, remembered: &RememberedPane, is_whole: &mut bool) -> Pane {
    let stages = remembered.stages.as_ref().map(|names| {
        let stages = names.iter().filter_map(|name| match name.as_str() {
            UNPARSED => Some(None),
            name => name.parse().ok().map(Some),
        });
        stages.fold(StageSet::NONE, StageSet::with)
    });
    let query = match remembered.query.as_deref().map(|text| Query::parse(text, Purpose::Filter)) {
        None => None,
        Some(Ok(query)) => query,
        Some(Err(_)) => {
            *is_whole = false;
            None
        }
    };
    let filter = Filter {
        stages: stages.unwrap_or(StageSet::ALL),
        level: remembered.level.unwrap_or(Level::Info),
        project: remembered.project.clone(),
        process: remembered.process.clone().map(|name| process_filter(model, name)),
        query,
        ..Filter::default()
    };
    let (limit, height) = (model.limit(), model.log_height());
    let mut pane = Pane::default();
    pane.set_wraps(remembered.wraps);
    pane.set_folds(remembered.folds, &model.ring, limit, height);
    pane.set_filter(filter, &model.ring, limit, height);
    pane
}
