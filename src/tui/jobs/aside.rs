//! A file that appears once it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::expand;

/// A temporary file next to its place; removed unless it is moved there.
pub(crate) struct Aside {
    file: File,
    path: PathBuf,
    place: PathBuf,
    overwrite: bool,
}

impl Aside {
    /// Creates it for a path as typed. It contains visitors' data, so only the owner may read it.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is such a file that may not be overwritten; or why it
    /// cannot be created.
    pub(crate) fn create(typed: &str, overwrite: bool) -> io::Result<Self> {
        let place = expand(typed);
        if !overwrite && place.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let name = place.file_name().ok_or_else(|| io::Error::other("it is not a file name"))?;
        let mut aside = std::ffi::OsString::from(".");
        aside.push(name);
        aside.push(format!(".{}.part", std::process::id()));
        let path = place.with_file_name(aside);
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path)?;
        Ok(Self { file, path, place, overwrite })
    }

    /// Moves the file to its place; returns its whole path.
    ///
    /// # Errors
    /// Why that is not possible, also if the file was created meanwhile.
    pub(crate) fn publish(self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        self.place()?;
        Ok(fs::canonicalize(&self.place).unwrap_or_else(|_| self.place.clone()))
    }

    fn place(&self) -> io::Result<()> {
        if self.overwrite {
            return fs::rename(&self.path, &self.place);
        }
        // Unlike a rename, this fails if the target was created meanwhile.
        match fs::hard_link(&self.path, &self.place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // Not every file system supports links.
            Err(_) => fs::rename(&self.path, &self.place),
            Ok(()) => Ok(()),
        }
    }
}

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Once it was moved, there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}
