//! Recording: messages go through a bounded channel to a thread that writes them. What the disk is
//! too slow for is lost, and counted in the file and on the screen.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::expand;
use crate::pipeline::bus::DebugMessage;
use crate::pipeline::time::UtcMillis;
use crate::tui::model::palette::commands::Target;
use crate::tui::msg::Report;
use crate::tui::replay::format;

/// Groups of messages that wait to be written.
const CAPACITY: usize = 256;
/// How long written lines may wait to get to the system.
const FLUSH: Duration = Duration::from_millis(500);

/// Messages that came together.
enum Part {
    Messages(UtcMillis, Vec<DebugMessage>, u64),
    End(String),
}

#[derive(Default)]
struct Shared {
    bytes: AtomicU64,
    /// Why nothing is written any more.
    ended: Mutex<Option<String>>,
}

/// A recording on its way. Dropped, it ends as well.
pub(super) struct Recorder {
    parts: Option<SyncSender<Part>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    path: String,
    /// Messages lost, and of them those that the file does not tell of yet.
    lost: u64,
    untold: u64,
}

impl Recorder {
    /// Makes the file and starts the thread.
    pub(super) fn start(target: Target, source: &str, most: u64) -> Result<(Self, String), String> {
        let path = expand(&target.path);
        let mut options = File::options();
        options.write(true);
        if target.overwrite {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        let file = options.open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{} is there already; record! writes over it", target.path)
            }
            _ => format!("{}: {error}", target.path),
        })?;
        let (sender, parts) = sync_channel(CAPACITY);
        let shared = Arc::new(Shared::default());
        let (of_thread, header) = (Arc::clone(&shared), format::header(source, UtcMillis::now()));
        let thread = std::thread::Builder::new().name("record".into()).spawn(move || {
            let writer = Writer { file: BufWriter::new(file), shared: of_thread, most };
            writer.run(&header, &parts);
        });
        let thread = thread.map_err(|error| error.to_string())?;
        let recorder = Self {
            parts: Some(sender),
            thread: Some(thread),
            shared,
            path: target.path.clone(),
            lost: 0,
            untold: 0,
        };
        Ok((recorder, target.path))
    }

    /// Hands on messages that have come.
    pub(super) fn record(&mut self, at: UtcMillis, messages: &[DebugMessage]) {
        let Some(parts) = &self.parts else { return };
        if parts.try_send(Part::Messages(at, messages.to_vec(), self.untold)).is_ok() {
            self.untold = 0;
        } else {
            self.lost += messages.len() as u64;
            self.untold += messages.len() as u64;
        }
    }

    /// How it is.
    pub(super) fn state(&self) -> Report {
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match &*ended {
            Some(why) => Report::RecordEnded(format!("recording to {} ended: {why}", self.path)),
            None => Report::Recorded { bytes: self.shared.bytes.load(Relaxed), lost: self.lost },
        }
    }

    /// Ends it once what was handed on is written, and says so; the disk may take its time.
    pub(super) fn end(mut self, reports: tokio::sync::mpsc::Sender<Report>) {
        let work = move || {
            self.close("ended by hand");
            let bytes = crate::tui::view::format::count(self.shared.bytes.load(Relaxed));
            let told = format!("recorded {bytes} bytes to {}", self.path);
            let _ = reports.blocking_send(Report::RecordEnded(told));
        };
        // Without a thread it is dropped here, which ends it as well.
        let _ = std::thread::Builder::new().name("record end".into()).spawn(work);
    }

    fn close(&mut self, why: &str) {
        if let Some(parts) = self.parts.take() {
            // Full, the thread ends with the channel.
            let _ = parts.try_send(Part::End(why.to_owned()));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close("the console ended");
    }
}

struct Writer {
    file: BufWriter<File>,
    shared: Arc<Shared>,
    most: u64,
}

impl Writer {
    fn run(mut self, header: &str, parts: &Receiver<Part>) {
        let outcome = self.write(header).and_then(|()| self.write_parts(parts));
        let outcome = outcome.and_then(|why| {
            // The last line may be beyond the bound.
            self.file.write_all(format::end(UtcMillis::now(), &why).as_bytes())?;
            self.file.flush()?;
            Ok(why)
        });
        let why = outcome.unwrap_or_else(|error| error.to_string());
        *self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn write_parts(&mut self, parts: &Receiver<Part>) -> io::Result<String> {
        loop {
            match parts.recv_timeout(FLUSH) {
                Err(RecvTimeoutError::Timeout) => self.file.flush()?,
                Err(RecvTimeoutError::Disconnected) => return Ok("the console ended".to_owned()),
                Ok(Part::End(why)) => return Ok(why),
                Ok(Part::Messages(at, messages, lost)) => {
                    if lost > 0 {
                        self.write(&format::not_recorded(at, lost))?;
                    }
                    for message in &messages {
                        self.write(&format::message(at, message))?;
                        if self.shared.bytes.load(Relaxed) >= self.most {
                            return Ok(format!("console.record_max_bytes, {} bytes", self.most));
                        }
                    }
                }
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.shared.bytes.fetch_add(line.len() as u64, Relaxed);
        Ok(())
    }
}
