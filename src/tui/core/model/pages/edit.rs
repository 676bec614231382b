//! Edited events: what has changed, and what is wrong with it.

use ratatui::style::Style;
use ratatui::text::Line;

use super::Page;
use crate::bulk::Preview;
use crate::diff::DiffLine;
use crate::format;
use crate::keymap::Action;
use crate::model::Model;
use crate::model::edit::{Edit, EditScreen, EditState, Editing};
use crate::theme::{Segment, Theme, styled};
use bklit_wire::queue::FailedView;
use bklit_wire::text;

/// The most columns of a line that are shown.
const MAX_LINE: usize = 4_096;

impl Page for EditScreen {
    fn title(&self, model: &Model) -> Vec<Segment> {
        let what = match &self.edit {
            Edit::One(_) => "edit, then retry".to_owned(),
            Edit::Many { plan, .. } => format!("edit, then retry: {}", plan.operation.rule_text()),
        };
        vec![styled(text::safe(&what).into_owned(), model.options.theme.strong())]
    }

    fn rows(&self, model: &Model, width: u16) -> Vec<Line<'static>> {
        let mut rows = Rows {
            theme: model.options.theme,
            width: usize::from(width).saturating_sub(3),
            rows: vec![Line::default()],
        };
        match &self.edit {
            Edit::One(editing) => one(model, editing, &mut rows),
            Edit::Many { preview, diffs, .. } => many(model, preview, diffs, &mut rows),
        }
        rows.rows
    }

    fn scroll(&self) -> usize {
        self.scroll
    }

    fn scroll_mut(&mut self) -> &mut usize {
        &mut self.scroll
    }
}

struct Rows {
    theme: Theme,
    width: usize,
    rows: Vec<Line<'static>>,
}

impl Rows {
    fn text(&mut self, says: &str, style: Style) {
        for piece in text::wrap(&text::safe(says), self.width) {
            self.rows.push(Line::from(styled(format!("  {piece}"), style)));
        }
    }

    fn space(&mut self) {
        self.rows.push(Line::default());
    }

    fn diff(&mut self, lines: &[DiffLine]) {
        for line in lines {
            let style = match line {
                DiffLine::Removed(_) => self.theme.error(),
                DiffLine::Added(_) => self.theme.good(),
                DiffLine::Same(_) => self.theme.plain(),
                DiffLine::Gap => self.theme.dim(),
            };
            let says = line.text();
            self.text(text::fit_bytes(&says, MAX_LINE), style);
        }
    }
}

fn one(model: &Model, editing: &Editing, rows: &mut Rows) {
    let theme = model.options.theme;
    let (retry, again, discard) =
        (model.key(Action::ConfirmEdit), model.key(Action::EditOne), model.key(Action::Back));
    match &editing.state {
        EditState::Checking => rows.text("checking whether this is a valid event…", theme.dim()),
        EditState::Sending => rows.text("putting it into the queue…", theme.dim()),
        EditState::Valid => {
            let says = format!(
                "a valid event: {retry} puts it into the queue instead of the original, {again} edits \
                 it again, {discard} discards it"
            );
            rows.text(&says, theme.good());
        }
        EditState::Invalid(why) => {
            rows.text(why, theme.error());
            let says = format!("{again} edits it again, {discard} discards it");
            rows.text(&says, theme.plain());
        }
    }
    about(&editing.item, rows);
    rows.diff(&editing.diff);
}

fn about(item: &FailedView, rows: &mut Rows) {
    rows.space();
    let id = item.event.event_id.as_deref().unwrap_or(&item.id);
    rows.text(&format!("event {id} failed: {}", item.reason), rows.theme.dim());
}

fn many(model: &Model, preview: &Preview, diffs: &[Vec<DiffLine>], rows: &mut Rows) {
    let theme = model.options.theme;
    let count = format::plural(preview.changes, "event");
    let (retry, again, discard) =
        (model.key(Action::ConfirmEdit), model.key(Action::EditOne), model.key(Action::Back));
    let says = format!(
        "changes {count} of {}: {retry} edits and retries them, {again} changes the rule, {discard} \
         discards it",
        format::count(preview.chosen)
    );
    rows.text(&says, theme.strong());
    let shown = preview.samples.len() as u64;
    if shown < preview.changes {
        rows.text(&format!("the newest {shown} of them:"), theme.dim());
    }
    for (sample, diff) in preview.samples.iter().zip(diffs) {
        about(&sample.item, rows);
        if let Some(problem) = &sample.problem {
            rows.text(&format!("would stay as it is: {problem}"), theme.error());
        }
        rows.diff(diff);
    }
}
