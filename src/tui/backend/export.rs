//! Exports failed events to a file, as JSON Lines.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bklit_wire::queue::FailedView;

/// Writes them to a new file. On failure no file remains.
///
/// # Errors
/// The reason, also if a file of that name exists.
pub(super) fn write(path: &Path, items: &[FailedView]) -> Result<(u64, PathBuf), String> {
    let not_written = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!("{} already exists", path.display()),
        _ => format!("cannot write {}: {error}", path.display()),
    };
    // Contains visitors' data, so only the owner may read it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut out = BufWriter::new(file.map_err(not_written)?);
    let mut write = || -> io::Result<()> {
        for item in items {
            serde_json::to_writer(&mut out, item)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        out.get_ref().sync_all()
    };
    if let Err(error) = write() {
        // Created by this call, and incomplete.
        let _ = fs::remove_file(path);
        return Err(not_written(error));
    }
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Ok((items.len() as u64, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::queue::EventView;

    fn item(body: &str) -> FailedView {
        let (id, reason, body) = ("1".into(), "no event".into(), body.into());
        FailedView { id, event: EventView::default(), failed_at: None, reason, body }
    }

    #[test]
    fn a_line_an_event_in_a_new_file_of_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("failed.jsonl");
        assert_eq!(write(&path, &[item("a\nb"), item("\u{1b}[2J")]).unwrap().0, 2);
        let text = fs::read_to_string(&path).unwrap();
        let read: Vec<FailedView> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, [item("a\nb"), item("\u{1b}[2J")]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = write(&path, &[item("other")]).unwrap_err();
        assert!(again.contains("already exists"), "{again}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert!(write(&dir.path().join("none/x"), &[]).unwrap_err().contains("cannot write"));
    }
}
