//! The screen: frames are drawn into memory and written by a thread of their own, so that a slow
//! terminal holds up neither keys nor messages. A new frame is drawn only once the last one is
//! out.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use tokio::sync::mpsc;

use super::terminal;

/// A frame at 200 columns and 60 rows needs less.
const FRAME_BYTES: usize = 64 * 1024;

/// Where drawing writes to: the frame in the making.
#[derive(Clone, Default)]
struct FrameBuffer(Arc<Mutex<Vec<u8>>>);

impl FrameBuffer {
    fn take(&self) -> Vec<u8> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *bytes, Vec::with_capacity(FRAME_BYTES))
    }
}

impl Write for FrameBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    // A frame goes out as a whole, by `Display::draw`.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The screen of the terminal that a [`terminal::Session`] has taken.
pub(super) struct Display {
    terminal: Terminal<CrosstermBackend<FrameBuffer>>,
    buffer: FrameBuffer,
    frames: std::sync::mpsc::SyncSender<Vec<u8>>,
    written: mpsc::Receiver<io::Result<()>>,
    is_writing: bool,
    /// What drawing writes when nothing has changed.
    unchanged: Vec<u8>,
}

impl Display {
    /// A screen of this size, and its writing thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(size: (u16, u16)) -> io::Result<Self> {
        let buffer = FrameBuffer::default();
        let viewport = Viewport::Fixed(area(size));
        let mut terminal = Terminal::with_options(
            CrosstermBackend::new(buffer.clone()),
            TerminalOptions { viewport },
        )?;
        terminal.draw(|_| {})?;
        let unchanged = buffer.take();
        // One frame at a time: the next is not drawn before.
        let (frames, frames_to_write) = std::sync::mpsc::sync_channel::<Vec<u8>>(1);
        let (report, written) = mpsc::channel(1);
        std::thread::Builder::new().name("screen".into()).spawn(move || {
            for frame in frames_to_write {
                if report.blocking_send(terminal::write(&frame)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { terminal, buffer, frames, written, is_writing: false, unchanged })
    }

    /// Whether a frame may be drawn.
    pub fn is_ready(&self) -> bool {
        !self.is_writing
    }

    /// Waits until the frame on its way has been written; for ever if there is none. Safe to
    /// cancel.
    ///
    /// # Errors
    /// The terminal is gone.
    pub async fn written(&mut self) -> io::Result<()> {
        if !self.is_writing {
            return std::future::pending().await;
        }
        let result = self.written.recv().await;
        self.is_writing = false;
        result.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Draws a frame and sends on its way what has changed, with what was appended before.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let before = self.buffer.take();
        self.terminal.draw(render)?;
        let drawn = self.buffer.take();
        if before.is_empty() && drawn == self.unchanged {
            return Ok(());
        }
        let mut begin = String::new();
        terminal::append(&mut begin, BeginSynchronizedUpdate);
        let mut end = String::new();
        terminal::append(&mut end, EndSynchronizedUpdate);
        let frame = [begin.as_bytes(), &before, &drawn, end.as_bytes()].concat();
        self.is_writing = true;
        self.frames.try_send(frame).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Appends bytes that go out before the next frame.
    pub fn append(&mut self, bytes: &[u8]) {
        // Writing into memory does not fail.
        let _ = self.buffer.write_all(bytes);
    }

    /// The next frame is drawn whole, at this size.
    ///
    /// # Errors
    /// None in practice: it happens in memory.
    pub fn resize(&mut self, size: (u16, u16)) -> io::Result<()> {
        self.terminal.resize(area(size))
    }
}

fn area((columns, rows): (u16, u16)) -> Rect {
    Rect::new(0, 0, columns, rows)
}
