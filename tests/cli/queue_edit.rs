//! `queue edit` on a terminal: an editor shares it with the program, and so its signals.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use super::queue::{failed_ids, in_terminal, status, with_failed};
use crate::support::pty::Pty;
use crate::support::{Cli, DEADLINE, eventually};

/// Like `ed`: the terminal stays in its usual modes, and Ctrl-C does not end it. It exits after a
/// line of input.
const EDITOR: &str = r#"
trap 'echo not me' INT QUIT
echo $$ >"$0.pid"
echo editing
until read -r line; do :; done
sed -i s/example.com/fixed.example/ "$1"
"#;

/// `queue edit` in an editor, with a directory for its files.
struct Editing {
    cli: Cli,
    pty: Pty,
    drafts: TempDir,
    script: PathBuf,
}

impl Editing {
    fn start(script: &str) -> Self {
        let cli = Cli::new();
        with_failed(&cli.data_dir());
        let id = failed_ids(&cli)[0].clone();
        let (drafts, path) = (tempfile::tempdir().unwrap(), cli.data_dir().join("editor.sh"));
        std::fs::write(&path, script).unwrap();
        let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_bklit-tui"));
        command.env_clear();
        command.env("BKLIT_DATA_DIR", cli.data_dir());
        command.env("PATH", std::env::var("PATH").unwrap());
        command.env("TMPDIR", drafts.path());
        command.env("EDITOR", format!("sh {}", path.display()));
        command.args(["queue", "edit", &id]);
        let pty = Pty::spawn(command, (120, 40));
        pty.wait_for_text("editing");
        let editing = Self { cli, pty, drafts, script: path };
        assert_eq!(editing.drafts(), 1);
        editing
    }

    fn drafts(&self) -> usize {
        std::fs::read_dir(self.drafts.path()).unwrap().count()
    }

    fn editor(&self) -> i32 {
        let pid = std::fs::read_to_string(self.script.with_extension("sh.pid")).unwrap();
        pid.trim().parse().unwrap()
    }

    fn editor_is_gone(&self) -> bool {
        !Path::new(&format!("/proc/{}", self.editor())).exists()
    }
}

impl Drop for Editing {
    fn drop(&mut self) {
        // One that nothing else ends.
        let _ = kill_process(Pid::from_raw(self.editor()).unwrap(), Signal::KILL);
    }
}

#[test]
fn keys_that_send_signals_are_the_editors() {
    let mut editing = Editing::start(EDITOR);
    let pty = &mut editing.pty;
    pty.send("\x03");
    pty.wait_for_text("not me");
    pty.send("\x1c");
    pty.wait_for("both", |screen| screen.contents().matches("not me").count() == 2);
    pty.send("done\n");
    pty.wait_for_text("fixed.example");
    pty.wait_for_text("Type `edit 1`");
    pty.send("edit 1\n");
    pty.wait_for_text("Edited and put back into the queue: 1");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    assert_eq!(editing.drafts(), 0);
    let status = status(&editing.cli);
    assert_eq!((&status["failed"], &status["waiting"]), (&json!(4), &json!(1)));
}

#[test]
fn ctrl_c_ends_the_program_at_its_question() {
    let mut editing = Editing::start(EDITOR);
    editing.pty.send("done\n");
    editing.pty.wait_for_text("Type `edit 1`");
    // It is ignored for a moment, as it may have been meant for the editor.
    let program = PathBuf::from(format!("/proc/{}/exe", editing.pty.pid()));
    let is_gone = || program.read_link().is_err();
    eventually(DEADLINE, "it ends", || {
        editing.pty.signal(Signal::INT);
        is_gone()
    });
    assert_eq!(editing.pty.wait_for_exit(), Ok(130));
    assert_eq!((editing.drafts(), &status(&editing.cli)["failed"]), (0, &json!(5)));
}

#[test]
fn a_signal_ends_the_editor_and_removes_the_draft() {
    let mut editing = Editing::start(EDITOR);
    editing.pty.signal(Signal::TERM);
    assert_eq!(editing.pty.wait_for_exit(), Ok(143));
    assert_eq!(editing.drafts(), 0);
    eventually(DEADLINE, "the editor has ended", || editing.editor_is_gone());
    assert_eq!(status(&editing.cli)["failed"], 5);
    // An editor that does not exit cannot keep it alive either.
    let stubborn = format!("trap '' TERM HUP\n{EDITOR}");
    let mut editing = Editing::start(&stubborn);
    editing.pty.signal(Signal::HUP);
    assert_eq!(editing.pty.wait_for_exit(), Ok(129));
    assert_eq!(editing.drafts(), 0);
}

#[test]
fn originals_are_named_only_if_they_were_kept() {
    let cli = Cli::new();
    with_failed(&cli.data_dir());
    let rule = ["queue", "edit", "--all", "--rule", "set payload.title = \"T\""];
    let mut terminal = in_terminal(&cli, &rule);
    terminal.wait_for_text("Type `edit 5`");
    cli.run(&["queue", "delete", "--all", "--yes"]).ok();
    terminal.send("edit 5\n");
    terminal.wait_for_text("Edited and put back into the queue: 0");
    assert_eq!(terminal.wait_for_exit(), Ok(1));
    let shown = terminal.contents();
    assert!(shown.contains("The events are no longer in the failed queue"), "{shown}");
    assert!(!shown.contains("The originals are in"), "{shown}");
    assert!(!cli.data_dir().join("edited-events.jsonl").exists());
}
