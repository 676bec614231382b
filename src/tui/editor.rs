//! Edits a text in the user's editor, which uses the terminal in the meantime.

use std::fs::{File, Permissions};
use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::terminal;

/// The largest text that is read back, in bytes.
const MAX_TEXT: u64 = 16 << 20;
/// How long an editor may take to end when the console does.
const END_WAIT: Duration = Duration::from_secs(2);
/// Editors that are tried if none is set.
const DEFAULTS: [&str; 2] = ["vi", "nano"];

/// The user's editor: `VISUAL`, `EDITOR`, or the first of vi and nano that is installed.
///
/// # Errors
/// If there is none.
pub fn command(variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let set = ["VISUAL", "EDITOR"].into_iter().filter_map(&variable);
    if let Some(editor) = set.into_iter().find(|editor| !editor.trim().is_empty()) {
        return Ok(editor);
    }
    let path = variable("PATH").unwrap_or_default();
    let is_installed =
        |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    let found = DEFAULTS.into_iter().find(is_installed);
    found.map(str::to_owned).ok_or_else(|| "no editor: set EDITOR, as in EDITOR=vim".to_owned())
}

/// A text in a file that only its owner can read, in a directory of its own, where the editor may
/// keep copies. Both are removed when it is dropped.
struct Draft {
    path: PathBuf,
    dir: TempDir,
}

impl Draft {
    fn create(text: &str) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        let dir = builder.prefix("bklit-").permissions(Permissions::from_mode(0o700)).tempdir()?;
        // The name tells editors that it is JSON.
        let path = dir.path().join("event.json");
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        Ok(Self { path, dir })
    }

    fn open(&self, editor: &str) -> io::Result<Child> {
        // By the shell, because an editor may have arguments. It is replaced by the editor, which then
        // gets the signals.
        let script = format!("exec {editor} \"$1\"");
        Command::new("sh").arg("-c").arg(script).arg("sh").arg(&self.path).spawn()
    }

    /// The edited text, without the last line end.
    fn read(&self) -> Result<String, String> {
        let unreadable = |error: io::Error| format!("the edited text cannot be read: {error}");
        let mut text = String::new();
        let file = File::open(&self.path).map_err(unreadable)?;
        file.take(MAX_TEXT + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_TEXT {
            return Err(format!("the edited text is longer than {} MiB", MAX_TEXT >> 20));
        }
        Ok(text.trim_end().to_owned())
    }

    fn finish(&self, mut child: Child) -> Result<String, String> {
        let status = child.wait().map_err(|error| format!("the editor failed: {error}"))?;
        if !status.success() {
            return Err(format!("the editor ended with {status}; nothing was changed"));
        }
        self.read()
    }
}

fn start(text: &str) -> Result<(Draft, Child), String> {
    let editor = command(|name| std::env::var(name).ok())?;
    let draft = Draft::create(text).map_err(|error| {
        let dir = std::env::temp_dir();
        format!("cannot write a file to edit in {}: {error}", dir.display())
    })?;
    let child = draft.open(&editor).map_err(|error| format!("cannot run {editor}: {error}"))?;
    Ok((draft, child))
}

/// Edits a text for a program without a screen, which leaves the terminal to the editor. If `ends`
/// completes first, the editor is asked to exit, and the text is removed.
///
/// # Errors
/// The result of `ends`.
pub async fn edit<T>(
    text: &str,
    ends: impl Future<Output = T>,
) -> Result<Result<String, String>, T> {
    terminal::lend();
    let mut editor = match Editor::start(text) {
        Ok(editor) => editor,
        Err(why) => {
            terminal::end_lending();
            return Ok(Err(why));
        }
    };
    let edited = tokio::select! {
        edited = editor.edited() => Ok(edited),
        ended = ends => Err(ended),
    };
    drop(editor);
    terminal::end_lending();
    edited
}

/// Ctrl-\ goes to all processes of the terminal: to this one only while no editor has it.
fn leave_quit_to_editors() -> io::Result<()> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut quit = signal(SignalKind::quit())?;
    WATCHED.store(true, Ordering::Relaxed);
    tokio::spawn(async move {
        while quit.recv().await.is_some() && terminal::is_lent() {}
        terminal::give_back();
        std::process::exit(128 + SignalKind::quit().as_raw_value());
    });
    Ok(())
}

/// An editor that has the terminal. If dropped, it is asked to exit, and its file is removed.
pub(crate) struct Editor {
    pid: Option<Pid>,
    /// The directory of its file.
    dir: PathBuf,
    thread: JoinHandle<()>,
    edited: oneshot::Receiver<Result<String, String>>,
}

impl Editor {
    /// Starts it. The terminal must have been restored, and nothing may read it until
    /// [`Editor::edited`] has returned.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(crate) fn start(text: &str) -> Result<Self, String> {
        leave_quit_to_editors().map_err(|error| format!("cannot handle signals: {error}"))?;
        let (draft, child) = start(text)?;
        let dir = draft.dir.path().to_owned();
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (sender, edited) = oneshot::channel();
        let wait = move || {
            // Fails if the console has ended.
            let _ = sender.send(draft.finish(child));
        };
        let thread = std::thread::Builder::new().name("editor".into()).spawn(wait);
        let thread = thread.map_err(|error| format!("cannot wait for the editor: {error}"))?;
        Ok(Self { pid, dir, thread, edited })
    }

    /// Waits for the edited text. Cancel-safe.
    async fn edited(&mut self) -> Result<String, String> {
        (&mut self.edited).await.unwrap_or_else(|_| Err("the editor was lost".to_owned()))
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        if self.thread.is_finished() {
            return;
        }
        if let Some(pid) = self.pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        // So that it has restored the terminal before the shell takes over.
        let deadline = Instant::now() + END_WAIT;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !self.thread.is_finished() {
            // It continues to run, but the file with a visitor's data is removed.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// The edited text; pending forever without an editor. Cancel-safe.
pub(crate) async fn edited(editor: &mut Option<Editor>) -> Result<String, String> {
    match editor {
        Some(editor) => editor.edited().await,
        None => std::future::pending().await,
    }
}

/// Stops this process, as the editor was by Ctrl-Z. The terminal belongs to the editor, so its
/// modes are not changed.
pub(crate) fn suspend() {
    let _ = kill_process(rustix::process::getpid(), Signal::STOP);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn edited_by(script: &str, text: &str) -> Result<String, String> {
        let draft = Draft::create(text).unwrap();
        let child = draft.open(script).unwrap();
        let result = draft.finish(child);
        let dir = draft.path.parent().unwrap().to_owned();
        drop(draft);
        assert!(!dir.exists(), "nothing remains");
        result
    }

    #[test]
    fn the_first_of_the_variables_counts() {
        let of = |visual: &str, editor: &str| {
            let (visual, editor) = (visual.to_owned(), editor.to_owned());
            command(move |name| match name {
                "VISUAL" => Some(visual.clone()),
                "EDITOR" => Some(editor.clone()),
                _ => None,
            })
        };
        assert_eq!(of("code -w", "vim"), Ok("code -w".to_owned()));
        assert_eq!(of(" ", "vim"), Ok("vim".to_owned()));
        assert!(of("", "").unwrap_err().contains("set EDITOR"));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("nano"), "").unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        let only_nano = |name: &str| (name == "PATH").then(|| path.clone());
        assert_eq!(command(only_nano), Ok("nano".to_owned()));
    }

    #[test]
    fn text_is_edited_in_a_private_file() {
        assert_eq!(edited_by("sed -i s/a/b/", "a\na"), Ok("b\nb".to_owned()));
        let script = "stat -c %a $1 ${1%/*} >$1.new; mv $1.new $1";
        let modes = edited_by(&format!("sh -c '{script}' sh"), "");
        assert_eq!(modes, Ok("600\n700".to_owned()));
        assert_eq!(edited_by("true", "{\n}"), Ok("{\n}".to_owned()));
    }

    #[test]
    fn a_failure_is_explained() {
        assert!(edited_by("false", "").unwrap_err().contains("exit status: 1"));
        assert!(edited_by("rm", "").unwrap_err().contains("cannot be read"));
        assert!(edited_by("printf '\\377' >", "").unwrap_err().contains("cannot be read"));
        let large = format!("head -c {} /dev/zero >", MAX_TEXT + 1);
        assert!(edited_by(&large, "").unwrap_err().contains("longer than 16 MiB"));
    }
}
