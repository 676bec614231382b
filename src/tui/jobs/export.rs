//! The file of an export: written under a temporary name and moved into place when complete.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::mpsc::Sender;

use super::expand;
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
    let path = expand(&target.path);
    if !target.overwrite && path.symlink_metadata().is_ok() {
        return Err(io::Error::other("file exists; :export! overwrites it"));
    }
    let aside = Aside::create(&path)?;
    let mut file = &aside.file;
    let _ = reports.blocking_send(Report::PieceWritten);
    loop {
        match parts.recv() {
            Ok(Part::Piece(piece)) => file.write_all(piece.as_bytes())?,
            Ok(Part::End) => break,
            Err(_) => return Err(io::Error::other("the console has ended")),
        }
        let _ = reports.blocking_send(Report::PieceWritten);
    }
    file.sync_all()?;
    aside.move_to(&path, target.overwrite)
}

/// A temporary file next to the target; removed unless it is moved into place.
struct Aside {
    file: File,
    path: PathBuf,
}

impl Aside {
    fn create(place: &Path) -> io::Result<Self> {
        let name = place.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let mut aside = std::ffi::OsString::from(".");
        aside.push(name);
        aside.push(format!(".{}.part", std::process::id()));
        let path = place.with_file_name(aside);
        let file = File::options().write(true).create(true).truncate(true).open(&path)?;
        Ok(Self { file, path })
    }

    fn move_to(self, place: &Path, overwrite: bool) -> io::Result<()> {
        if overwrite {
            return fs::rename(&self.path, place);
        }
        // Unlike a rename, this fails if the target was created meanwhile.
        match fs::hard_link(&self.path, place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // Not every file system supports links.
            Err(_) => fs::rename(&self.path, place),
            Ok(()) => Ok(()),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
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
    fn a_file_is_there_whole_or_not_at_all() {
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
