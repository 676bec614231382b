//! What is paused, in files of the data dir: one for each part that is paused, with the pause as JSON.
//! Commands may change them next to a running pipeline.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use bklit_pipeline::queue::{PauseStore, QueueError};
use bklit_wire::pause::{Pausable, Pause, Paused};

/// The [`PauseStore`] of the embedded queue.
pub struct FilePauses {
    data_dir: PathBuf,
}

impl FilePauses {
    /// In this data dir.
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    fn file(&self, part: Pausable) -> PathBuf {
        self.data_dir.join(format!("paused-{}.json", part.as_str()))
    }

    fn load(&self, part: Pausable) -> io::Result<Option<Pause>> {
        match fs::read_to_string(self.file(part)) {
            Ok(json) => Pause::parse(&json).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save(&self, part: Pausable, pause: &Pause) -> io::Result<()> {
        let file = self.file(part);
        let draft = file.with_extension(format!("{}.new", std::process::id()));
        let mut draft_file = File::create(&draft)?;
        draft_file.write_all(pause.to_json().as_bytes())?;
        // Otherwise it may be empty after a power failure.
        draft_file.sync_all()?;
        fs::rename(draft, file)
    }

    fn remove(&self, part: Pausable) -> io::Result<()> {
        match fs::remove_file(self.file(part)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn failed(&self, part: Pausable, error: &io::Error) -> QueueError {
        QueueError::Unavailable(format!("{}: {error}", self.file(part).display()))
    }
}

#[async_trait]
impl PauseStore for FilePauses {
    async fn read(&self) -> Result<Paused, QueueError> {
        let mut paused = Paused::default();
        for part in Pausable::ALL {
            let pause = self.load(part).map_err(|error| self.failed(part, &error))?;
            *paused.part_mut(part) = pause;
        }
        Ok(paused)
    }

    async fn set(&self, part: Pausable, pause: Option<&Pause>) -> Result<(), QueueError> {
        let done = match pause {
            Some(pause) => self.save(part, pause),
            None => self.remove(part),
        };
        done.map_err(|error| self.failed(part, &error))
    }
}
