//! Lists directories for completion, and saves filters and what was typed.

use std::collections::BTreeMap;
use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tokio::sync::mpsc::Sender;

use super::expand;
use bklit_console_core::histories::Histories;
use bklit_console_core::msg::Report;

/// The most names listed per directory.
const MAX_NAMES: usize = 500;
/// The file of saved filters, in the data dir.
const FILTERS: &str = "console-filters.json";

/// The file of what was typed, in the data dir.
const HISTORIES: &str = "console-history.json";
/// The largest such file that is read, in bytes.
const MAX_HISTORIES: u64 = 4 << 20;

/// Lists a directory in a thread, because its disk may be unavailable.
pub(super) fn list(dir: String, reports: Sender<Report>) {
    let work = move || {
        let path = if dir.is_empty() { PathBuf::from(".") } else { expand(&dir) };
        let mut names = Vec::new();
        for entry in fs::read_dir(path).into_iter().flatten().flatten().take(MAX_NAMES) {
            let Ok(mut name) = entry.file_name().into_string() else { continue };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                name.push('/');
            }
            if !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        let _ = reports.blocking_send(Report::Files { dir, names });
    };
    // If no thread can be started, only completion is missing.
    let _ = std::thread::Builder::new().name("files".into()).spawn(work);
}

/// The filters saved in a data dir.
///
/// # Errors
/// If the file exists and cannot be used.
pub fn saved_filters(dir: &Path) -> io::Result<BTreeMap<String, String>> {
    match fs::read(dir.join(FILTERS)) {
        Ok(json) => Ok(serde_json::from_slice(&json)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// Adds a filter to the saved ones.
pub(super) fn save_filter(dir: PathBuf, name: String, query: String, reports: Sender<Report>) {
    let work = move || {
        if let Err(error) = save(&dir, name, query) {
            let path = dir.join(FILTERS);
            let notice = format!("not saved in {}: {error}", path.display());
            let _ = reports.blocking_send(Report::Notice(notice));
        }
    };
    let _ = std::thread::Builder::new().name("files".into()).spawn(work);
}

/// What was typed in earlier runs. It is not important enough to complain about a file that cannot be
/// read.
pub fn saved_histories(dir: &Path) -> Histories {
    let path = dir.join(HISTORIES);
    let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= MAX_HISTORIES);
    let json = is_small.then(|| fs::read(path).ok()).flatten();
    let histories = json.and_then(|json| serde_json::from_slice::<Histories>(&json).ok());
    histories.unwrap_or_default().bounded()
}

/// Saves what was typed, in a thread.
pub(super) fn save_histories(dir: PathBuf, histories: Histories) {
    // An input that is not saved is not important enough to complain about.
    let work = move || drop(add_histories(&dir, &histories));
    let _ = std::thread::Builder::new().name("files".into()).spawn(work);
}

/// Adds what was typed to what other consoles have saved.
fn add_histories(dir: &Path, histories: &Histories) -> io::Result<()> {
    static SAVING: Mutex<()> = Mutex::new(());
    let _alone = SAVING.lock();
    // Fails if there is no data dir: it is up to the pipeline to create it.
    let all = saved_histories(dir).with(histories);
    replace(dir, HISTORIES, &serde_json::to_vec(&all)?)
}

fn save(dir: &Path, name: String, query: String) -> io::Result<()> {
    // Keeps what another console has saved meanwhile.
    let mut filters = saved_filters(dir)?;
    filters.insert(name, query);
    replace(dir, FILTERS, &serde_json::to_vec_pretty(&filters)?)
}

/// Writes a file as a whole, which only its owner can read.
pub(super) fn replace(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let aside = dir.join(format!(".{name}.{}.part", std::process::id()));
    // Left by a killed process with the same id.
    let _ = fs::remove_file(&aside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(content)?;
    fs::rename(aside, dir.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_filters_come_back_and_a_broken_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert!(saved_filters(dir.path()).unwrap().is_empty());
        save(dir.path(), "a".into(), "level:error".into()).unwrap();
        save(dir.path(), "b".into(), "\"ü\"".into()).unwrap();
        save(dir.path(), "a".into(), "x".into()).unwrap();
        let saved = saved_filters(dir.path()).unwrap();
        assert_eq!(saved, BTreeMap::from([("a".into(), "x".into()), ("b".into(), "\"ü\"".into())]));
        fs::write(dir.path().join(FILTERS), "{").unwrap();
        assert!(save(dir.path(), "c".into(), "x".into()).is_err());
        assert_eq!(fs::read_to_string(dir.path().join(FILTERS)).unwrap(), "{");
    }

    #[test]
    fn what_was_typed_comes_back_but_creates_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(saved_histories(dir.path()), Histories::default());
        let typed = |json| serde_json::from_str::<Histories>(json).unwrap();
        let one = typed(r#"{"commands":["since 1m"],"queries":["a","b"]}"#);
        add_histories(dir.path(), &one).unwrap();
        assert_eq!(saved_histories(dir.path()), one);
        add_histories(dir.path(), &typed(r#"{"queries":["c","a"]}"#)).unwrap();
        let saved = saved_histories(dir.path());
        let both = r#"{"commands":["since 1m"],"queries":["b","c","a"],"sql":[]}"#;
        assert_eq!(serde_json::to_string(&saved).unwrap(), both, "of two consoles");
        fs::write(dir.path().join(HISTORIES), "{").unwrap();
        assert_eq!(saved_histories(dir.path()), Histories::default());
        let missing = dir.path().join("missing");
        assert!(add_histories(&missing, &saved).is_err());
        assert!(!missing.exists());
    }

    #[test]
    fn a_directory_is_listed_without_hidden_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.jsonl", ".hidden"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("dir")).unwrap();
        let (reports, mut incoming) = tokio::sync::mpsc::channel(1);
        list(format!("{}/", dir.path().display()), reports.clone());
        let Some(Report::Files { names, .. }) = incoming.blocking_recv() else { panic!("none") };
        assert_eq!(names, ["a.jsonl", "b.csv", "dir/"]);
        list("/no/such/dir/".into(), reports);
        let Some(Report::Files { names, .. }) = incoming.blocking_recv() else { panic!("none") };
        assert!(names.is_empty());
    }
}
