//! Finds the process that has locked a file, so that a message can name it. On Linux only.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::fs::{major, minor};

/// The locks of all processes, one in a line.
const LOCKS: &str = "/proc/locks";
/// The end of the name of the file next to the database that has the locks of a write-ahead log.
const SHARED_MEMORY: &str = "-shm";

/// Why a statement failed; of a locked file, also by whom.
pub(super) fn reason(error: &rusqlite::Error, path: &Path) -> String {
    let busy = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
    if !error.sqlite_error_code().is_some_and(|code| busy.contains(&code)) {
        return error.to_string();
    }
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let holder = holder(path).map(|process| format!(" by process {process}"));
    format!("{file} is locked{}", holder.unwrap_or_default())
}

/// Another process that may write the file, as `1234 (sqlite3)`.
fn holder(path: &Path) -> Option<String> {
    let mut shared = path.as_os_str().to_owned();
    shared.push(SHARED_MEMORY);
    let files = [path.to_owned(), PathBuf::from(shared)];
    let files: Vec<String> = files.iter().filter_map(|file| inode(file)).collect();
    let locks = fs::read_to_string(LOCKS).ok()?;
    let own = std::process::id().to_string();
    let process =
        locks.lines().find_map(|line| match *line.split_whitespace().collect::<Vec<_>>() {
            // A process that waits for a lock has `->` before its kind.
            [_, _, _, "WRITE", process, file, ..] => {
                let is_it = process != own && files.iter().any(|known| known == file);
                is_it.then_some(process)
            }
            _ => None,
        })?;
    Some(match fs::read_to_string(format!("/proc/{process}/comm")) {
        Ok(name) => format!("{process} ({})", name.trim()),
        Err(_) => process.to_owned(),
    })
}

/// How a file is named among the locks.
fn inode(path: &Path) -> Option<String> {
    let file = fs::metadata(path).ok()?;
    let (device, inode) = (file.dev(), file.ino());
    Some(format!("{:02x}:{:02x}:{inode}", major(device), minor(device)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::{Command, Stdio};

    use rusqlite::Connection;

    use super::*;

    const LOCK: &str = "BKLIT_TEST_LOCK";
    const HELD: &str = "the lock is held";

    /// Runs this test in another process, which holds the lock.
    #[test]
    fn the_process_that_has_a_file_locked_is_named() {
        if let Some(path) = std::env::var_os(LOCK) {
            let connection = Connection::open(path).unwrap();
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            println!("{HELD}");
            // Until the other one is done.
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            return;
        }
        for mode in ["WAL", "DELETE"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("store.db");
            let connection = Connection::open(&path).unwrap();
            connection.pragma_update(None, "journal_mode", mode).unwrap();
            connection.execute_batch("CREATE TABLE t (a)").unwrap();
            connection.busy_timeout(std::time::Duration::ZERO).unwrap();
            let write = || connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
            let name = "the_process_that_has_a_file_locked_is_named";
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([name, "--nocapture", "--test-threads=1"])
                .env(LOCK, &path)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().contains(HELD)));
            let error = write().unwrap_err();
            let says = reason(&error, &path);
            let process = format!("store.db is locked by process {} (", child.id());
            assert!(says.starts_with(&process) && says.ends_with(')'), "{mode}: {says}");
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
            assert_eq!(reason(&error, &path), "store.db is locked", "by nobody any more");
            write().unwrap();
        }
        let error = Connection::open_in_memory().unwrap().execute_batch("no SQL").unwrap_err();
        assert_eq!(reason(&error, Path::new("store.db")), error.to_string());
    }
}
