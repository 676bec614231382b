//! Recording: messages go through a bounded channel to a thread that writes them. If the disk is
//! too slow, messages are lost; the file and the screen show how many.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::expand;
use crate::replay::recording;
use bklit_console_core::msg::{Report, Target};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::time::UtcMillis;

/// How many groups of messages may wait to be written.
const CAPACITY: usize = 256;
/// How long written lines may stay in the buffer.
const FLUSH: Duration = Duration::from_millis(500);

/// Messages received together, when, and how many were lost before them.
type Part = (UtcMillis, Vec<DebugMessage>, u64);

#[derive(Default)]
struct Shared {
    bytes: AtomicU64,
    /// Why it was ended, and how many messages were lost at the end.
    end: Mutex<(&'static str, u64)>,
    /// Why recording stopped, if it did.
    ended: Mutex<Option<String>>,
}

/// A running recording. Ends when dropped.
pub(super) struct Recorder {
    parts: Option<SyncSender<Part>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    path: String,
    /// All lost messages, and those that the file does not report yet.
    lost: u64,
    untold: u64,
}

impl Recorder {
    /// Creates the file and starts the thread.
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
                format!("{} exists; :record! overwrites it", target.path)
            }
            _ => format!("{}: {error}", target.path),
        })?;
        let (sender, parts) = sync_channel(CAPACITY);
        let shared = Arc::new(Shared::default());
        let (of_thread, header) =
            (Arc::clone(&shared), recording::header(source, UtcMillis::now()));
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

    /// Passes received messages to the thread.
    pub(super) fn record(&mut self, at: UtcMillis, messages: &[DebugMessage]) {
        let Some(parts) = &self.parts else { return };
        if parts.try_send((at, messages.to_vec(), self.untold)).is_ok() {
            self.untold = 0;
        } else {
            self.lost += messages.len() as u64;
            self.untold += messages.len() as u64;
        }
    }

    /// The current state.
    pub(super) fn state(&self) -> Report {
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match &*ended {
            Some(why) => Report::RecordBroke(why.clone()),
            None => Report::Recorded { bytes: self.shared.bytes.load(Relaxed), lost: self.lost },
        }
    }

    /// Ends the recording once everything is written, and reports it; a slow disk may take a while.
    pub(super) fn end(mut self, reports: tokio::sync::mpsc::Sender<Report>) {
        let work = move || {
            self.close("stopped");
            let bytes = bklit_console_core::format::bytes(self.shared.bytes.load(Relaxed));
            let missing = match self.lost {
                0 => String::new(),
                lost => {
                    format!("; {} messages are missing", bklit_console_core::format::count(lost))
                }
            };
            let text = format!("recorded {bytes} to {}{missing}", self.path);
            let _ = reports.blocking_send(Report::RecordEnded(text));
        };
        // If no thread can be started, `self` is dropped here, which ends the recording as well.
        let _ = std::thread::Builder::new().name("record end".into()).spawn(work);
    }

    fn close(&mut self, why: &'static str) {
        if self.parts.is_some() {
            *self.shared.end.lock().unwrap_or_else(PoisonError::into_inner) = (why, self.untold);
        }
        // The thread ends when the channel is closed, after writing what is in it.
        self.parts = None;
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
            // The last line may exceed the limit.
            self.file.write_all(recording::end(UtcMillis::now(), &why).as_bytes())?;
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
                Err(RecvTimeoutError::Disconnected) => return self.ended(),
                Ok((at, messages, lost)) => {
                    if lost > 0 {
                        self.write(&recording::not_recorded(at, lost))?;
                    }
                    for message in &messages {
                        self.write(&recording::message(at, message))?;
                        if self.shared.bytes.load(Relaxed) >= self.most {
                            let most = bklit_console_core::format::bytes(self.most);
                            return Ok(format!("it reached console.record_max_bytes, {most}"));
                        }
                    }
                }
            }
        }
    }

    /// Ends the file, after the channel was closed.
    fn ended(&mut self) -> io::Result<String> {
        let end = self.shared.end.lock().unwrap_or_else(PoisonError::into_inner);
        let (why, lost) = *end;
        drop(end);
        if lost > 0 {
            self.write(&recording::not_recorded(UtcMillis::now(), lost))?;
        }
        Ok(why.to_owned())
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.shared.bytes.fetch_add(line.len() as u64, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::path::Path;
    use std::process::Command;
    use std::time::Instant;

    use super::*;
    use bklit_wire::debug_log::{DebugLog, Level, Stage};

    const DEADLINE: Duration = Duration::from_secs(30);

    fn target(path: &Path, overwrite: bool) -> Target {
        Target { path: path.to_str().unwrap().to_owned(), overwrite }
    }

    fn messages(count: usize, bytes: usize) -> Vec<DebugMessage> {
        let line = || DebugLog::new(Stage::Queue, Level::Info, "x".repeat(bytes));
        (0..count).map(|_| DebugMessage::Log(Arc::new(line()))).collect()
    }

    /// Waits until the recorder reports that it has ended on its own.
    fn broke(recorder: &Recorder) -> String {
        let began = Instant::now();
        loop {
            if let Report::RecordBroke(why) = recorder.state() {
                return why;
            }
            assert!(began.elapsed() < DEADLINE, "{:?}", recorder.state());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_recording_stops_at_its_size_limit_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let (mut recorder, _) = Recorder::start(target(&path, false), "here", 50_000).unwrap();
        recorder.record(UtcMillis::now(), &messages(1_000, 100));
        let why = broke(&recorder);
        assert_eq!(why, "it reached console.record_max_bytes, 50 kB");
        drop(recorder);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!((50_000..51_000).contains(&text.len()), "{}", text.len());
        assert!(text.ends_with('\n') && text.lines().last().unwrap().contains(&why), "{text}");
        // All its lines can be replayed.
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    /// This device is always full.
    #[test]
    fn a_full_disk_ends_it_and_says_so() {
        let full = target(Path::new("/dev/full"), true);
        let (mut recorder, _) = Recorder::start(full, "here", u64::MAX).unwrap();
        recorder.record(UtcMillis::now(), &messages(10, 10_000));
        let why = broke(&recorder);
        assert!(why.contains("No space left on device"), "{why}");
    }

    /// A pipe that is not read simulates a slow disk: more messages arrive than fit.
    fn stuck(dir: &Path) -> (File, Recorder) {
        let path = dir.join("slow");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Opened for reading and writing, it does not block, and is not closed before the recorder
        // ends.
        let pipe = File::options().read(true).write(true).open(&path).unwrap();
        let (mut recorder, _) = Recorder::start(target(&path, true), "here", u64::MAX).unwrap();
        let groups = 3 * CAPACITY;
        for _ in 0..groups {
            recorder.record(UtcMillis::now(), &messages(3, 1_000));
        }
        let (lost, most) = (lost(&recorder), 3 * (groups - CAPACITY) as u64);
        assert!(lost > 0 && lost <= most && lost.is_multiple_of(3), "{lost} of {most}");
        (pipe, recorder)
    }

    fn lost(recorder: &Recorder) -> u64 {
        match recorder.state() {
            Report::Recorded { lost, .. } => lost,
            other => panic!("{other:?}"),
        }
    }

    /// Reads up to the recording's last line. Returns how many messages it reports as missing.
    fn read_to_its_end(mut pipe: File) -> std::thread::JoinHandle<u64> {
        std::thread::spawn(move || {
            let (mut text, mut piece) = (Vec::new(), vec![0; 65_536]);
            while !String::from_utf8_lossy(&text).ends_with("\"stopped\"}\n") {
                let read = pipe.read(&mut piece).unwrap();
                text.extend_from_slice(&piece[..read]);
            }
            let text = String::from_utf8(text).unwrap();
            let lines = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
            lines.filter_map(|line| line["notRecorded"].as_u64()).sum()
        })
    }

    #[test]
    fn messages_lost_to_a_slow_disk_are_counted_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, mut recorder) = stuck(dir.path());
        let reader = read_to_its_end(pipe);
        // Once the file can be written again, the gap is reported at its position.
        let began = Instant::now();
        while recorder.untold > 0 {
            assert!(began.elapsed() < DEADLINE);
            recorder.record(UtcMillis::now(), &messages(1, 10));
            std::thread::sleep(Duration::from_millis(1));
        }
        let lost = lost(&recorder);
        recorder.close("stopped");
        assert_eq!(reader.join().unwrap(), lost);
    }

    #[test]
    fn messages_lost_at_the_end_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, mut recorder) = stuck(dir.path());
        let (reader, lost) = (read_to_its_end(pipe), lost(&recorder));
        recorder.close("stopped");
        assert_eq!(reader.join().unwrap(), lost);
    }
}
