//! Answers of the pipeline.

use super::prompt;
use super::screens::{batch, problems, processes, queue, session, settle, trace};
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
        Answer::Changed(change, result) => return queue::changed(model, change, result),
        Answer::Exported(result) => {
            prompt::exported(model, result);
            return None;
        }
    }
    settle(model);
    None
}
