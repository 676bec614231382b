//! A TCP proxy between the program and a server that holds back a chosen message, or adds latency.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{DEADLINE, eventually};

/// Which message is held back: the request before it reaches the server, or the response after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The server has not received the request.
    Request,
    /// The server has executed the request, and the client does not know.
    Answer,
}

/// Forwards bytes in both directions until [`Proxy::hold`] names a message.
#[derive(Clone)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Latency of each message, in either direction.
    delay: Duration,
    rule: Mutex<Rule>,
    changed: Condvar,
}

#[derive(Default)]
struct Rule {
    pattern: Option<(Vec<u8>, Hold)>,
    /// Connections on which something is held.
    held: usize,
    /// Incremented when all held messages are released.
    released: u64,
    /// Messages held so far, and those of them that were forwarded.
    stopped: u64,
    passed: u64,
}

impl Proxy {
    /// A proxy in front of a server on this machine.
    pub fn before(server: u16) -> Self {
        Self::far_before(server, Duration::ZERO)
    }

    /// The same with a latency of `delay` in either direction.
    pub fn far_before(server: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { delay, ..State::default() });
        let shared = Arc::clone(&state);
        // It ends with the test program.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                connect(&client, &server, &shared);
            }
        });
        Self { port, state }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Holds the next message that contains `pattern`, and its connection.
    pub fn hold(&self, pattern: &[u8], hold: Hold) {
        self.state.rule.lock().unwrap().pattern = Some((pattern.to_vec(), hold));
    }

    /// Waits until something is held.
    #[track_caller]
    pub fn holds(&self) {
        eventually(DEADLINE, "the proxy holds a message", || {
            self.state.rule.lock().unwrap().held > 0
        });
    }

    /// Waits until all held messages have been forwarded.
    #[track_caller]
    pub fn let_through(&self) {
        eventually(DEADLINE, "held messages are forwarded", || {
            let rule = self.state.rule.lock().unwrap();
            rule.stopped == rule.passed
        });
    }

    /// Releases all held messages.
    pub fn release(&self) {
        let mut rule = self.state.rule.lock().unwrap();
        rule.pattern = None;
        rule.released += 1;
        self.state.changed.notify_all();
    }
}

impl State {
    /// What to hold of a chunk of requests; at most once per rule.
    fn takes(&self, chunk: &[u8]) -> Option<Hold> {
        let mut rule = self.rule.lock().unwrap();
        let (pattern, _) = rule.pattern.as_ref()?;
        if !chunk.windows(pattern.len()).any(|window| window == pattern) {
            return None;
        }
        Some(rule.pattern.take()?.1)
    }

    fn wait(&self) {
        let mut rule = self.rule.lock().unwrap();
        rule.held += 1;
        rule.stopped += 1;
        let before = rule.released;
        rule = self.changed.wait_while(rule, |rule| rule.released == before).unwrap();
        rule.held -= 1;
    }
}

/// Two threads per connection. The gate for responses is closed before the request whose response is
/// to be held is forwarded.
fn connect(client: &TcpStream, server: &TcpStream, state: &Arc<State>) {
    let gate = Arc::new(Mutex::new(false));
    let pair = || (client.try_clone().unwrap(), server.try_clone().unwrap());
    let ((mut requests, mut to_server), (mut to_client, mut answers)) = (pair(), pair());
    let (rules, closing) = (Arc::clone(state), Arc::clone(&gate));
    let decide = Arc::clone(&rules);
    std::thread::spawn(move || {
        copy(&mut requests, &mut to_server, &rules, |chunk| match decide.takes(chunk) {
            Some(Hold::Request) => true,
            Some(Hold::Answer) => {
                *closing.lock().unwrap() = true;
                false
            }
            None => false,
        });
    });
    let rules = Arc::clone(state);
    std::thread::spawn(move || {
        copy(&mut answers, &mut to_client, &rules, |_| std::mem::take(&mut *gate.lock().unwrap()));
    });
}

fn copy(
    from: &mut TcpStream,
    to: &mut TcpStream,
    rules: &State,
    mut is_held: impl FnMut(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let held = is_held(&buffer[..read]);
        std::thread::sleep(rules.delay);
        if held {
            rules.wait();
        }
        let written = to.write_all(&buffer[..read]);
        if held {
            rules.rule.lock().unwrap().passed += 1;
        }
        if written.is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
