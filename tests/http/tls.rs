//! HTTP over TLS: the certificate, its renewal, and clients that speak the other protocol.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bklit_pipeline::server::tls::ServerTls;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::client::{DEADLINE, post, request};
use super::server::{Server, eventually};
use crate::support::tls::{self, connect};

/// A certificate and key that can be replaced.
pub struct Files {
    dir: tempfile::TempDir,
    pub tls: Arc<ServerTls>,
}

impl Files {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::copy(tls::file("server.pem"), path("cert.pem")).unwrap();
        fs::copy(tls::file("server.key"), path("key.pem")).unwrap();
        let tls = ServerTls::load(&path("cert.pem"), &path("key.pem")).unwrap();
        Self { tls: Arc::new(tls), dir }
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    fn replace(&self, name: &str) {
        fs::copy(tls::file(&format!("{name}.pem")), self.certificate()).unwrap();
        fs::copy(tls::file(&format!("{name}.key")), self.dir.path().join("key.pem")).unwrap();
    }
}

async fn over_tls(tls: &Arc<ServerTls>) -> Server {
    Server::start_over("127.0.0.1:0", Some(Arc::clone(tls)), |_| {}).await
}

/// Sends a request on a connection of its own; returns what comes until its end.
async fn exchange(server: &Server, root: &str, bytes: impl AsRef<[u8]>) -> std::io::Result<String> {
    let mut stream = connect(server.address, root).await?;
    stream.write_all(bytes.as_ref()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

const CLOSE: (&str, &str) = ("Connection", "close");

#[tokio::test]
async fn events_arrive_over_tls_and_local_clients_may_read() {
    let server = over_tls(&Files::new().tls).await;
    let authorization = format!("Bearer {}", server.ingest);
    let view = r#"{"url":"https://a.example/","projectId":"p"}"#;
    let large = format!("{view:<60000}");
    for body in [view, &large] {
        let bytes = post("/track", &[("Authorization", &authorization), CLOSE], body);
        let answer = exchange(&server, "ca", bytes).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(server.queued().len(), 2);
    // A page of the server's own origin, and a page of another one.
    let own = format!("https://{}", server.address);
    for (origin, status) in [(own.as_str(), "200"), ("https://evil.example", "401")] {
        let host = server.address.to_string();
        let headers = [("Host", host.as_str()), ("Origin", origin), CLOSE];
        let answer = exchange(&server, "ca", request("GET", "/metrics", &headers)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{origin}: {answer}");
    }
    let refused = connect(server.address, "other-ca").await;
    assert!(refused.is_err(), "another authority's certificate is accepted");
    server.stop().await;
}

#[tokio::test]
async fn a_client_without_tls_gets_the_reason() {
    let server = over_tls(&Files::new().tls).await;
    let mut lines = server.bus.subscribe();
    let answer = server.get("/health", &[]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("https://"), "{answer:?}");
    logged(&mut lines, "HTTP without TLS on a port that needs it").await;
    server.stop().await;
}

#[tokio::test]
async fn tls_on_a_port_without_it_is_recognised() {
    let server = Server::start().await;
    let mut lines = server.bus.subscribe();
    assert!(connect(server.address, "ca").await.is_err());
    logged(&mut lines, "TLS on a port without it").await;
    server.works().await;
    server.stop().await;
}

/// Waits for a warning that begins so.
async fn logged(lines: &mut Box<dyn DebugStream>, start: &str) {
    let found = async {
        while let Some(message) = lines.next().await {
            let DebugMessage::Log(log) = message else { continue };
            if log.message.starts_with(start) {
                assert_eq!(log.data["peer"], "127.0.0.0");
                return;
            }
        }
        panic!("the bus has closed");
    };
    tokio::time::timeout(DEADLINE, found).await.expect(start);
}

#[tokio::test]
async fn a_client_that_does_not_complete_the_handshake_is_disconnected() {
    let tls = Some(Files::new().tls);
    let short = std::time::Duration::from_millis(300);
    let server =
        Server::start_over("127.0.0.1:0", tls, |all| all.http.header_timeout = short).await;
    let mut silent = server.client().await;
    let mut halfway = server.client().await;
    halfway.send(b"\x16\x03\x01\x02\x00\x01").await;
    assert!(silent.is_closed().await && halfway.is_closed().await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_under_load() {
    let files = Files::new();
    let server = Arc::new(over_tls(&files.tls).await);
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (server, done, served) = (server.clone(), done.clone(), served.clone());
            tokio::spawn(async move {
                while !done.load(SeqCst) {
                    let bytes = request("GET", "/health", &[CLOSE]);
                    let answer = exchange(&server, "ca renewed", bytes).await.unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                    served.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for name in ["renewed", "server", "renewed"] {
        files.replace(name);
        assert!(files.tls.reload().unwrap());
        assert!(!files.tls.reload().unwrap(), "nothing has changed");
        let before = served.load(SeqCst);
        eventually("clients are served", || served.load(SeqCst) > before + 8).await;
    }
    done.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert!(connect(server.address, "ca").await.is_err(), "the old certificate is still in use");
    Arc::into_inner(server).unwrap().stop().await;
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_logged_every_day() {
    let files = Files::new();
    files.replace("expired");
    assert!(files.tls.reload().unwrap());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let watch = Arc::clone(&files.tls).watch(CancellationToken::new());
    let days = Duration::from_secs(2 * 24 * 60 * 60 + 60);
    tokio::time::timeout(days, watch).await.unwrap_err();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().filter(|line| line.contains("the TLS certificate has expired"));
    assert_eq!(lines.count(), 3, "at the start, and once a day: {text}");
}

#[tokio::test]
async fn a_renewal_that_cannot_be_used_changes_nothing() {
    let files = Files::new();
    let server = over_tls(&files.tls).await;
    fs::copy(tls::file("renewed.pem"), files.certificate()).unwrap();
    let error = files.tls.reload().unwrap_err().to_string();
    assert!(error.contains("does not belong to the certificate"), "{error}");
    fs::write(files.certificate(), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let error = files.tls.reload().unwrap_err().to_string();
    assert!(error.starts_with("tls_cert: ") && error.contains("cert.pem"), "{error}");
    fs::remove_file(files.certificate()).unwrap();
    let error = files.tls.reload().unwrap_err().to_string();
    assert!(error.contains("cannot read"), "{error}");
    let answer = exchange(&server, "ca", request("GET", "/health", &[CLOSE])).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    files.replace("renewed");
    assert!(files.tls.reload().unwrap());
    server.stop().await;
}
