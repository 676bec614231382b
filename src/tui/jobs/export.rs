//! The file of an export: written under a temporary name and moved into place when complete.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::mpsc::Sender;

use super::Aside;
use bklit_console_core::msg::{Report, Target};

/// What the thread receives.
enum Part {
    Piece(String),
    End,
}

/// An unfinished export. If dropped before [`Exporter::end`], its file is removed.
pub(super) struct Exporter(SyncSender<Part>);

impl Exporter {
    /// Starts the writer thread.
    pub(super) fn start(target: Target, reports: Sender<Report>) -> io::Result<Self> {
        // At most one piece and the end are in the channel.
        let (sender, parts) = sync_channel(2);
        std::thread::Builder::new().name("export".into()).spawn(move || {
            let outcome = write(&target, &parts, &reports);
            let outcome = outcome.map(|()| target.path.clone());
            let outcome = outcome.map_err(|error| format!("{error} ({})", target.path));
            let _ = reports.blocking_send(Report::Exported(outcome));
        })?;
        Ok(Self(sender))
    }

    /// Passes a piece to the thread. Returns whether the thread still accepts it.
    pub(super) fn write(&self, piece: String) -> bool {
        self.0.try_send(Part::Piece(piece)).is_ok()
    }

    /// Completes the export.
    pub(super) fn end(self) {
        let _ = self.0.try_send(Part::End);
    }
}

fn write(target: &Target, parts: &Receiver<Part>, reports: &Sender<Report>) -> io::Result<()> {
    let aside = Aside::create(&target.path, target.overwrite);
    let mut file = aside.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => io::Error::other("file exists; :export! overwrites it"),
        _ => error,
    })?;
    let _ = reports.blocking_send(Report::PieceWritten);
    loop {
        match parts.recv() {
            Ok(Part::Piece(piece)) => file.write_all(piece.as_bytes())?,
            Ok(Part::End) => break,
            Err(_) => return Err(io::Error::other("the console has ended")),
        }
        let _ = reports.blocking_send(Report::PieceWritten);
    }
    file.publish().map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn export(path: &Path, overwrite: bool, pieces: &[&str], end: bool) -> Result<String, String> {
        let (reports, mut incoming) = tokio::sync::mpsc::channel(64);
        let target = Target { path: path.to_str().unwrap().to_owned(), overwrite };
        let exporter = Exporter::start(target, reports).unwrap();
        let mut pieces = pieces.iter();
        let mut exporter = Some(exporter);
        loop {
            match incoming.blocking_recv().unwrap() {
                Report::PieceWritten => match (pieces.next(), end) {
                    (Some(piece), _) => {
                        assert!(exporter.as_ref().unwrap().write((*piece).to_owned()));
                    }
                    (None, true) => exporter.take().unwrap().end(),
                    (None, false) => drop(exporter.take()),
                },
                Report::Exported(outcome) => return outcome,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_file_appears_complete_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        assert!(export(&path, false, &["half"], false).unwrap_err().contains("ended"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        export(&path, false, &["a\n", "b\n"], true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
        let refused = export(&path, false, &["c"], true).unwrap_err();
        assert!(refused.contains("export!"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
        export(&path, true, &["c"], true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "c");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let nowhere = dir.path().join("no/such/dir.csv");
        assert!(export(&nowhere, false, &[], true).unwrap_err().contains("No such file"));
    }
}
