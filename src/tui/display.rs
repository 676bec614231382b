//! The screen: frames are drawn into memory and written by a separate thread, so that a slow
//! terminal delays neither keys nor messages. The next frame is drawn only after the last one has
//! been written.

mod repaint;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use tokio::sync::mpsc;

use super::terminal;
use repaint::Repaint;

/// Enough for a frame of 200 columns and 60 rows.
const FRAME_BYTES: usize = 64 * 1024;

/// The buffer that the current frame is drawn into.
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

    // `Display::draw` writes each frame as a whole.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The screen of a terminal whose modes a [`terminal::Session`] has set.
pub(super) struct Display {
    terminal: Terminal<CrosstermBackend<FrameBuffer>>,
    buffer: FrameBuffer,
    frames: std::sync::mpsc::SyncSender<Vec<u8>>,
    written: mpsc::Receiver<io::Result<()>>,
    is_writing: bool,
    /// The bytes that a draw produces even if nothing has changed.
    unchanged: Vec<u8>,
    repaint: Repaint,
}

impl Display {
    /// Creates a screen of this size, and its writer thread.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(size: (u16, u16)) -> io::Result<Self> {
        let buffer = FrameBuffer::default();
        let viewport = Viewport::Fixed(area(size));
        let mut terminal = Terminal::with_options(
            CrosstermBackend::new(buffer.clone()),
            TerminalOptions { viewport },
        )?;
        terminal.draw(|_| {})?;
        let unchanged = buffer.take();
        // Capacity 1: the next frame is drawn only after this one.
        let (frames, frames_to_write) = std::sync::mpsc::sync_channel::<Vec<u8>>(1);
        let (report, written) = mpsc::channel(1);
        std::thread::Builder::new().name("screen".into()).spawn(move || {
            for frame in frames_to_write {
                if report.blocking_send(terminal::write(&frame)).is_err() {
                    return;
                }
            }
        })?;
        let repaint = Repaint::default();
        Ok(Self { terminal, buffer, frames, written, is_writing: false, unchanged, repaint })
    }

    /// Whether a frame may be drawn.
    pub fn is_ready(&self) -> bool {
        !self.is_writing
    }

    /// Waits until the current frame has been written; forever if there is none. Cancel-safe.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub async fn written(&mut self) -> io::Result<()> {
        if !self.is_writing {
            return std::future::pending().await;
        }
        let result = self.written.recv().await;
        self.is_writing = false;
        result.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Draws a frame and sends the changes to the writer, after any appended bytes.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let before = self.buffer.take();
        let mut erase = Vec::new();
        self.terminal.try_draw(|frame| {
            render(frame);
            erase = self.repaint.mark(frame.buffer_mut())?;
            io::Result::Ok(())
        })?;
        let drawn = self.buffer.take();
        if before.is_empty() && drawn == self.unchanged {
            return Ok(());
        }
        let mut begin = String::new();
        terminal::append(&mut begin, BeginSynchronizedUpdate);
        let mut end = String::new();
        terminal::append(&mut end, EndSynchronizedUpdate);
        let frame = [begin.as_bytes(), &before, &erase, &drawn, end.as_bytes()].concat();
        self.is_writing = true;
        self.frames.try_send(frame).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Appends bytes to be written before the next frame.
    pub fn append(&mut self, bytes: &[u8]) {
        // Writing to memory does not fail.
        let _ = self.buffer.write_all(bytes);
    }

    /// Draws the next frame in full, at this size.
    ///
    /// # Errors
    /// None in practice: everything happens in memory.
    pub fn resize(&mut self, size: (u16, u16)) -> io::Result<()> {
        self.terminal.resize(area(size))
    }
}

fn area((columns, rows): (u16, u16)) -> Rect {
    Rect::new(0, 0, columns, rows)
}
