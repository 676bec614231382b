//! `queue export`: writes events as JSON Lines, to a file that appears once it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use color_eyre::Result;
use color_eyre::eyre::{WrapErr, bail, eyre};

use super::walk::{Walk, Which};
use super::{list, print};
use crate::cli::FilterArgs;
use bklit_pipeline::queue::Queue;

pub(super) async fn run(
    queue: &dyn Queue,
    which: Which,
    filter: &FilterArgs,
    (file, force): (&str, bool),
) -> Result<()> {
    let mut walk = Walk::over(queue, which, filter);
    if file == "-" {
        while let Some(entries) = walk.next().await? {
            if !entries.is_empty() && !print(&list::lines(&entries)?)? {
                break;
            }
        }
        return Ok(());
    }
    let path = Path::new(file);
    let written = || format!("cannot write {}", path.display());
    // Before reading a long queue; another process may still create it.
    if !force && path.symlink_metadata().is_ok() {
        bail!("{} exists; choose another file, or overwrite it with --force", path.display());
    }
    let mut draft = Draft::create_next_to(path).wrap_err_with(written)?;
    let mut count = 0;
    while let Some(entries) = walk.next().await? {
        count += entries.len();
        let lines = list::lines(&entries)?;
        draft.out.write_all(lines.as_bytes()).wrap_err_with(written)?;
    }
    draft.publish(path, force).wrap_err_with(written)?;
    eprintln!("{count} {} events written to {}", which.adjective(), path.display());
    Ok(())
}

/// A temporary file that is renamed when complete, else removed.
struct Draft {
    path: PathBuf,
    out: BufWriter<File>,
}

impl Draft {
    fn create_next_to(path: &Path) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| eyre!("not a file name"))?;
        let name = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        let path = path.with_file_name(name);
        // It contains visitors' data, so only the owner may read it.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, out: BufWriter::new(file) })
    }

    fn publish(mut self, path: &Path, force: bool) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        if force {
            return fs::rename(&self.path, path);
        }
        // Fails if the file exists by now, unlike a rename.
        fs::hard_link(&self.path, path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After the rename, there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}
