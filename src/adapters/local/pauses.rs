//! What is paused, in a file of the data dir.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use async_trait::async_trait;

use bklit_pipeline::queue::{PauseStore, QueueError};
use bklit_wire::pause::{Pausable, Pause, Paused};

/// Its name in the data dir.
pub const FILE: &str = "paused.json";

/// The [`PauseStore`] of the embedded queue. Commands may change the file next to a running pipeline.
pub struct FilePauses {
    file: PathBuf,
    /// Held while the file is changed.
    changing: Mutex<()>,
}

impl FilePauses {
    /// In this data dir.
    pub fn new(data_dir: &Path) -> Self {
        Self { file: data_dir.join(FILE), changing: Mutex::default() }
    }

    fn load(&self) -> io::Result<Paused> {
        match fs::read(&self.file) {
            Ok(json) => serde_json::from_slice(&json).map_err(io::Error::from),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Paused::default()),
            Err(error) => Err(error),
        }
    }

    fn save(&self, paused: &Paused) -> io::Result<()> {
        if paused.is_empty() {
            return match fs::remove_file(&self.file) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let draft = self.file.with_extension("json.new");
        fs::write(&draft, serde_json::to_vec(paused)?)?;
        fs::rename(draft, &self.file)
    }

    fn failed(&self, error: &io::Error) -> QueueError {
        QueueError::Unavailable(format!("{}: {error}", self.file.display()))
    }
}

#[async_trait]
impl PauseStore for FilePauses {
    async fn read(&self) -> Result<Paused, QueueError> {
        self.load().map_err(|error| self.failed(&error))
    }

    async fn set(&self, part: Pausable, pause: Option<&Pause>) -> Result<(), QueueError> {
        let _alone = self.changing.lock();
        let change = || {
            let mut paused = self.load()?;
            *paused.part_mut(part) = pause.cloned();
            self.save(&paused)
        };
        change().map_err(|error| self.failed(&error))
    }
}
