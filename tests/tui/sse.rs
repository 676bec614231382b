//! The bus over SSE against a server that misbehaves on purpose.

use std::time::Duration;

use bklit_remote::client::client;
use bklit_remote::sse::{Endpoint, MAX_LINE, SseDebugStream, SseError};
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::DEADLINE;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// A server controlled by the test.
struct Server(TcpListener);

impl Server {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn endpoint(&self, token: Option<&str>) -> Endpoint {
        Endpoint::new(&format!("http://{}", self.0.local_addr().unwrap()), token).unwrap()
    }

    /// Waits for a request; returns the connection and the request's head.
    async fn accept(&self) -> (TcpStream, String) {
        let accept = tokio::time::timeout(DEADLINE, self.0.accept());
        let (mut connection, _) = accept.await.expect("no connection").unwrap();
        connection.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        (connection, String::from_utf8(head).unwrap())
    }

    /// Accepts and answers the next request.
    async fn answer(&self, bytes: &str) -> TcpStream {
        let (mut connection, _) = self.accept().await;
        connection.write_all(bytes.as_bytes()).await.unwrap();
        connection
    }

    /// A stream and the connection that feeds it.
    async fn stream(&self) -> (SseDebugStream, TcpStream) {
        let connect = SseDebugStream::connect(client(None, None).unwrap(), self.endpoint(None));
        let (stream, connection) = tokio::join!(connect, self.answer(HEAD));
        let mut stream = stream.unwrap();
        assert!(matches!(next(&mut stream).await, DebugMessage::Connected));
        (stream, connection)
    }

    async fn refusal(&self, answer: &str) -> SseError {
        let connect = SseDebugStream::connect(client(None, None).unwrap(), self.endpoint(None));
        let (stream, _connection) = tokio::join!(connect, self.answer(answer));
        stream.err().expect("it connects")
    }
}

async fn next(stream: &mut SseDebugStream) -> DebugMessage {
    tokio::time::timeout(DEADLINE, stream.next()).await.expect("no message").expect("closed")
}

fn line(message: &str) -> String {
    let log = serde_json::json!({
        "timestamp": "2026-01-31T12:00:00.000Z", "stage": "queue", "level": "info",
        "message": message, "data": {},
    });
    format!("data: {log}\n\n")
}

#[track_caller]
fn assert_line(message: &DebugMessage, text: &str) {
    match message {
        DebugMessage::Log(log) if log.message == text => {}
        other => panic!("{other:?} instead of {text}"),
    }
}

#[tokio::test]
async fn messages_arrive_however_they_are_chunked() {
    let server = Server::start().await;
    let (mut stream, mut connection) = server.stream().await;
    let text = format!(
        ": keep-alive\n\n{}event: gauges\ndata: {{\"process\":\"p\"}}\n\nevent: lost\n\
         data: {{\"lost\":3}}\n\ndata: {{\"stage\":\"\x1b[31m\n\n{}",
        line("grün 漢"),
        line("last"),
    );
    for piece in text.as_bytes().chunks(3) {
        connection.write_all(piece).await.unwrap();
        connection.flush().await.unwrap();
    }
    assert_line(&next(&mut stream).await, "grün 漢");
    assert!(matches!(next(&mut stream).await, DebugMessage::Gauges(g) if g.process == "p"));
    assert!(matches!(next(&mut stream).await, DebugMessage::Lost(3)));
    let unparsed = next(&mut stream).await;
    assert!(matches!(&unparsed, DebugMessage::Unparsed(t) if &**t == "{\"stage\":\"\u{1b}[31m"));
    assert_line(&next(&mut stream).await, "last");
}

#[tokio::test]
async fn a_lost_connection_is_reported_and_restored() {
    let server = Server::start().await;
    let (mut stream, mut connection) = server.stream().await;
    let half = &line("never whole")[..30];
    connection.write_all((line("first") + half).as_bytes()).await.unwrap();
    assert_line(&next(&mut stream).await, "first");
    drop(connection);
    assert!(matches!(next(&mut stream).await, DebugMessage::Disconnected(_)));
    // One more invalid response before it works again.
    drop(server.answer("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await);
    let reason = next(&mut stream).await;
    assert!(matches!(&reason, DebugMessage::Disconnected(r) if r.contains("503")), "{reason:?}");
    let mut connection = server.answer(HEAD).await;
    connection.write_all(line("second").as_bytes()).await.unwrap();
    assert!(matches!(next(&mut stream).await, DebugMessage::Connected));
    assert_line(&next(&mut stream).await, "second");
}

#[tokio::test]
async fn a_refusal_is_final_and_says_why() {
    let server = Server::start().await;
    let body = r#"{"error":"the token's scope is ingest"}"#;
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let error = server.refusal(&answer).await;
        assert!(matches!(error, SseError::Unauthorized { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("scope is ingest") && text.contains("--scope read"), "{text}");
    }
    for answer in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi",
    ] {
        let error = server.refusal(answer).await;
        assert!(matches!(error, SseError::NotADaemon { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_token_goes_into_the_header_and_nowhere_else() {
    let server = Server::start().await;
    let endpoint = server.endpoint(Some("bk_live_secret")).of_project("p1");
    assert!(!format!("{endpoint:?}").contains("bk_live_secret"));
    let connect = SseDebugStream::connect(client(None, None).unwrap(), endpoint);
    let accept = async {
        let (mut connection, head) = server.accept().await;
        connection.write_all(HEAD.as_bytes()).await.unwrap();
        head
    };
    let (stream, head) = tokio::join!(connect, accept);
    stream.unwrap();
    assert!(head.starts_with("GET /api/debug-stream?projectId=p1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer bk_live_secret\r\n"), "{head}");
}

#[tokio::test]
async fn a_daemon_that_is_not_running_yet_is_waited_for() {
    let server = Server::start().await;
    let (endpoint, address) = (server.endpoint(None), server.0.local_addr().unwrap());
    drop(server);
    let mut stream = SseDebugStream::connect(client(None, None).unwrap(), endpoint).await.unwrap();
    assert!(matches!(next(&mut stream).await, DebugMessage::Disconnected(_)));
    let server = Server(TcpListener::bind(address).await.unwrap());
    let _connection = server.answer(HEAD).await;
    while !matches!(next(&mut stream).await, DebugMessage::Connected) {}
}

#[tokio::test]
async fn an_oversized_event_is_counted_and_skipped() {
    let server = Server::start().await;
    let (mut stream, mut connection) = server.stream().await;
    let huge = "x".repeat(4 * MAX_LINE);
    let text = line(&huge) + &line("after it");
    let write = async move { connection.write_all(text.as_bytes()).await.map(|()| connection) };
    let writing = tokio::spawn(write);
    assert!(matches!(next(&mut stream).await, DebugMessage::Lost(1)));
    assert_line(&next(&mut stream).await, "after it");
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_reader_holds_up_the_sender() {
    const LINES: usize = 200_000;
    let server = Server::start().await;
    let (mut stream, mut connection) = server.stream().await;
    let mut writing = tokio::spawn(async move {
        for number in 0..LINES {
            connection.write_all(line(&number.to_string()).as_bytes()).await.unwrap();
        }
        connection
    });
    let early = tokio::time::timeout(Duration::from_secs(1), &mut writing).await;
    assert!(early.is_err(), "everything was taken in without a reader");
    for number in 0..LINES {
        assert_line(&next(&mut stream).await, &number.to_string());
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_times_out() {
    let server = Server::start().await;
    let (mut stream, _connection) = server.stream().await;
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let message = stream.next().await.unwrap();
    assert!(matches!(&message, DebugMessage::Disconnected(r) if r.contains("45 s")), "{message:?}");
    assert!(started.elapsed() >= Duration::from_secs(44));
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let server = Server::start().await;
    let (stream, mut connection) = server.stream().await;
    drop(stream);
    let mut byte = [0];
    let read = tokio::time::timeout(DEADLINE, connection.read(&mut byte)).await;
    assert!(!matches!(read.expect("still open"), Ok(1..)));
}
