//! The terminal's modes: set for the console and restored on every exit.
//!
//! The modes belong to the whole process, so the state needed to restore them is global: a panic on
//! any thread can use it.

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

/// The size assumed if the terminal does not report one.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// Bytes per write; restoring the terminal can interrupt a frame after each write.
const CHUNK: usize = 1024;
/// How long restoring waits for a frame that is being written, then for the rest after the cut.
const WRITE_WAIT: Duration = Duration::from_millis(500);
/// How long restoring waits for another thread that is already doing it; longer than that takes.
const CHANGE_WAIT: Duration = Duration::from_secs(2);
/// How late a signal may be noticed.
const LATE_SIGNAL: Duration = Duration::from_secs(1);
/// Panics of other threads kept to be shown after the console ends.
const MAX_DEFERRED: usize = 8;
/// Clicks and the wheel, in SGR format; not every move, which would be a flood.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";
/// Keys as terminals have always sent them, whatever an earlier program has left: xterm's
/// modifyOtherKeys off, and no flag of kitty's protocol. Other terminals ignore both.
const PLAIN_KEYS: &str = "\x1b[>4;0m\x1b[>0u";
/// As they were before.
const FORMER_KEYS: &str = "\x1b[<u\x1b[>4m";
/// Ends any escape sequence that was cut off.
const CANCEL: &str = "\x18";

/// What has to be restored.
struct Taken {
    modes: Termios,
    by: ThreadId,
}

static TAKEN: Mutex<Option<Taken>> = Mutex::new(None);
/// Held while modes are set or restored, so that only one thread does it.
static CHANGING: Mutex<()> = Mutex::new(());
/// Held while bytes are written to the terminal.
static WRITING: Mutex<()> = Mutex::new(());
/// Interrupts the frame that is being written.
static CUT: AtomicBool = AtomicBool::new(false);
/// Whether another program has the terminal for a while.
static LENT: AtomicBool = AtomicBool::new(false);
/// When it last returned the terminal.
static RETURNED: Mutex<Option<Instant>> = Mutex::new(None);
/// Whether mouse reports are enabled.
static MOUSE: AtomicBool = AtomicBool::new(false);
static DEFERRED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether both standard input and standard output are a terminal.
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

/// Owns the terminal's modes; restores them when dropped.
#[must_use = "dropping it gives the terminal back"]
pub struct Session(());

impl Session {
    /// Sets the modes: raw mode, alternate screen, hidden cursor, bracketed paste. `None` if `stop`
    /// came first: the process may then end before they could be restored.
    ///
    /// # Errors
    /// If the terminal's modes cannot be set.
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
            // The terminal may have vanished as well.
            let _ = writeln!(io::stderr(), "{report}");
        }
    }
}

/// Returns whether the session was still wanted.
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
    text.push_str(PLAIN_KEYS);
    append(&mut text, Hide);
    append(&mut text, Clear(ClearType::All));
    if MOUSE.load(Ordering::Relaxed) {
        text.push_str(MOUSE_ON);
    }
    text
}

/// Records whether mouse reports are enabled, for when the modes are restored and set again.
/// Returns the bytes that switch it.
pub fn mouse(on: bool) -> &'static str {
    MOUSE.store(on, Ordering::Relaxed);
    if on { MOUSE_ON } else { MOUSE_OFF }
}

fn closing() -> String {
    let mut text = String::new();
    append(&mut text, EndSynchronizedUpdate);
    append(&mut text, crossterm::style::ResetColor);
    append(&mut text, DisableBracketedPaste);
    // Always: the bytes that enabled it may still be on their way.
    text.push_str(MOUSE_OFF);
    text.push_str(FORMER_KEYS);
    append(&mut text, LeaveAlternateScreen);
    append(&mut text, Show);
    text
}

/// Appends a command's escape sequence.
pub fn append(text: &mut String, command: impl Command) {
    // Writing to a string does not fail.
    let _ = command.write_ansi(text);
}

/// Restores the terminal if its modes are set; for exits that cannot drop the [`Session`]. On
/// return it is restored, even if another thread had started to do so.
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
    // A terminal that accepts no bytes, such as that of a frozen connection, must not delay an
    // exit; the modes are then reset without writing to it.
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

/// Writes to the terminal, for as long as it takes. Stops without an error if the terminal is
/// restored meanwhile.
///
/// # Errors
/// If the terminal is gone.
pub fn write(mut bytes: &[u8]) -> io::Result<()> {
    let _writing = lock(&WRITING);
    // A frame written after the terminal was restored would be drawn over the shell.
    if lock(&TAKEN).is_none() {
        return Ok(());
    }
    while !bytes.is_empty() && !CUT.load(Ordering::Relaxed) {
        match rustix::io::write(stdout(), &bytes[..bytes.len().min(CHUNK)]) {
            Ok(length) => bytes = &bytes[length..],
            Err(rustix::io::Errno::INTR) => {}
            // Another process that shares the terminal made it non-blocking.
            Err(rustix::io::Errno::AGAIN) => {
                let _ = takes_bytes();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Restores the terminal for another program, until [`resume`] or [`end_lending`].
pub fn lend() {
    give_back();
    LENT.store(true, Ordering::Relaxed);
}

/// The other program has returned the terminal.
pub fn end_lending() {
    if LENT.load(Ordering::Relaxed) {
        *lock(&RETURNED) = Some(Instant::now());
        LENT.store(false, Ordering::Relaxed);
    }
}

/// Whether another program has the terminal, or had it a moment ago. Then Ctrl-C is meant for that
/// program, although the terminal also sends it to this process, where it may be noticed late.
pub fn is_lent() -> bool {
    let returned = *lock(&RETURNED);
    LENT.load(Ordering::Relaxed) || returned.is_some_and(|at| at.elapsed() < LATE_SIGNAL)
}

/// Whether suspending makes sense: without a shell with job control, nothing could continue the
/// process. The kernel ignores Ctrl-Z then, too.
pub fn can_suspend() -> bool {
    rustix::process::getsid(None).is_ok_and(|session| session != rustix::process::getpgrp())
}

/// Sends the stop signal to all processes of the job, as the terminal does on Ctrl-Z.
pub fn request_suspend() {
    if can_suspend() {
        let _ = rustix::process::kill_current_process_group(Signal::TSTP);
    }
}

/// Restores the terminal and suspends the process. It may stop a moment later; SIGCONT signals that
/// it continued, and [`resume`] must be called then.
pub fn suspend() {
    give_back();
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
}

/// Sets the modes again, even if they were not restored: a process stopped from outside finds the
/// terminal in the shell's modes.
///
/// # Errors
/// If the terminal is gone.
pub fn resume() -> io::Result<()> {
    end_lending();
    let modes = lock(&TAKEN).as_ref().map(|taken| taken.modes.clone());
    match modes {
        Some(modes) => set_raw(modes).and_then(|()| write(opening().as_bytes())),
        None => take(|| true).map(|_| ()),
    }
}

/// Installs a panic hook before the current one that restores the terminal, so that the report can
/// be read.
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

/// A panic on another thread does not end the console. The report would be overdrawn, so it goes to
/// the log, and to standard error when the console ends.
fn defer(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let report = format!("thread {} panicked: {panic}", thread.name().unwrap_or("without a name"));
    tracing::error!("{report}");
    let mut deferred = lock(&DEFERRED);
    if deferred.len() < MAX_DEFERRED {
        deferred.push(report);
    }
}
