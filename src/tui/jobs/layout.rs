//! Saves the layout of the console, for later runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::files::replace;
use bklit_console_core::remembered::{MAX_BYTES, Remembered};

/// The file in the data dir.
const LAYOUT: &str = "console-layout.json";
/// How long the end of the console may wait for the disk.
const FINISH_WAIT: Duration = Duration::from_millis(500);

/// The saved layout of the console in this data dir; `None` if there is no file.
///
/// # Errors
/// Why the file is not used.
pub fn saved_layout(dir: &Path) -> Result<Option<Remembered>, String> {
    let path = dir.join(LAYOUT);
    let read = || {
        let file = fs::metadata(&path)?;
        if !file.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if file.len() > MAX_BYTES as u64 {
            return Err(io::Error::other("too large"));
        }
        fs::read(&path)
    };
    let text = match read() {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{LAYOUT} is ignored: {error}")),
    };
    Remembered::read(&text).map(Some).map_err(|error| format!("{LAYOUT} is ignored: {error}"))
}

/// The file, which a thread writes, because the disk may be slow.
pub(super) struct LayoutFile {
    dir: PathBuf,
    pending: Arc<Mutex<Pending>>,
    /// Disconnects when the last thread has ended.
    last: Option<Receiver<()>>,
}

/// What is to be written.
#[derive(Default)]
struct Pending {
    latest: Option<Remembered>,
    /// Whether a thread is writing; it also writes what comes meanwhile.
    is_writing: bool,
}

impl LayoutFile {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, pending: Arc::default(), last: None }
    }

    pub(super) fn save(&mut self, layout: Remembered) {
        let mut pending = lock(&self.pending);
        pending.latest = Some(layout);
        if std::mem::replace(&mut pending.is_writing, true) {
            return;
        }
        let (dir, shared) = (self.dir.clone(), Arc::clone(&self.pending));
        let (done, last) = channel::<()>();
        let work = move || {
            while let Some(layout) = next(&shared) {
                if let Some(text) = layout.to_text() {
                    // Not important enough to complain about. There may be no data dir.
                    let _ = replace(&dir, LAYOUT, &text);
                }
            }
            drop(done);
        };
        let started = std::thread::Builder::new().name("files".into()).spawn(work);
        pending.is_writing = started.is_ok();
        self.last = started.ok().map(|_| last);
    }

    /// Waits until the last state is written, for a moment.
    pub(super) fn finish(&mut self) {
        if let Some(last) = self.last.take() {
            let _ = last.recv_timeout(FINISH_WAIT);
        }
    }
}

/// What to write next; without it, the thread ends.
fn next(pending: &Mutex<Pending>) -> Option<Remembered> {
    let mut pending = lock(pending);
    let latest = pending.latest.take();
    pending.is_writing = latest.is_some();
    latest
}

fn lock(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn layout(focus: usize) -> Remembered {
        let mut layout = Remembered::default();
        layout.focus = focus;
        layout
    }

    #[test]
    fn the_last_layout_comes_back_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(saved_layout(dir.path()), Ok(None));
        let mut file = LayoutFile::new(dir.path().to_owned());
        (0..50).for_each(|focus| file.save(layout(focus)));
        file.finish();
        assert_eq!(saved_layout(dir.path()).unwrap().unwrap().focus, 49);
        let mode = fs::metadata(dir.path().join(LAYOUT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        let missing = dir.path().join("missing");
        let mut file = LayoutFile::new(missing.clone());
        file.save(layout(1));
        file.finish();
        assert!(!missing.exists());
    }

    /// The disk may hang: threads must not pile up.
    #[test]
    fn what_changes_during_a_write_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LayoutFile::new(dir.path().to_owned());
        lock(&file.pending).is_writing = true;
        (0..50).for_each(|focus| file.save(layout(focus)));
        assert!(file.last.is_none(), "no second thread");
        assert_eq!(next(&file.pending).unwrap().focus, 49);
        assert_eq!((next(&file.pending), lock(&file.pending).is_writing), (None, false));
    }

    #[test]
    fn other_files_are_ignored_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LAYOUT);
        for text in ["", "{", "1", "{\"version\":9}", "\u{fffd}", &" ".repeat(MAX_BYTES + 1)] {
            fs::write(&path, text).unwrap();
            let error = saved_layout(dir.path()).unwrap_err();
            assert!(error.starts_with("console-layout.json is ignored: "), "{error}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(saved_layout(dir.path()).unwrap_err().ends_with("not a regular file"));
    }
}
