//! Answers of the pipeline.

use super::screens::{batch, edit, problems, processes, queue, session, settle, sql, trace};
use crate::model::Model;
use crate::msg::Effect;
use crate::requests::Answer;

/// Applies an answer; some lead to another request.
pub(super) fn take(model: &mut Model, answer: Answer) -> Option<Effect> {
    let now = model.now;
    match answer {
        Answer::Queue(answer) => {
            model.panels.queue.take(answer, now);
            problems::take_failed(model);
        }
        Answer::Bars(answer) => {
            model.panels.bars.take(answer, now);
            processes::refresh(model);
        }
        Answer::Who(answer) => model.panels.who.take(answer, now),
        Answer::History(answer) => model.panels.history.take(answer, now),
        Answer::Paused(part, paused, answer) => {
            let done = if paused { "paused" } else { "resumed" };
            model.notify(match answer {
                Ok(()) => format!("{} {done}", part.as_str()),
                Err(reason) => format!("{} not {done}: {reason}", part.as_str()),
            });
        }
        Answer::Live(answer) => model.panels.visitors.take(answer, now),
        Answer::Batch(id, answer) => batch::take(model, &id, &answer),
        Answer::Event(id, answer) => {
            trace::take(model, &id, &answer);
            return None;
        }
        Answer::Session(id, answer) => {
            session::take(model, &id, &answer);
            return None;
        }
        Answer::Sql(number, answer) => sql::take(model, number, answer),
        Answer::SqlSchema(answer) => sql::take_schema(model, answer),
        Answer::EditChecked(body, result) => edit::checked(model, &body, result),
        Answer::Edited(result) => return edit::retried(model, result),
        Answer::Changed(change, result) => return queue::changed(model, change, result),
    }
    settle(model);
    None
}
