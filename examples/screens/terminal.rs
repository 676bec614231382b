//! A program in a pseudo-terminal, frame by frame: a synchronized update is seen completely or not at
//! all.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use color_eyre::eyre::{Result, bail, ensure, eyre};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use vt100::Screen;

/// How long a quick operation may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// The end of a frame.
const END_OF_FRAME: &[u8] = b"\x1b[?2026l";
/// The largest size of a frame, in bytes.
const MAX_FRAME: usize = 1 << 20;

/// A running program and the screen of its terminal.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    shared: Arc<Shared>,
}

struct Shared {
    received: Mutex<Received>,
    changed: Condvar,
}

struct Received {
    parser: vt100::Parser,
    /// The bytes of the incomplete frame.
    unfinished: Vec<u8>,
    ended: bool,
}

impl Terminal {
    /// Starts a program in a terminal of this many columns and rows.
    pub fn spawn(command: CommandBuilder, size: (u16, u16)) -> Result<Self> {
        let pair = native_pty_system().openpty(pty_size(size)).map_err(|e| eyre!(e))?;
        let mut reader = pair.master.try_clone_reader().map_err(|e| eyre!(e))?;
        let keyboard = pair.master.take_writer().map_err(|e| eyre!(e))?;
        let child = pair.slave.spawn_command(command).map_err(|e| eyre!(e))?;
        let (columns, rows) = (size.0.try_into()?, size.1.try_into()?);
        let parser = vt100::Parser::new(rows, columns, 0);
        let received = Received { parser, unfinished: Vec::new(), ended: false };
        let shared = Arc::new(Shared { received: Mutex::new(received), changed: Condvar::new() });
        let of_the_thread = Arc::clone(&shared);
        std::thread::spawn(move || of_the_thread.read(&mut reader));
        Ok(Self { master: pair.master, keyboard, child, shared })
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes())?;
        Ok(self.keyboard.flush()?)
    }

    /// Changes the size; the program receives SIGWINCH.
    pub fn resize(&self, size: (u16, u16)) -> Result<()> {
        let (columns, rows) = (size.0.try_into()?, size.1.try_into()?);
        let mut received = self.shared.lock();
        received.parser.set_size(rows, columns);
        // Frames drawn for the previous size are skipped.
        received.parser.process(b"\x1b[2J");
        drop(received);
        self.master.resize(pty_size(size)).map_err(|e| eyre!(e))
    }

    /// Waits for a frame that matches, and returns it.
    pub fn wait(&self, what: &str, wanted: impl Fn(&Screen) -> bool) -> Result<Screen> {
        let deadline = Instant::now() + DEADLINE;
        let mut received = self.shared.lock();
        loop {
            let screen = received.parser.screen();
            if wanted(screen) {
                return Ok(screen.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || received.ended {
                let end = if received.ended { "; the program ended" } else { "" };
                bail!("timed out waiting for {what}{end}; the screen:\n{}", screen.contents());
            }
            let waited = self.shared.changed.wait_timeout(received, left);
            received = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a frame that contains a text.
    pub fn wait_for(&self, text: &str) -> Result<Screen> {
        self.wait(&format!("“{text}”"), |screen| screen.contents().contains(text))
    }

    /// Waits for the program to exit successfully.
    pub fn wait_for_end(&mut self) -> Result<()> {
        let waited = self.wait("its end", |_| false);
        if !self.shared.lock().ended {
            return waited.map(drop);
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "the program ended with {status}");
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, reader: &mut dyn Read) {
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            self.lock().take(&buffer[..length]);
            self.changed.notify_all();
        }
        let mut received = self.lock();
        // Such as why it could not start.
        let rest = std::mem::take(&mut received.unfinished);
        received.parser.process(&rest);
        received.ended = true;
        self.changed.notify_all();
    }
}

impl Received {
    fn take(&mut self, bytes: &[u8]) {
        self.unfinished.extend_from_slice(bytes);
        let mut places = self.unfinished.windows(END_OF_FRAME.len());
        let end = places.rposition(|bytes| bytes == END_OF_FRAME);
        let whole = match end {
            Some(at) => at + END_OF_FRAME.len(),
            None if self.unfinished.len() > MAX_FRAME => self.unfinished.len(),
            None => return,
        };
        let frames: Vec<u8> = self.unfinished.drain(..whole).collect();
        self.parser.process(&frames);
    }
}

fn pty_size((columns, rows): (u16, u16)) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}
