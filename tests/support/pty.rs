//! A program in a pseudo-terminal, and the contents of its screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Termios, tcgetattr};

use super::{DEADLINE, eventually};

const END: &[u8] = b"<end of the program's output>";

/// What the terminal received.
struct Received {
    parser: vt100::Parser,
    raw: Vec<u8>,
}

struct Shared {
    received: Mutex<Received>,
    changed: Condvar,
    stopped: AtomicBool,
    /// While set, the terminal accepts no output, like a frozen connection.
    frozen: AtomicBool,
    /// The most bytes per second that the terminal accepts, like a slow connection; 0 is no limit.
    pace: AtomicUsize,
}

/// A running program and its terminal.
pub struct Pty {
    master: Option<Box<dyn MasterPty + Send>>,
    keyboard: Option<Box<dyn Write + Send>>,
    /// Kept open, so that the modes outlive the program.
    tty: File,
    child: Box<dyn Child + Send + Sync>,
    shared: Arc<Shared>,
    before: Termios,
}

impl Pty {
    /// Starts `command` in a terminal of this many columns and rows.
    pub fn spawn(command: CommandBuilder, (columns, rows): (u16, u16)) -> Self {
        let pair = native_pty_system().openpty(pty_size(columns, rows)).unwrap();
        let path = pair.master.tty_name().unwrap();
        let tty = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let before = tcgetattr(&tty).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let keyboard = pair.master.take_writer().unwrap();
        let parser = vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0);
        let shared = Arc::new(Shared {
            received: Mutex::new(Received { parser, raw: Vec::new() }),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            pace: AtomicUsize::new(0),
        });
        let child = pair.slave.spawn_command(command).unwrap();
        let terminal = Arc::clone(&shared);
        std::thread::spawn(move || terminal.read(&mut reader));
        Self {
            master: Some(pair.master),
            keyboard: Some(keyboard),
            tty: File::from(tty as OwnedFd),
            child,
            shared,
            before,
        }
    }

    /// Types.
    pub fn send(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("the terminal is closed");
        keyboard.write_all(keys.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    /// Changes the size; the program receives SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut received = self.shared.received.lock().unwrap();
        received.parser.set_size(rows.try_into().unwrap(), columns.try_into().unwrap());
        self.master.as_ref().unwrap().resize(pty_size(columns, rows)).unwrap();
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Makes the terminal stop accepting output, or accept it again.
    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.store(frozen, Ordering::SeqCst);
        self.shared.changed.notify_all();
    }

    /// Limits the terminal to this many bytes per second; 0 is no limit.
    pub fn slow_down(&self, pace: usize) {
        self.shared.pace.store(pace, Ordering::SeqCst);
        self.shared.changed.notify_all();
    }

    /// Freezes the terminal and fills its buffer, so that every write to it blocks.
    pub fn jam(&self) {
        self.freeze(true);
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
        let path = self.master.as_ref().unwrap().tty_name().unwrap();
        let tty = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        // The kernel may still move data in the background, which frees space.
        let mut quiet = 0;
        while quiet < 20 {
            match rustix::io::write(&tty, b"x") {
                Ok(_) => quiet = 0,
                Err(Errno::AGAIN) => {
                    quiet += 1;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Closes the terminal, as when its window or connection is closed.
    pub fn hang_up(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.freeze(false);
        // The reading thread also has the terminal open, and blocks until there is input.
        self.tty.write_all(b"\n").unwrap();
        eventually(DEADLINE, "the reading thread ends", || Arc::strong_count(&self.shared) == 1);
        self.keyboard = None;
        self.master = None;
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        self.wait(what, |received| wanted(received.parser.screen()));
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str) {
        self.wait_for(text, |screen| screen.contents().contains(text));
    }

    /// Waits until the terminal has received `text` after the first `skip` bytes.
    #[track_caller]
    pub fn wait_for_output_after(&self, skip: usize, text: &str) {
        self.wait(text, |received| {
            let new = &received.raw[skip..];
            new.windows(text.len()).any(|window| window == text.as_bytes())
        });
    }

    #[track_caller]
    fn wait(&self, what: &str, wanted: impl Fn(&Received) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        let mut received = self.shared.received.lock().unwrap();
        while !wanted(&received) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "timed out waiting for: {what}\n{}",
                received.parser.screen().contents()
            );
            received = self.shared.changed.wait_timeout(received, left).unwrap().0;
        }
    }

    /// What is on the screen.
    pub fn contents(&self) -> String {
        self.shared.received.lock().unwrap().parser.screen().contents()
    }

    /// How many bytes the terminal received.
    pub fn received(&self) -> usize {
        self.shared.received.lock().unwrap().raw.len()
    }

    /// All bytes that the terminal received.
    pub fn raw(&self) -> Vec<u8> {
        self.shared.received.lock().unwrap().raw.clone()
    }

    /// Waits until the program has exited and all its output has arrived; returns its exit code, or
    /// the name of the signal that ended it.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> Result<u32, String> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < DEADLINE, "still running:\n{}", self.contents());
            std::thread::sleep(Duration::from_millis(5));
        };
        if self.master.is_some() {
            self.freeze(false);
            self.tty.write_all(END).unwrap();
            self.wait("the end of the output", |received| received.raw.ends_with(END));
        }
        match status.signal() {
            Some(signal) => Err(signal.to_owned()),
            None => Ok(status.exit_code()),
        }
    }

    /// Whether the program has put the terminal into raw mode.
    pub fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.tty).unwrap();
        !modes.local_modes.contains(rustix::termios::LocalModes::ICANON)
    }

    /// Whether the terminal reports the mouse to the program: clicks and the wheel, in SGR format.
    pub fn has_mouse(&self) -> bool {
        has_mouse(self.shared.received.lock().unwrap().parser.screen())
    }

    /// Fails unless the terminal is in the state that it had before the program.
    #[track_caller]
    pub fn assert_restored(&self) {
        let after = tcgetattr(&self.tty).unwrap();
        assert_eq!(format!("{after:?}"), format!("{:?}", self.before), "the modes");
        let received = self.shared.received.lock().unwrap();
        let screen = received.parser.screen();
        assert!(!screen.alternate_screen(), "the alternate screen");
        assert!(!screen.hide_cursor(), "the cursor");
        assert!(!screen.bracketed_paste(), "marked pastes");
        let mouse = (screen.mouse_protocol_mode(), screen.mouse_protocol_encoding());
        let off = (vt100::MouseProtocolMode::None, vt100::MouseProtocolEncoding::Default);
        assert_eq!(mouse, off, "the mouse");
        let raw = String::from_utf8_lossy(&received.raw);
        assert!(raw.rfind("\x1b[>0u") < raw.rfind("\x1b[<u"), "how keys are sent");
    }
}

impl Shared {
    fn read(&self, reader: &mut dyn Read) {
        let mut buffer = [0; 4096];
        loop {
            let Ok(length @ 1..) = reader.read(&mut buffer) else { return };
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let mut received = self.received.lock().unwrap();
            while self.frozen.load(Ordering::SeqCst) {
                received = self.changed.wait(received).unwrap();
            }
            received.parser.process(&buffer[..length]);
            received.raw.extend_from_slice(&buffer[..length]);
            self.changed.notify_all();
            let began = Instant::now();
            while let Some(left) = self.rest(length, began) {
                received = self.changed.wait_timeout(received, left).unwrap().0;
            }
        }
    }

    /// How long a slow terminal must still pause after `length` bytes; `None` when it need not.
    fn rest(&self, length: usize, since: Instant) -> Option<Duration> {
        let pace = self.pace.load(Ordering::SeqCst);
        if pace == 0 || self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let whole = Duration::from_secs_f64(length as f64 / pace as f64);
        whole.checked_sub(since.elapsed()).filter(|left| !left.is_zero())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.freeze(false);
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.tty.write_all(b"\n");
    }
}

/// Whether the terminal reports the mouse.
pub fn has_mouse(screen: &vt100::Screen) -> bool {
    let mouse = (screen.mouse_protocol_mode(), screen.mouse_protocol_encoding());
    mouse == (vt100::MouseProtocolMode::PressRelease, vt100::MouseProtocolEncoding::Sgr)
}

fn pty_size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}
