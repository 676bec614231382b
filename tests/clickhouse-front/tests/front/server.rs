//! A front in a separate process, with its own directory.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// How long an operation may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Server {
    pub child: Child,
    pub address: String,
    pub dir: TempDir,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (child, address) = launch(dir.path(), arguments);
        Server { child, address, dir }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn client(&self) -> Client {
        Client::default().with_url(self.url())
    }

    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// On the same directory, with a new address.
    pub fn restart(&mut self) {
        self.kill9();
        (self.child, self.address) = launch(self.dir.path(), &[]);
    }

    pub async fn fault(&self, fault: &str) {
        let (status, body) = self.send("POST", "/fault", &[], fault.as_bytes()).await;
        assert_eq!(status, 200, "{body}");
    }

    /// A plain request, for things that the client does not send.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String) {
        let (status, _, body) = self.send_raw(method, path, headers, body).await;
        (status, String::from_utf8(body).unwrap())
    }

    pub async fn send_raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String, Vec<u8>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let split = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..split].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, answer[split + 4..].to_vec())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reports to `scripts/test-runner.sh` that this test fails because the engine is missing.
fn report_missing(variable: &str) {
    let thread = std::thread::current();
    // The harness names a test's thread by the test.
    let Some(test) = thread.name().filter(|name| name.contains("::")) else { return };
    let Some(path) = std::env::var_os("BKLIT_TEST_MISSING") else { return };
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(format!("{test} {variable}\n").as_bytes()).unwrap();
}

fn launch(path: &Path, arguments: &[&str]) -> (Child, String) {
    if std::env::var_os("BKLIT_TEST_LIBCHDB").is_none() {
        report_missing("BKLIT_TEST_LIBCHDB");
        panic!("BKLIT_TEST_LIBCHDB is not set; run scripts/test.sh, it provides the servers");
    }
    let file = path.join("front-address");
    let _ = std::fs::remove_file(&file);
    let mut child = Command::new(env!("CARGO_BIN_EXE_clickhouse-front"))
        .arg("--path")
        .arg(path)
        .arg("--address-file")
        .arg(&file)
        .arg("--exit-with-stdin")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(address) = std::fs::read_to_string(&file) {
            return (child, address);
        }
        assert!(child.try_wait().unwrap().is_none(), "the front ended at its start");
        assert!(Instant::now() < deadline, "the front does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A row with the types that our tables have.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
pub struct Event {
    pub id: String,
    pub at: u32,
    pub mobile: bool,
    pub country: Option<String>,
    pub width: Option<u32>,
    pub score: f64,
}

impl Event {
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Event { id, at: 1_700_000_000, mobile: true, country: None, width: Some(7), score: 0.5 }
    }
}

pub const CREATE: &str = "CREATE TABLE event (id String, at DateTime('UTC'), mobile Bool, \
    country Nullable(String), width Nullable(UInt32), score Float64) ENGINE = MergeTree \
    PARTITION BY toYYYYMM(at) ORDER BY (id, at) SETTINGS non_replicated_deduplication_window = 1000";

/// Inserts rows as the worker does, with a token.
pub async fn insert(client: &Client, token: &str, rows: &[Event]) -> clickhouse::error::Result<()> {
    let mut insert = client
        .insert::<Event>("event")
        .await?
        .with_setting("insert_deduplication_token", token)
        .with_setting("insert_deduplicate", "1")
        .with_setting("async_insert", "0");
    for row in rows {
        insert.write(row).await?;
    }
    insert.end().await
}

pub async fn ids(client: &Client) -> Vec<String> {
    client.query("SELECT id FROM event ORDER BY id").fetch_all().await.unwrap()
}
