//! HTTP/1.1 over plain sockets, for exact control of what is sent.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::DEADLINE;

/// A response.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The complete body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    fn read(reader: &mut impl io::BufRead) -> io::Result<Self> {
        let mut answer = Self::read_head(reader)?;
        if answer.header("transfer-encoding").is_some_and(|value| value == "chunked") {
            while let Some(chunk) = read_chunk(reader)? {
                answer.body.extend(chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            answer.body = vec![0; length.parse().map_err(io::Error::other)?];
            reader.read_exact(&mut answer.body)?;
        } else {
            reader.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    fn read_head(reader: &mut impl io::BufRead) -> io::Result<Self> {
        let status_line = read_line(reader)?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {status_line}")))?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(reader)?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(Self { status, headers, body: Vec::new() });
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn read_line(reader: &mut impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// `None` after the last chunk.
fn read_chunk(reader: &mut impl io::BufRead) -> io::Result<Option<Vec<u8>>> {
    let size = usize::from_str_radix(&read_line(reader)?, 16).map_err(io::Error::other)?;
    let mut chunk = vec![0; size];
    reader.read_exact(&mut chunk)?;
    read_line(reader)?;
    Ok((size > 0).then_some(chunk))
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn write_request(
    mut stream: &TcpStream,
    (method, path): (&str, &str),
    addr: SocketAddr,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<()> {
    let mut message = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\n").into_bytes();
    for (name, value) in headers {
        write!(message, "{name}: {value}\r\n")?;
    }
    if !body.is_empty() {
        write!(message, "Content-Length: {}\r\n", body.len())?;
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(body);
    stream.write_all(&message)
}

/// Sends a request on a new connection and reads the response.
pub fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let stream = connect(addr)?;
    let headers: Vec<_> = [("Connection", "close")].iter().chain(headers).copied().collect();
    write_request(&stream, (method, path), addr, &headers, body)?;
    Response::read(&mut BufReader::new(stream))
}

/// A stream of Server-Sent Events.
pub struct Stream {
    reader: BufReader<TcpStream>,
    chunked: bool,
    pending: Vec<u8>,
}

impl Stream {
    /// Opens it; the status must be 200.
    #[track_caller]
    pub fn open(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let stream = connect(addr).unwrap();
        write_request(&stream, ("GET", path), addr, headers, b"").unwrap();
        let mut reader = BufReader::new(stream);
        let head = Response::read_head(&mut reader).unwrap();
        assert_eq!(head.status, 200, "{head:?}");
        let content_type = head.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("text/event-stream"), "{head:?}");
        let chunked = head.header("transfer-encoding") == Some("chunked");
        Self { reader, chunked, pending: Vec::new() }
    }

    /// The data of the next event, without comments; `None` at the end.
    #[track_caller]
    pub fn next_data(&mut self) -> Option<String> {
        loop {
            while let Some(end) = self.pending.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.pending.drain(..end + 2).collect();
                let event = String::from_utf8_lossy(&event);
                let data: Vec<_> =
                    event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                if !data.is_empty() {
                    return Some(data.join("\n"));
                }
            }
            let more = if self.chunked {
                read_chunk(&mut self.reader).unwrap()?
            } else {
                let bytes = self.reader.fill_buf().unwrap().to_vec();
                self.reader.consume(bytes.len());
                bytes
            };
            if more.is_empty() {
                return None;
            }
            self.pending.extend(more);
        }
    }
}
