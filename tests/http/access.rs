//! Who may read.

use bklit_pipeline::auth::Scope;

use super::client::{Answer, request};
use super::server::Server;

async fn read(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut client = server.client().await;
    client.send(request("GET", path, headers)).await;
    // A stream's body does not end.
    let answer = client.head().await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    answer
}

const READS: [&str; 9] = [
    "/metrics",
    "/api/debug-stream",
    "/api/debug-stream?projectId=p",
    "/api/queue",
    "/api/queue/failed",
    "/api/queue/batch?id=batch",
    "/api/event?id=evt_1",
    "/api/session?id=s_1",
    "/api/who",
];

#[tokio::test]
async fn local_requests_may_read_without_a_token() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let server = Server::start_with(listen, |_| {}).await;
        let port = server.address.port();
        for path in READS {
            for host in ["localhost", "LOCALHOST:3001", "127.0.0.1", "[::1]", "127.1.2.3:80"] {
                assert_eq!(read(&server, path, &[("Host", host)]).await.status, 200, "{host}");
            }
            let host = format!("localhost:{port}");
            let origin = format!("http://{host}");
            let own =
                [("Host", host.as_str()), ("Origin", &origin), ("Sec-Fetch-Site", "same-origin")];
            assert_eq!(read(&server, path, &own).await.status, 200);
        }
    }
}

#[tokio::test]
async fn remote_requests_may_not_read_without_a_token() {
    let server = Server::start().await;
    for path in READS {
        for header in [
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "localhost"),
            ("Forwarded", "for=127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("CF-Connecting-IP", "127.0.0.1"),
            ("Via", "1.1 proxy"),
            ("Host", "analytics.example"),
            ("Host", "localhost.example:3001"),
            ("Host", "127.0.0.1.nip.example"),
            ("Host", ""),
            ("Host", "localhost\r\nHost: evil.example"),
            ("Origin", "https://evil.example"),
            ("Origin", "http://localhost:3000"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            let answer = read(&server, path, &[header]).await;
            assert_eq!(answer.status, 401, "{path} {header:?}");
            let with_token = format!("Bearer {}", server.read);
            let answer = read(&server, path, &[header, ("Authorization", &with_token)]).await;
            // An empty or a duplicate host is refused by the parser or admitted by the token.
            assert!([200, 400].contains(&answer.status), "{path} {header:?}");
        }
        let old = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        assert_eq!(server.send(old).await.status, 401);
        let absolute = format!("GET http://evil.example{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(server.send(absolute).await.status, 401);
    }
}

#[tokio::test]
async fn on_all_interfaces_reading_always_needs_a_token() {
    let server = Server::start_with("0.0.0.0:0", |_| {}).await;
    for path in READS {
        assert_eq!(read(&server, path, &[]).await.status, 401);
        let bearer = format!("Bearer {}", server.read);
        assert_eq!(read(&server, path, &[("Authorization", &bearer)]).await.status, 200);
    }
    assert!(server.get("/health", &[]).await.json().get("queue").is_none());
}

#[tokio::test]
async fn a_token_reads_only_its_projects() {
    let server = Server::start().await;
    let (limited, token) = server.tokens.make(Scope::Read, &["p", "q r"], |_| {}).await;
    let outside = ("Via", "1.1 proxy");
    let cases = [
        ("/metrics", server.read.as_str(), 200),
        ("/api/debug-stream", &server.read, 200),
        ("/api/debug-stream?projectId=any", &server.read, 200),
        ("/metrics", limited.expose(), 401),
        ("/api/debug-stream", limited.expose(), 401),
        ("/api/debug-stream?projectId=", limited.expose(), 401),
        ("/api/debug-stream?projectId=x", limited.expose(), 401),
        ("/api/debug-stream?projectId=x&projectId=p", limited.expose(), 401),
        ("/api/debug-stream?projectId=p", limited.expose(), 200),
        ("/api/debug-stream?projectId=q+r", limited.expose(), 200),
        ("/metrics", &server.ingest, 401),
        ("/api/debug-stream?projectId=p", &server.ingest, 401),
        ("/metrics", "bk_live_", 401),
    ];
    for (path, secret, status) in cases {
        let bearer = format!("Bearer {secret}");
        let answer = read(&server, path, &[outside, ("Authorization", &bearer)]).await;
        assert_eq!(answer.status, status, "{path} by header");
        let separator = if path.contains('?') { '&' } else { '?' };
        let with_token = format!("{path}{separator}token={secret}");
        assert_eq!(read(&server, &with_token, &[outside]).await.status, status, "{with_token}");
        // A token that is sent counts, even on this machine.
        let local = read(&server, path, &[("Authorization", &bearer)]).await;
        assert_eq!(local.status, status, "{path} locally");
    }
    assert_eq!(token.projects.len(), 2);
    let long = format!("/api/debug-stream?projectId={}", "x".repeat(257));
    assert_eq!(read(&server, &long, &[]).await.status, 400);
}
