//! Exports failed events to a file, as JSON Lines. It appears once it is complete.

use std::io::{BufWriter, Write};

use tokio::task::spawn_blocking;

use crate::jobs::Aside;
use bklit_wire::queue::FailedView;

/// A file that is being written. If dropped before [`Export::complete`], nothing remains.
pub(super) struct Export {
    path: String,
    /// `None` only while it is written.
    out: Option<BufWriter<Aside>>,
}

impl Export {
    /// Creates a file that is not visible yet. `path` is as typed.
    ///
    /// # Errors
    /// The reason, also if the file exists.
    pub(super) async fn create(path: String) -> Result<Self, String> {
        let typed = path.clone();
        let aside = blocking(move || Aside::create(&typed, false)).await?;
        let aside = aside.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("{path} already exists"),
            _ => format!("cannot write {path}: {error}"),
        })?;
        Ok(Self { path, out: Some(BufWriter::new(aside)) })
    }

    /// Appends a line for each event; returns their number.
    ///
    /// # Errors
    /// Why it could not be written.
    pub(super) async fn write(&mut self, items: Vec<FailedView>) -> Result<u64, String> {
        let Some(mut out) = self.out.take() else { return Err(self.not_written("incomplete")) };
        let written = blocking(move || {
            for item in &items {
                serde_json::to_writer(&mut out, item)?;
                out.write_all(b"\n")?;
            }
            Ok::<_, std::io::Error>((out, items.len() as u64))
        });
        let (out, count) = written.await?.map_err(|error| self.not_written(error))?;
        self.out = Some(out);
        Ok(count)
    }

    /// Makes the file visible; returns its whole path.
    ///
    /// # Errors
    /// Why it could not be written, also if the file was created meanwhile.
    pub(super) async fn complete(mut self) -> Result<String, String> {
        let Some(out) = self.out.take() else { return Err(self.not_written("incomplete")) };
        let placed = blocking(move || out.into_inner().map_err(|e| e.into_error())?.publish());
        let path = placed.await?.map_err(|error| self.not_written(error))?;
        Ok(path.display().to_string())
    }

    fn not_written(&self, why: impl std::fmt::Display) -> String {
        format!("cannot write {}: {why}", self.path)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    spawn_blocking(work).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use bklit_wire::queue::EventView;

    fn item(body: &str) -> FailedView {
        let (id, reason, body) = ("1".into(), "no event".into(), body.into());
        FailedView { id, event: EventView::default(), failed_at: None, reason, body }
    }

    #[tokio::test]
    async fn a_private_file_with_one_line_per_event() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("failed.jsonl");
        let name = || path.to_str().unwrap().to_owned();
        let mut export = Export::create(name()).await.unwrap();
        assert_eq!(export.write(vec![item("a\nb")]).await, Ok(1));
        assert_eq!(export.write(vec![item("\u{1b}[2J")]).await, Ok(1));
        assert!(!path.exists(), "not before it is complete");
        export.complete().await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let read: Vec<FailedView> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, [item("a\nb"), item("\u{1b}[2J")]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Export::create(name()).await.err().unwrap();
        assert!(again.contains("already exists"), "{again}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let nowhere = dir.path().join("none/x").to_str().unwrap().to_owned();
        assert!(Export::create(nowhere).await.err().unwrap().contains("cannot write"));
    }

    #[tokio::test]
    async fn nothing_remains_of_an_incomplete_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x").to_str().unwrap().to_owned();
        let mut export = Export::create(path).await.unwrap();
        export.write(vec![item("a")]).await.unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(export);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
