//! The real program in a pseudo-terminal: under a flood of lines, and idle.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use portable_pty::CommandBuilder;

use crate::daemon::Daemon;
use crate::record::Recording;
use crate::support::pty::Pty;
use crate::support::{DEADLINE, eventually};

const SIZE: (u16, u16) = (80, 24);
/// Lines per second of the flood.
const FLOOD: u64 = 50_000;
/// Milliseconds between an effect and the next key, as with a fast typist.
const PAUSES: (u64, u64) = (50, 150);
/// How long to wait before the first key, to count only the bytes of frames.
const WATCH: Duration = Duration::from_secs(5);
const IDLE_SECONDS: u64 = 20;
/// The kernel's ticks of CPU time per second.
const TICKS: f64 = 100.0;
/// The line after the flood.
pub(crate) const LAST_LINE: &str = "end of the flood";

/// Keys, each with a text that appears on the screen or disappears.
const KEYS: &[(&str, &str, bool)] = &[
    ("&", " Filter: ", true),
    ("c", " Filter:  c", true),
    ("h", " Filter:  ch", true),
    ("e", " Filter:  che", true),
    ("c", " Filter:  chec", true),
    ("\x15", " Filter:  c", false),
    ("\r", " Filter: ", false),
    ("/", " Search: ", true),
    ("e", " Search:  e", true),
    ("v", " Search:  ev", true),
    ("e", " Search:  eve", true),
    ("\x15", " Search:  e", false),
    ("\r", " Search: ", false),
    (" ", "PAUSED", true),
    (" ", "PAUSED", false),
    ("?", "─ keys ─", true),
    ("?", "─ keys ─", false),
    ("5", "without pubsub", true),
    ("5", "without pubsub", false),
];

/// The program with these arguments and default settings.
fn start(arguments: &[&str], home: &tempfile::TempDir) -> Pty {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_bklit-tui"));
    command.env_clear();
    let variables = [
        ("HOME", home.path().to_str().unwrap()),
        ("TERM", "xterm-256color"),
        ("LANG", "C.UTF-8"),
        ("BKLIT_DATA_DIR", home.path().to_str().unwrap()),
        ("BKLIT_WEBSOCKET_LISTEN", "127.0.0.1:0"),
    ];
    variables.iter().for_each(|(name, value)| command.env(name, value));
    command.args(arguments);
    Pty::spawn(command, SIZE)
}

/// CPU time that a process has used, in seconds.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    let ticks = |nth| after_name.split(' ').nth(nth).unwrap().parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS
}

pub(crate) fn flood(lines: usize, seconds: u64, recording: &Recording) {
    println!("\n{FLOOD} lines/s for {seconds} s into the real program, over HTTP, at 80×24");
    let daemon = Daemon::start(lines, FLOOD);
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("bklit.toml");
    std::fs::write(&config, format!("[console]\nmax_lines = {lines}\n")).unwrap();
    let config = config.to_str().unwrap();
    let url = format!("http://{}", daemon.address);
    let mut pty = start(&["--config", config, "attach", &url], &home);
    let state = &daemon.state;
    eventually(3 * DEADLINE, "the buffer is full", || state.is_full.load(SeqCst));
    std::thread::sleep(Duration::from_secs(2));
    let received = pty.received();
    std::thread::sleep(WATCH);
    let watched = (pty.received() - received) as f64 / WATCH.as_secs_f64();

    let (began, used, received) = (Instant::now(), cpu(pty.pid()), pty.received());
    let sent = state.sent.load(SeqCst);
    let mut waits = Vec::new();
    for (nth, (key, text, is_there)) in KEYS.iter().enumerate().cycle() {
        if nth == 0 && began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        std::thread::sleep(Duration::from_millis(fastrand::u64(PAUSES.0..PAUSES.1)));
        let pressed = Instant::now();
        pty.send(key);
        pty.wait_for(text, |screen| screen.contents().contains(text) == *is_there);
        waits.push(pressed.elapsed());
    }
    let took = began.elapsed().as_secs_f64();
    let cores = (cpu(pty.pid()) - used) / took;
    let bytes = (pty.received() - received) as f64 / took;
    let sent = (state.sent.load(SeqCst) - sent) as f64 / took;
    assert!(sent >= FLOOD as f64 * 0.95, "the console reads only {sent:.0} lines/s");

    // All lines arrived, in order.
    state.stop.store(true, SeqCst);
    let stopped = Instant::now();
    pty.wait_for_text(LAST_LINE);
    let behind = stopped.elapsed();
    keys(waits, recording);
    println!(
        "bytes to the terminal: {:.1} kB/s, without key presses {:.1} kB/s",
        bytes / 1000.0,
        watched / 1000.0
    );
    println!("the program used {cores:.2} cores and read {sent:.0} lines/s");
    println!("the last line was on the screen after {behind:.0?}");
    recording.add("cores of the console in the flood", "cores", &[cores]);
    recording.add("bytes to the terminal in the flood", "kB/s", &[bytes / 1000.0]);
    quit(&mut pty);
}

/// Prints and records how long keys took to have their effect.
fn keys(mut waits: Vec<Duration>, recording: &Recording) {
    waits.sort();
    let at = |part: usize| waits[waits.len() * part / 100];
    println!(
        "from a key to its effect on the terminal, {} keys: p50 {:.1?}, p99 {:.1?}, max {:.1?}",
        waits.len(),
        at(50),
        at(99),
        waits[waits.len() - 1]
    );
    for (name, part) in [("p50", 50), ("p99", 99)] {
        let figure = format!("{name} from a key to its effect in the flood");
        recording.add(&figure, "ms", &[at(part).as_secs_f64() * 1000.0]);
    }
}

pub(crate) fn idle(recording: &Recording) {
    let home = tempfile::tempdir().unwrap();
    let mut pty = start(&["--listen", "127.0.0.1:0"], &home);
    pty.wait_for_text("curl");
    // Startup work has finished by then.
    std::thread::sleep(Duration::from_secs(3));
    let (began, used, received) = (Instant::now(), cpu(pty.pid()), pty.received());
    std::thread::sleep(Duration::from_secs(IDLE_SECONDS));
    let share = (cpu(pty.pid()) - used) / began.elapsed().as_secs_f64();
    let bytes = pty.received() - received;
    println!(
        "\nidle for {IDLE_SECONDS} s, pipeline and console in one process: {:.2} % of a core, \
         {bytes} bytes to the terminal",
        share * 100.0
    );
    recording.add("pipeline and console, idle", "% of a core", &[share * 100.0]);
    quit(&mut pty);
}

fn quit(pty: &mut Pty) {
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0), "{}", pty.contents());
}
