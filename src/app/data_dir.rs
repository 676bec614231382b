//! The data dir: one running pipeline owns it, commands may look in.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use color_eyre::eyre::{Result, WrapErr, bail, eyre};

use super::adapters::{QUEUE_FILE, STORE_FILE};
pub use crate::client::ADDRESS_FILE;

/// Where a running pipeline says at which address its WebSocket server listens.
pub const WEBSOCKET_ADDRESS_FILE: &str = "websocket.addr";
/// Locked by the running pipeline, and names its process.
pub(super) const LOCK_FILE: &str = "lock";

/// The data dir of this process, until dropped.
pub struct DataDir {
    path: PathBuf,
    /// Held: the lock goes with the process, however it ends.
    _lock: File,
}

impl DataDir {
    /// Makes the directory where it is missing and takes it.
    ///
    /// # Errors
    /// When another pipeline runs on it, or it cannot be written.
    pub fn take(path: &Path) -> Result<Self> {
        create(path)?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .wrap_err_with(|| format!("cannot write in the data dir {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = fs::read_to_string(&lock_path).unwrap_or_default();
                let owner = owner.trim();
                bail!(
                    "another bklit-tui (process {owner}) runs on the data dir {}; watch it with \
                     `bklit-tui attach`, or give this one its own --data-dir and --listen",
                    path.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).wrap_err_with(|| format!("cannot lock {}", lock_path.display()));
            }
        }
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        let taken = Self { path: path.to_path_buf(), _lock: lock };
        taken.forget_addresses();
        Ok(taken)
    }

    /// The path of `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down where the pipeline listens, for commands and scripts. Appears whole or not.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn announce(&self, address: SocketAddr) -> io::Result<()> {
        self.write_address(ADDRESS_FILE, address)
    }

    /// Writes down where its WebSocket server listens.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn announce_websocket(&self, address: SocketAddr) -> io::Result<()> {
        self.write_address(WEBSOCKET_ADDRESS_FILE, address)
    }

    /// They are stale once nobody listens, also after a crash.
    fn forget_addresses(&self) {
        for file in [ADDRESS_FILE, WEBSOCKET_ADDRESS_FILE] {
            let _ = fs::remove_file(self.join(file));
        }
    }

    fn write_address(&self, file: &str, address: SocketAddr) -> io::Result<()> {
        self.write(file, &address.to_string())
    }

    /// Writes a line into a file of it, which appears whole or not.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &str, line: &str) -> io::Result<()> {
        let draft = self.join(&format!("{file}.new"));
        fs::write(&draft, format!("{line}\n"))?;
        fs::rename(draft, self.join(file))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        self.forget_addresses();
    }
}

/// Makes the data dir, readable by its owner only: it holds tokens and visitors' data.
///
/// # Errors
/// When it cannot be made.
pub fn create(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).wrap_err_with(|| {
        format!("cannot make the data dir {}; choose another with --data-dir", path.display())
    })
}

/// What a store without a queue means.
pub(super) const LOST_QUEUE: &str = "is missing next to the store: events that waited in it, and \
                                     failed events, are lost unless it is restored";

/// Whether the queue's file was removed after a pipeline had run here.
pub(super) fn has_lost_queue(path: &Path) -> bool {
    !path.join(QUEUE_FILE).exists() && path.join(STORE_FILE).exists()
}

/// Warns before an empty one replaces it.
pub(super) fn report_lost_queue(path: &Path) {
    if has_lost_queue(path) {
        let file = path.join(QUEUE_FILE);
        tracing::warn!("{} {LOST_QUEUE}; starting with an empty queue", file.display());
    }
}

/// The path of a file of the data dir that a command needs.
///
/// # Errors
/// When nothing ran on this data dir yet.
pub fn existing(path: &Path, name: &str) -> Result<PathBuf> {
    let file = path.join(name);
    if file.exists() {
        return Ok(file);
    }
    Err(eyre!(
        "there is no data in {} yet; start `bklit-tui` first, or name its --data-dir",
        path.display()
    ))
}
