//! A proxy between the program and a Redis that changes commands, or stops forwarding without closing
//! anything.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};

/// A command: its name and arguments.
pub type Command = Vec<Vec<u8>>;

/// A proxy, which ends with the test program.
pub struct RedisProxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    /// What to send to the server; `None` to hang up.
    change: Box<dyn Fn(Command) -> Option<Command> + Send + Sync>,
    accepted: AtomicU64,
    /// Connections accepted before this one are silent.
    silent_before: AtomicU64,
}

impl RedisProxy {
    /// In front of a server on this machine.
    pub fn before(
        server: u16,
        change: impl Fn(Command) -> Option<Command> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            change: Box::new(change),
            accepted: AtomicU64::new(0),
            silent_before: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                connect(&client, &server, &shared);
            }
        });
        Self { port, state }
    }

    /// Without `HELLO`, as servers that speak only RESP2.
    pub fn without_hello(server: u16) -> Self {
        Self::before(server, |mut command| {
            if is(&command, "HELLO") {
                command[0] = b"NO-HELLO".to_vec();
            }
            Some(command)
        })
    }

    /// Which hangs up on `HELLO`, as some proxies do.
    pub fn hanging_up_on_hello(server: u16) -> Self {
        Self::before(server, |command| (!is(&command, "HELLO")).then_some(command))
    }

    /// Which makes scripts fail that access other keys than those in `KEYS`.
    pub fn with_declared_keys(server: u16) -> Self {
        Self::before(server, |mut command| {
            if is(&command, "EVAL") {
                command[1] = guarded(&command[1]);
            } else if is(&command, "SCRIPT") && command[1].eq_ignore_ascii_case(b"LOAD") {
                let script = String::from_utf8(command[2].clone()).unwrap();
                let sha = ::redis::Script::new(&script).get_hash().as_bytes().to_vec();
                scripts().lock().unwrap().insert(sha, guarded(&command[2]));
            } else if is(&command, "EVALSHA")
                && let Some(script) = scripts().lock().unwrap().get(&command[1])
            {
                command[0] = b"EVAL".to_vec();
                command[1] = script.clone();
            }
            Some(command)
        })
    }

    /// `redis://…` of the proxy.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(SeqCst)
    }

    /// Forwards nothing any more on the connections that are open now, and keeps them open.
    pub fn silence(&self) {
        self.state.silent_before.store(self.accepted(), SeqCst);
    }
}

fn is(command: &Command, name: &str) -> bool {
    command[0].eq_ignore_ascii_case(name.as_bytes())
}

/// The guarded scripts, by the hash of the script itself.
fn scripts() -> &'static Mutex<HashMap<Vec<u8>, Vec<u8>>> {
    static SCRIPTS: OnceLock<Mutex<HashMap<Vec<u8>, Vec<u8>>>> = OnceLock::new();
    SCRIPTS.get_or_init(Mutex::default)
}

fn guarded(script: &[u8]) -> Vec<u8> {
    [include_bytes!("declared_keys.lua"), script].concat()
}

fn connect(client: &TcpStream, server: &TcpStream, state: &Arc<State>) {
    let number = state.accepted.fetch_add(1, SeqCst);
    for stream in [client, server] {
        stream.set_nodelay(true).unwrap();
    }
    let pair = || (client.try_clone().unwrap(), server.try_clone().unwrap());
    let ((requests, mut to_server), (mut to_client, mut answers)) = (pair(), pair());
    let (rules, shared) = (Arc::clone(state), Arc::clone(state));
    std::thread::spawn(move || {
        let mut requests = BufReader::new(requests);
        while let Some(command) = read(&mut requests) {
            if number < rules.silent_before.load(SeqCst) {
                continue;
            }
            let Some(command) = (rules.change)(command) else { break };
            if to_server.write_all(&packed(&command)).is_err() {
                break;
            }
        }
        let _ = requests.get_ref().shutdown(Shutdown::Both);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = answers.read(&mut buffer) {
            if number >= shared.silent_before.load(SeqCst)
                && to_client.write_all(&buffer[..read]).is_err()
            {
                break;
            }
        }
        // A silent connection is not closed either.
        if number >= shared.silent_before.load(SeqCst) {
            let _ = to_client.shutdown(Shutdown::Both);
        }
    });
}

/// Reads a command as clients send it: an array of bulk strings.
fn read(from: &mut impl BufRead) -> Option<Command> {
    let count = number(from, b'*')?;
    (0..count)
        .map(|_| {
            let mut argument = vec![0; number(from, b'$')? + 2];
            from.read_exact(&mut argument).ok()?;
            argument.truncate(argument.len() - 2);
            Some(argument)
        })
        .collect()
}

fn number(from: &mut impl BufRead, kind: u8) -> Option<usize> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line).ok()?;
    let digits = line.strip_prefix(&[kind])?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn packed(command: &Command) -> Vec<u8> {
    let mut packed = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        packed.extend(format!("${}\r\n", argument.len()).into_bytes());
        packed.extend(argument);
        packed.extend(b"\r\n");
    }
    packed
}
