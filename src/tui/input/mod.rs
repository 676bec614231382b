//! Keyboard and mouse: a thread that reads the terminal and passes on decoded input.
//!
//! It waits with `poll(2)`, which reports that a terminal is gone; a read would not.
//!
//! - `decoder`: decodes bytes into keys, pasted text and mouse input
//! - `mouse`: parses mouse reports
//! - `reported`: keys that are reported by number

mod decoder;
mod mouse;
mod reported;

use std::io::{self, PipeReader, PipeWriter};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;

pub use decoder::{Decoder, Typed};

/// How many inputs are buffered; more wait in the terminal.
const CAPACITY: usize = 256;
/// How long to wait for the rest of an escape sequence before ESC counts as the Esc key.
const ESCAPE_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
const READ_BYTES: usize = 4096;

/// Input from the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key or a pasted text.
    Typed(Typed),
    /// The terminal is gone. This is the last input.
    HungUp,
}

/// Reads standard input until dropped.
pub struct Keyboard {
    received: mpsc::Receiver<Input>,
    /// Closing this pipe ends the thread.
    wake: PipeWriter,
    thread: JoinHandle<()>,
}

impl Keyboard {
    /// Starts the reader thread.
    ///
    /// # Errors
    /// If no pipe or thread can be created.
    pub fn start() -> io::Result<Self> {
        let (woken, wake) = io::pipe()?;
        let (sender, received) = mpsc::channel(CAPACITY);
        let thread = std::thread::Builder::new().name("keyboard".into()).spawn(move || {
            // An error means that standard input cannot be read any more.
            if read_keys(&woken, &sender).is_err() {
                let _ = sender.blocking_send(Input::HungUp);
            }
        })?;
        Ok(Self { received, wake, thread })
    }

    /// Stops reading. On return, nothing more is read.
    pub fn end(self) {
        let Self { received, wake, thread } = self;
        // The thread may be waiting for the receiver.
        drop((received, wake));
        // It panics only because of a bug, which has been reported then.
        let _ = thread.join();
    }

    /// The next input. Cancel-safe.
    pub async fn next(&mut self) -> Input {
        self.received.recv().await.unwrap_or(Input::HungUp)
    }
}

/// The next input; pending forever while nothing is read. Cancel-safe.
pub async fn next(keyboard: &mut Option<Keyboard>) -> Input {
    match keyboard {
        Some(keyboard) => keyboard.next().await,
        None => std::future::pending().await,
    }
}

/// Returns when the receiver is gone; an error if the terminal is gone.
fn read_keys(woken: &PipeReader, sender: &mpsc::Sender<Input>) -> io::Result<()> {
    let stdin = rustix::stdio::stdin();
    let mut decoder = Decoder::default();
    let mut buffer = [0; READ_BYTES];
    let mut typed = Vec::new();
    loop {
        let mut watched =
            [PollFd::new(&stdin, PollFlags::IN), PollFd::new(woken, PollFlags::empty())];
        let wait = decoder.is_waiting().then_some(&ESCAPE_WAIT);
        match poll(&mut watched, wait) {
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(0) => typed.extend(decoder.give_up_waiting()),
            Ok(_) => {}
        }
        if !watched[1].revents().is_empty() {
            return Ok(());
        }
        let terminal = watched[0].revents();
        if terminal.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if terminal.contains(PollFlags::IN) {
            match rustix::io::read(stdin, &mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => decoder.push(&buffer[..length], &mut typed),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for input in typed.drain(..) {
            if sender.blocking_send(Input::Typed(input)).is_err() {
                return Ok(());
            }
        }
    }
}
