//! A daemon that only sends lines to a console, at a given rate.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::line;

/// The number of different lines, which are sent repeatedly.
const DIFFERENT: usize = 60_000;
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const NOTHING: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The progress.
#[derive(Default)]
pub(crate) struct State {
    /// Whether the buffer is full; from then on, lines are sent at the given rate.
    pub(crate) is_full: AtomicBool,
    /// Lines sent since then.
    pub(crate) sent: AtomicU64,
    /// Stops sending lines.
    pub(crate) stop: AtomicBool,
}

pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
}

impl Daemon {
    /// Fills a console's buffer of `lines` as fast as it reads, then sends lines at the given rate.
    pub(crate) fn start(lines: usize, lines_per_second: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (mut connection, state) = (connection.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || {
                    // The console has exited.
                    if asks_for_lines(&mut connection) {
                        let _ = send(&mut connection, lines, lines_per_second, &state);
                    }
                });
            }
        });
        Self { address, state }
    }
}

fn asks_for_lines(connection: &mut TcpStream) -> bool {
    let mut request = BufReader::new(connection.try_clone().unwrap()).lines();
    let first = request.next().unwrap().unwrap();
    while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let is_it = first.starts_with("GET /api/debug-stream");
    let answer = if is_it { HEAD } else { NOTHING };
    connection.write_all(answer.as_bytes()).is_ok() && is_it
}

fn send(
    connection: &mut TcpStream,
    lines: usize,
    per_second: u64,
    state: &State,
) -> std::io::Result<()> {
    let event = |nth| format!("data: {}\n\n", serde_json::to_string(&line(nth)).unwrap());
    let events: Vec<String> = (0..DIFFERENT).map(event).collect();
    for start in (0..lines).step_by(1000) {
        let range = start % DIFFERENT..start % DIFFERENT + 1000;
        connection.write_all(events[range].concat().as_bytes())?;
    }
    state.is_full.store(true, SeqCst);
    let began = Instant::now();
    let mut sent = 0;
    while !state.stop.load(SeqCst) {
        let due = (began.elapsed().as_micros() as u64 * per_second) / 1_000_000;
        let some: String =
            (sent..due).map(|nth| events[nth as usize % DIFFERENT].as_str()).collect();
        connection.write_all(some.as_bytes())?;
        sent = due;
        state.sent.store(sent, SeqCst);
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut last = line(0);
    last.message = crate::live::LAST_LINE.into();
    connection.write_all(format!("data: {}\n\n", serde_json::to_string(&last)?).as_bytes())?;
    // Kept open: the console would report a closed connection on the screen.
    std::thread::park();
    Ok(())
}
