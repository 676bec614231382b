//! Reports of jobs.

use super::palette;
use crate::model::{Model, Recording};
use crate::msg::Report;

pub(super) fn take_in(model: &mut Model, report: Report) {
    match report {
        Report::PieceWritten => {
            if let Some(export) = &mut model.export {
                export.waits = false;
            }
        }
        // Lead to requests, so `update` handles them.
        Report::Bulk(_) | Report::Edited(_) => {}
        Report::Exported(outcome) => palette::exported(model, outcome),
        Report::RecordBegan(path) => {
            model.notify(format!("recording to {path}; :record off stops it"));
            model.recording = Some(Recording { path, bytes: 0, lost: 0, broke: None });
            model.dirty = true;
        }
        Report::Recorded { bytes, lost } => {
            if let Some(recording) = &mut model.recording {
                model.dirty |= (recording.bytes, recording.lost) != (bytes, lost);
                (recording.bytes, recording.lost) = (bytes, lost);
            }
        }
        Report::RecordEnded(why) => {
            model.recording = None;
            model.notify(why);
            model.dirty = true;
        }
        Report::RecordBroke(why) => {
            model.notify(format!("recording stopped: {why}"));
            if let Some(recording) = &mut model.recording {
                recording.broke = Some(why);
            }
            model.dirty = true;
        }
        Report::Files { dir, names } => palette::take_files(model, dir, names),
        Report::Notice(notice) => {
            model.notify(notice);
            model.dirty = true;
        }
    }
}
