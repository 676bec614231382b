//! Keeps failed events as they were before they are edited, in a file that is only appended to.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use bklit_wire::queue::FailedView;
use bklit_wire::time::UtcMillis;

/// The file, in the data dir.
pub const ORIGINALS: &str = "edited-events.jsonl";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Original<'a> {
    edited_at: UtcMillis,
    #[serde(flatten)]
    item: &'a FailedView,
}

/// Appends a line for each event to the file in the data dir, which is created if it is missing;
/// returns its path. They are on disk then.
///
/// # Errors
/// Why they could not be written; then the events must not be changed.
pub fn keep(data_dir: &Path, items: &[FailedView]) -> Result<PathBuf, String> {
    let path = data_dir.join(ORIGINALS);
    let not_kept = |error: io::Error| {
        format!("not edited: the original cannot be kept in {}: {error}", path.display())
    };
    append(data_dir, &path, items).map_err(not_kept)?;
    Ok(path)
}

fn append(data_dir: &Path, path: &Path, items: &[FailedView]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let (mut lines, edited_at) = (Vec::new(), UtcMillis::now());
    for item in items {
        serde_json::to_writer(&mut lines, &Original { edited_at, item })?;
        lines.push(b'\n');
    }
    // It contains visitors' data, so only the owner may read it.
    let mut file = File::options().append(true).create(true).mode(0o600).open(path)?;
    // In one write, so that lines of several processes do not mix.
    file.write_all(&lines)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use bklit_wire::queue::EventView;

    #[test]
    fn originals_are_added_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("missing");
        let item = |body: &str| FailedView {
            id: "1".into(),
            event: EventView::of(body),
            failed_at: None,
            reason: "bad".into(),
            body: body.into(),
        };
        let items = [item(r#"{"id":"a"}"#), item("b\n")];
        let path = keep(&data_dir, &items[..1]).unwrap();
        keep(&data_dir, &items[1..]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let read: Vec<FailedView> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, items);
        assert!(text.lines().all(|line| line.contains("\"editedAt\":\"20")), "{text}");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&data_dir)), (0o600, 0o700));
        let error = keep(&path, &items).unwrap_err();
        assert!(error.contains("not edited: the original cannot be kept"), "{error}");
    }
}
