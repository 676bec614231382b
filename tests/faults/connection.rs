//! A minimal client that distinguishes a response from a closed connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::oracle::Sent;

/// A keep-alive connection that sends events.
pub struct Connection {
    stream: BufReader<TcpStream>,
    pub address: SocketAddr,
    token: String,
}

/// The answer to an event.
pub enum Answer {
    /// 200 with this event id.
    Kept(String),
    /// Another status, and the body.
    Refused(u16, String),
}

impl Connection {
    pub fn open(address: SocketAddr, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream), address, token: token.to_owned() })
    }

    /// Sends an event, or several together. After an error, it is unknown which were accepted.
    pub fn send(&mut self, events: &[Sent]) -> io::Result<Vec<Answer>> {
        let kept = |answer: &Value| {
            Answer::Kept(answer["eventId"].as_str().expect("an eventId").to_owned())
        };
        if let [event] = events {
            let (status, body) = self.post(event.path(), &event.body())?;
            let answer = match status {
                200 => kept(&serde_json::from_slice(&body)?),
                status => Answer::Refused(status, String::from_utf8_lossy(&body).into_owned()),
            };
            return Ok(vec![answer]);
        }
        let (status, body) = self.post("/batch", &events.iter().map(Sent::body).collect())?;
        let answer: Value = serde_json::from_slice(&body)?;
        let Some(results) = answer["results"].as_array() else {
            let refused = || Answer::Refused(status, answer["error"].to_string());
            return Ok(events.iter().map(|_| refused()).collect());
        };
        assert_eq!(results.len(), events.len());
        let answer = |result: &Value| match result["status"].as_u64() {
            Some(200) => kept(result),
            status => Answer::Refused(status.unwrap_or(0) as u16, result["error"].to_string()),
        };
        Ok(results.iter().map(answer).collect())
    }

    /// Sends a request; returns the status and the body.
    pub fn post(&mut self, path: &str, body: &Value) -> io::Result<(u16, Vec<u8>)> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        let mut length = 0;
        self.stream.read_line(&mut line)?;
        let status = line.clone();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.ok_or_else(|| io::Error::other("no status"))?, body))
    }
}
