//! A client that sends any bytes, well-formed or not, and parses responses strictly.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long an operation may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Client(pub BufReader<TcpStream>);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice: {:?}", self.headers);
        value
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The reason for a refusal; its format is checked.
    pub fn error(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let json = self.json();
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        json["error"].as_str().unwrap().to_owned()
    }
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("no answer in time")
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(in_time(TcpStream::connect(address)).await.unwrap()))
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        in_time(self.0.get_mut().write_all(bytes.as_ref())).await
    }

    pub async fn half_close(&mut self) {
        self.0.get_mut().shutdown().await.unwrap();
    }

    /// Reads a line without its end; `None` at the end of the connection.
    pub async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match in_time(self.0.read_line(&mut line)).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    /// Reads a response's status line and headers.
    pub async fn head(&mut self) -> Option<Answer> {
        let line = self.line().await?;
        let status = line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")).unwrap();
        let status = status.get(..3).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await.expect("the head ends");
            if line.is_empty() {
                return Some(Answer { status, headers, body: String::new() });
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Reads a whole response; `None` if the connection ends instead.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        in_time(self.0.read_exact(&mut body)).await.ok()?;
        answer.body = String::from_utf8(body).unwrap();
        Some(answer)
    }

    pub async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer")
    }

    /// Whether the server has ended the connection, with nothing more to read.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset counts as an end, too.
        let _ = in_time(self.0.read_to_end(&mut rest)).await;
        rest.is_empty()
    }
}

/// Sends requests on one connection until it is closed, each `pause` after the response to the one
/// before; calls `answered` after each response.
pub async fn send_until_closed(
    address: SocketAddr,
    pause: Duration,
    mut request: impl FnMut() -> Vec<u8>,
    mut answered: impl FnMut(),
) -> Option<()> {
    let stream = TcpStream::connect(address).await.ok()?;
    let mut client = Client(BufReader::new(stream));
    loop {
        client.try_send(request()).await.ok()?;
        client.try_answer().await?;
        answered();
        tokio::time::sleep(pause).await;
    }
}

/// A request with a body and its length.
pub fn post(path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

/// The same in chunks of `size` bytes.
pub fn post_chunked(path: &str, headers: &[(&str, &str)], body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(size) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// A request without a body.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let host = if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        ""
    } else {
        "Host: localhost\r\n"
    };
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{host}{headers}\r\n")
}
