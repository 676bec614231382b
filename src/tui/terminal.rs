//! The terminal's modes: taken for the console and given back in every exit.
//!
//! They belong to the whole process, so what is to be given back is kept here and not in the
//! console: a panic on any thread finds it.

use std::io::{self, IsTerminal, Write as _};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crossterm::Command;
use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::terminal::{
    Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio_util::sync::CancellationToken;

/// What is assumed of a terminal that does not know its size.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// Bytes written at a time: after so many, a terminal that is given back cuts off a frame.
const CHUNK: usize = 1024;
/// How long giving back waits for a frame that is being written, then for what follows a cut.
const WRITE_WAIT: Duration = Duration::from_millis(500);
/// How long giving back waits for another thread that has begun to: longer than that takes.
const CHANGE_WAIT: Duration = Duration::from_secs(2);
/// Panics of other threads that are kept to be shown after the console.
const MAX_DEFERRED: usize = 8;
/// Clicks and the wheel, in SGR's format; not each move, which would be a flood.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";
/// Ends an escape sequence that was cut off, whatever it was.
const CANCEL: &str = "\x18";

/// What to give back.
struct Taken {
    modes: Termios,
    by: ThreadId,
}

static TAKEN: Mutex<Option<Taken>> = Mutex::new(None);
/// Held while the modes change hands: whoever is second finds it done.
static CHANGING: Mutex<()> = Mutex::new(());
/// Held while bytes go to the terminal.
static WRITING: Mutex<()> = Mutex::new(());
/// Cuts off the frame that is being written.
static CUT: AtomicBool = AtomicBool::new(false);
/// Whether the terminal is to tell what the mouse does.
static MOUSE: AtomicBool = AtomicBool::new(false);
static DEFERRED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether keyboard and screen are a terminal, as the console needs them.
pub fn is_present() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Columns and rows.
pub fn size() -> (u16, u16) {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => DEFAULT_SIZE,
    }
}

/// The terminal is the console's until this is dropped.
#[must_use = "dropping it gives the terminal back"]
pub struct Session(());

impl Session {
    /// Takes the terminal: raw mode, alternate screen, no cursor, pastes marked as such. `None`
    /// when `stop` came first: who stopped may have ended the process before it was given back.
    ///
    /// # Errors
    /// When it refuses.
    pub fn start(stop: &CancellationToken) -> io::Result<Option<Self>> {
        install_panic_hook();
        let taken = take(|| !stop.is_cancelled())?;
        Ok(taken.then_some(Self(())))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        give_back();
        for report in lock(&DEFERRED).drain(..) {
            // It may have vanished as well.
            let _ = writeln!(io::stderr(), "{report}");
        }
    }
}

/// Returns whether it was still wanted.
fn take(wanted: impl Fn() -> bool) -> io::Result<bool> {
    let changing = lock(&CHANGING);
    if !wanted() {
        return Ok(false);
    }
    let modes = tcgetattr(stdin())?;
    *lock(&TAKEN) = Some(Taken { modes: modes.clone(), by: std::thread::current().id() });
    CUT.store(false, Ordering::Relaxed);
    let raw = set_raw(modes);
    drop(changing);
    let taken = raw.and_then(|()| write(opening().as_bytes()));
    if taken.is_err() {
        give_back();
    }
    taken.map(|()| true)
}

fn set_raw(mut modes: Termios) -> io::Result<()> {
    modes.make_raw();
    Ok(tcsetattr(stdin(), OptionalActions::Now, &modes)?)
}

fn opening() -> String {
    let mut text = String::new();
    append(&mut text, EnterAlternateScreen);
    append(&mut text, EnableBracketedPaste);
    append(&mut text, Hide);
    append(&mut text, Clear(ClearType::All));
    if MOUSE.load(Ordering::Relaxed) {
        text.push_str(MOUSE_ON);
    }
    text
}

/// Notes whether the terminal tells of the mouse, for when it is given back and taken anew.
/// Returns the bytes that make it so.
pub fn mouse(on: bool) -> &'static str {
    MOUSE.store(on, Ordering::Relaxed);
    if on { MOUSE_ON } else { MOUSE_OFF }
}

fn closing() -> String {
    let mut text = String::new();
    append(&mut text, EndSynchronizedUpdate);
    append(&mut text, crossterm::style::ResetColor);
    append(&mut text, DisableBracketedPaste);
    // Always: the bytes that turned it on may be on their way yet.
    text.push_str(MOUSE_OFF);
    append(&mut text, LeaveAlternateScreen);
    append(&mut text, Show);
    text
}

/// Appends a command's escape sequence.
pub fn append(text: &mut String, command: impl Command) {
    // Writing into a string does not fail.
    let _ = command.write_ansi(text);
}

/// Gives the terminal back if it is taken; for exits that cannot drop the [`Session`]. It is
/// given back on return also when another thread has begun to do so.
pub fn give_back() {
    let _changing = lock_in_time(&CHANGING, CHANGE_WAIT);
    let Some(taken) = lock(&TAKEN).take() else { return };
    let mut text = closing();
    let mut writing = lock_in_time(&WRITING, WRITE_WAIT);
    if writing.is_none() {
        CUT.store(true, Ordering::Relaxed);
        writing = lock_in_time(&WRITING, WRITE_WAIT);
        text.insert_str(0, CANCEL);
    }
    // A terminal that takes nothing, such as that of a frozen connection, must not hold up an
    // exit; its modes are reset without it.
    if writing.is_some() && takes_bytes() {
        let _ = rustix::io::write(stdout(), text.as_bytes());
    }
    let _ = tcsetattr(stdin(), OptionalActions::Now, &taken.modes);
}

fn lock_in_time(mutex: &Mutex<()>, wait: Duration) -> Option<MutexGuard<'_, ()>> {
    let deadline = Instant::now() + wait;
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(std::sync::TryLockError::Poisoned(error)) => return Some(error.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(std::sync::TryLockError::WouldBlock) => return None,
        }
    }
}

fn takes_bytes() -> bool {
    let stdout = stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::OUT)];
    let wait = Timespec::try_from(WRITE_WAIT).ok();
    let ready = poll(&mut watched, wait.as_ref());
    ready.is_ok_and(|count| count > 0) && watched[0].revents().contains(PollFlags::OUT)
}

/// Writes to the terminal; waits as long as that takes. Stops without an error when the
/// terminal is given back meanwhile.
///
/// # Errors
/// The terminal is gone.
pub fn write(mut bytes: &[u8]) -> io::Result<()> {
    let _writing = lock(&WRITING);
    // A frame that comes after the terminal was given back would be drawn over the shell.
    if lock(&TAKEN).is_none() {
        return Ok(());
    }
    while !bytes.is_empty() && !CUT.load(Ordering::Relaxed) {
        match rustix::io::write(stdout(), &bytes[..bytes.len().min(CHUNK)]) {
            Ok(length) => bytes = &bytes[length..],
            Err(rustix::io::Errno::INTR) => {}
            // Somebody who shares the terminal made it non-blocking.
            Err(rustix::io::Errno::AGAIN) => {
                let _ = takes_bytes();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether stopping makes sense: without a shell that does job control nobody could continue
/// the process. The kernel, too, ignores Ctrl-Z then.
pub fn can_suspend() -> bool {
    rustix::process::getsid(None).is_ok_and(|session| session != rustix::process::getpgrp())
}

/// Asks for a stop, as the terminal itself does on Ctrl-Z: all processes of the job.
pub fn request_suspend() {
    if can_suspend() {
        let _ = rustix::process::kill_current_process_group(Signal::TSTP);
    }
}

/// Gives the terminal back and stops the process. It may stop a moment later: SIGCONT tells
/// when it went on, and then [`resume`] is due.
pub fn suspend() {
    give_back();
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
}

/// Takes the terminal anew, also when it was not given back: a process stopped from outside
/// finds it in the modes of the shell.
///
/// # Errors
/// The terminal is gone.
pub fn resume() -> io::Result<()> {
    let modes = lock(&TAKEN).as_ref().map(|taken| taken.modes.clone());
    match modes {
        Some(modes) => set_raw(modes).and_then(|()| write(opening().as_bytes())),
        None => take(|| true).map(|_| ()),
    }
}

/// Puts a hook before the present one that gives the terminal back, so that the report of a
/// panic can be read.
fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let taken_by = lock(&TAKEN).as_ref().map(|taken| taken.by);
            match taken_by {
                Some(by) if by != std::thread::current().id() => defer(panic),
                _ => {
                    give_back();
                    report(panic);
                }
            }
        }));
    });
}

/// Another thread's panic does not end the console: a report would only be drawn over it, so
/// it goes to the log, and to standard error afterwards.
fn defer(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let report = format!("thread {} panicked: {panic}", thread.name().unwrap_or("without a name"));
    tracing::error!("{report}");
    let mut deferred = lock(&DEFERRED);
    if deferred.len() < MAX_DEFERRED {
        deferred.push(report);
    }
}
