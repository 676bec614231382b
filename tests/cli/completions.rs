//! The completion scripts in real shells.

use std::path::{Path, PathBuf};

use portable_pty::CommandBuilder;

use crate::support::pty::Pty;
use crate::support::servers::provided;

/// A file in the working directory, which only arguments that take files may complete to.
const FILE: &str = "decoy.jsonl";
const PROMPT: &str = "ready>";

/// The text typed before Tab, the expected completions, and those that must not appear.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

const CASES: [Case; 11] = [
    ("bklit-tui que", &["queue"], &[FILE]),
    (
        "bklit-tui queue ",
        &["status", "list", "retry", "delete", "export", "drain"],
        &[FILE, "simulate"],
    ),
    ("bklit-tui token ", &["create", "list", "revoke"], &[FILE]),
    ("bklit-tui logs --level ", &["info", "warn", "error"], &[FILE, "--follow"]),
    (
        "bklit-tui logs --stage ",
        &["ingestion", "queue", "worker", "clickhouse", "pubsub", "websocket"],
        &[FILE],
    ),
    ("bklit-tui logs --stage queue,wo", &["queue,worker"], &[FILE]),
    ("bklit-tui token create --scope ", &["ingest", "read", "admin"], &[FILE]),
    ("bklit-tui --theme ", &["dark", "light", "mono"], &[FILE]),
    ("bklit-tui --durability ", &["everysec", "always"], &[FILE]),
    ("bklit-tui --roles worker,", &["worker,ingestion", "worker,websocket"], &[FILE]),
    ("bklit-tui replay ", &[FILE], &["simulate"]),
];

/// A directory with the decoy and the shell's startup files.
fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [(FILE, "")].iter().chain(files) {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn command(shell: impl AsRef<std::ffi::OsStr>, home: &Path) -> CommandBuilder {
    let program = Path::new(env!("CARGO_BIN_EXE_bklit-tui")).parent().unwrap();
    let system = std::env::var("PATH").unwrap();
    let mut command = CommandBuilder::new(shell);
    command.env_clear();
    command.env("PATH", format!("{}:{system}", program.display()));
    command.env("HOME", home);
    command.env("TERM", "xterm");
    command.env("LC_ALL", "C.UTF-8");
    command.cwd(home);
    command
}

/// Types every case into an interactive shell, with Tab after it, and reads the screen.
fn check(command: CommandBuilder) {
    // Large enough that shells list everything without asking.
    let mut pty = Pty::spawn(command, (160, 120));
    for (typed, offered, not_offered) in CASES {
        pty.wait_for(PROMPT, |screen| screen.contents().trim() == PROMPT);
        let already = |word: &str| typed.matches(word).count();
        pty.send(&format!("{typed}\t"));
        pty.wait_for(&format!("{typed:?} is completed by {offered:?}"), |screen| {
            let contents = screen.contents();
            offered.iter().all(|word| contents.matches(word).count() > already(word))
        });
        let contents = pty.contents();
        for word in not_offered {
            assert!(contents.matches(word).count() <= already(word), "{word}:\n{contents}");
        }
        // Ctrl-U clears the line, Ctrl-L the screen.
        pty.send("\x15\x0c");
    }
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let script = format!(
        "PS1='{PROMPT} '\nsource <(bklit-tui completions bash)\n\
         bind 'set show-all-if-ambiguous on' 'set bell-style none' 2>/dev/null\n\
         bind 'set enable-bracketed-paste off'\nclear\n"
    );
    let home = home(&[("rc", &script)]);
    let mut bash = command("bash", home.path());
    bash.args(["--noprofile", "--rcfile", "rc", "-i"]);
    check(bash);
}

#[test]
fn zsh_completes_commands_flags_and_values() {
    let shell: PathBuf = provided("BKLIT_TEST_ZSH");
    let script = format!(
        "PS1='{PROMPT} '\nautoload -Uz compinit\ncompinit -u -D\nunsetopt beep prompt_sp\n\
         source <(bklit-tui completions zsh)\nclear\n"
    );
    let home = home(&[(".zshrc", &script)]);
    let mut zsh = command(shell, home.path());
    zsh.arg("-i");
    check(zsh);
}

#[test]
fn fish_completes_commands_flags_and_values() {
    let shell = provided("BKLIT_TEST_FISH");
    let home = home(&[]);
    for (typed, offered, not_offered) in CASES {
        // fish has a command that prints the completions.
        let script =
            format!("bklit-tui completions fish | source; complete --do-complete '{typed}'");
        let command = command(&shell, home.path());
        let mut fish = std::process::Command::new(&shell);
        fish.env_clear().envs(command.iter_full_env_as_str()).current_dir(home.path());
        let output = fish.args(["--no-config", "--command", &script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let words: Vec<_> = text.lines().filter_map(|line| line.split('\t').next()).collect();
        for word in offered {
            assert!(words.contains(word), "{typed}: {word} is not in {words:?}\n{output:?}");
        }
        for word in not_offered {
            assert!(!words.contains(word), "{typed}: {word} is in {words:?}");
        }
    }
}

#[test]
fn a_mistyped_value_is_an_error_with_the_possible_values_and_a_suggestion() {
    let cli = crate::support::Cli::new();
    for (arguments, parts) in [
        (&["logs", "--level", "eror"][..], ["possible values: info, warn, error", "'error'"]),
        (&["logs", "--stage", "queue,wroker"], ["pubsub, websocket", "'worker'"]),
        (&["--roles", "worker,websockets"], ["ingestion, worker, websocket", "'websocket'"]),
        (&["--durability", "allways"], ["everysec, always", "'always'"]),
        (&["--theme", "drak"], ["dark, light, mono", "unknown theme drak"]),
    ] {
        let error = cli.run(arguments).failed();
        for part in parts {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
    let help = cli.run(&["logs", "--help"]).ok();
    assert!(help.contains("[possible values: info, warn, error]"), "{help}");
}
