//! The data dir: one running pipeline owns it, commands may read it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use color_eyre::eyre::{Result, WrapErr, bail, eyre};

use crate::config::Settings;

use super::adapters::{QUEUE_FILE, STORE_FILE};
pub use crate::client::ADDRESS_FILE;

/// The file with the address on which the WebSocket server of the running pipeline listens.
pub const WEBSOCKET_ADDRESS_FILE: &str = "websocket.addr";
/// Locked by the running pipeline; contains its process id.
pub(super) const LOCK_FILE: &str = "lock";

/// The data dir, locked by this process until dropped.
pub struct DataDir {
    path: PathBuf,
    /// The lock, which the system releases however the process ends.
    _lock: File,
}

impl DataDir {
    /// Creates the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// When another pipeline runs on it, or it is not writable.
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
        taken.remove_addresses();
        Ok(taken)
    }

    /// The path of the file `name` in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Publishes the address of the HTTP server for commands and scripts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn announce(&self, address: SocketAddr) -> io::Result<()> {
        self.write_address(ADDRESS_FILE, address)
    }

    /// Publishes the address of the WebSocket server.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn announce_websocket(&self, address: SocketAddr) -> io::Result<()> {
        self.write_address(WEBSOCKET_ADDRESS_FILE, address)
    }

    /// Addresses are stale once nothing listens on them, as after a crash.
    fn remove_addresses(&self) {
        for file in [ADDRESS_FILE, WEBSOCKET_ADDRESS_FILE] {
            let _ = fs::remove_file(self.join(file));
        }
    }

    fn write_address(&self, file: &str, address: SocketAddr) -> io::Result<()> {
        self.write(file, &address.to_string())
    }

    /// Replaces the file `name` by one with this line, atomically.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, line: &str) -> io::Result<()> {
        let draft = self.join(&format!("{name}.new"));
        fs::write(&draft, format!("{line}\n"))?;
        fs::rename(draft, self.join(name))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        self.remove_addresses();
    }
}

/// Creates the data dir, readable only by its owner: it contains tokens and visitors' data.
///
/// # Errors
/// When it cannot be created.
pub fn create(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).wrap_err_with(|| {
        format!("cannot create the data dir {}; choose another with --data-dir", path.display())
    })
}

/// Checks that a data dir other than the default one exists, for a command that only reads: a
/// mistyped path must not become a directory.
///
/// # Errors
/// When it does not exist.
pub(super) fn require_if_chosen(path: &Path) -> Result<()> {
    if path.is_dir() || path == Settings::default().data_dir {
        return Ok(());
    }
    bail!(
        "the data dir {} does not exist; correct --data-dir, leave it out for the default one, or \
         create the directory",
        path.display()
    )
}

/// What a store file without a queue file means.
pub(super) const LOST_QUEUE: &str = "is missing although there is a store: its waiting and failed \
                                     events are lost unless it is restored";

/// Whether the queue file was removed after a pipeline had run here.
pub(super) fn has_lost_queue(path: &Path) -> bool {
    !path.join(QUEUE_FILE).exists() && path.join(STORE_FILE).exists()
}

/// Warns before an empty queue replaces it.
pub(super) fn report_lost_queue(path: &Path) {
    if has_lost_queue(path) {
        let file = path.join(QUEUE_FILE);
        tracing::warn!("{} {LOST_QUEUE}; starting with an empty queue", file.display());
    }
}

/// The path of a file of the data dir that a command needs.
///
/// # Errors
/// When no pipeline has run on this data dir.
pub fn existing(path: &Path, name: &str) -> Result<PathBuf> {
    let file = path.join(name);
    if file.exists() {
        return Ok(file);
    }
    Err(eyre!("no data in {}: start `bklit-tui` first, or set --data-dir", path.display()))
}
