//! The HTTP interface itself, as other clients use it.

use crate::server::Server;

#[tokio::test]
async fn ping_needs_no_account_and_queries_do() {
    let server = Server::with(&["--user", "app", "--password", "s3cret"]);
    assert_eq!(server.send("GET", "/ping", &[], b"").await, (200, "Ok.\n".into()));
    let (status, head, body) = server.send_raw("POST", "/", &[], b"SELECT 1").await;
    assert_eq!(status, 403);
    assert!(head.to_lowercase().contains("x-clickhouse-exception-code: 516"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("default: Authentication failed"));
    let headers = [("X-ClickHouse-User", "app"), ("X-ClickHouse-Key", "s3cret")];
    assert_eq!(server.send("POST", "/", &headers, b"SELECT 1").await, (200, "1\n".into()));
    let basic = [("Authorization", "Basic YXBwOnMzY3JldA==")];
    assert_eq!(server.send("POST", "/", &basic, b"SELECT 1").await, (200, "1\n".into()));
    let query = "/?user=app&password=s3cret";
    assert_eq!(server.send("POST", query, &[], b"SELECT 1").await, (200, "1\n".into()));
    assert_eq!(server.send("POST", "/?user=app&password=no", &[], b"SELECT 1").await.0, 403);
    let client = server.client().with_user("app").with_password("s3cret");
    assert_eq!(client.query("SELECT 1").fetch_one::<u8>().await.unwrap(), 1);
}

#[tokio::test]
async fn a_get_only_reads() {
    let server = Server::start();
    assert_eq!(server.send("GET", "/?query=SELECT%201", &[], b"").await.1, "1\n");
    let create = "/?query=CREATE%20TABLE%20t(x%20Int8)ENGINE=Memory";
    let (status, body) = server.send("GET", create, &[], b"").await;
    assert_eq!(status, 500);
    assert!(body.contains("(READONLY)"), "{body}");
    assert_eq!(server.send("POST", create, &[], b"").await.0, 200);
}

#[tokio::test]
async fn one_statement_per_request() {
    let server = Server::start();
    for sql in ["SELECT 1; SELECT 2", "", " -- nothing"] {
        let (status, body) = server.send("POST", "/", &[], sql.as_bytes()).await;
        assert_eq!(status, 400, "{sql}: {body}");
        assert!(body.contains("Code: 62."), "{sql}: {body}");
    }
    assert_eq!(server.send("POST", "/", &[], b"SELECT ';' ; -- end").await.1, ";\n");
    assert_eq!(server.send("GET", "/nix", &[], b"").await.0, 404);
}

#[tokio::test]
async fn inserts_in_text_formats() {
    let server = Server::start();
    let create = b"CREATE TABLE t (x Int32, s String) ENGINE = MergeTree ORDER BY x";
    assert_eq!(server.send("POST", "/", &[], create).await.0, 200);
    let insert = "/?query=INSERT%20INTO%20t%20FORMAT%20JSONEachRow";
    let rows = b"{\"x\":1,\"s\":\"a\"}\n\n{\"x\":2,\"s\":\"b;\"}\n";
    let (status, head, _) = server.send_raw("POST", insert, &[], rows).await;
    assert_eq!(status, 200);
    assert!(head.contains("\"written_rows\":\"2\""), "{head}");
    assert_eq!(server.send_raw("POST", insert, &[], b"").await.0, 200, "no rows are no error");
    for body in
        ["INSERT INTO t FORMAT TSV\n3\tc", "INSERT INTO t(x, s) VALUES (4, 'd\n\n;'), (5, '')"]
    {
        assert_eq!(server.send("POST", "/", &[], body.as_bytes()).await, (200, String::new()));
    }
    let all = b"SELECT groupArray(x), any(s) FROM (SELECT * FROM t ORDER BY x)";
    assert_eq!(server.send("POST", "/", &[], all).await.1, "[1,2,3,4,5]\ta\n");
    let (status, body) = server.send("POST", insert, &[], b"{\"x\":\"no\"}").await;
    assert_eq!(status, 400, "{body}");
    assert!(body.starts_with("Code: 27. DB::Exception: Cannot parse input"), "{body}");
    assert_eq!(body.matches("(version").count(), 1, "{body}");
}

#[tokio::test]
async fn responses_are_compressed_on_request() {
    let server = Server::start();
    let sql = b"SELECT number FROM numbers(300000)";
    let plain = server.send_raw("POST", "/", &[], sql).await.2;
    let (_, head, framed) = server.send_raw("POST", "/", &[("Accept-Encoding", "lz4")], sql).await;
    assert!(head.to_lowercase().contains("content-encoding: lz4"), "{head}");
    assert!(framed.len() < plain.len());
    let blocks = server.send_raw("POST", "/?compress=1", &[], sql).await.2;
    assert!(blocks.len() < plain.len());
    // The server accepts the same framing, so the server reads it back.
    let create = b"CREATE TABLE n (x UInt64) ENGINE = MergeTree ORDER BY x";
    assert_eq!(server.send("POST", "/", &[], create).await.0, 200);
    let insert = "/?query=INSERT%20INTO%20n%20FORMAT%20TSV";
    let encoded = server.send_raw("POST", insert, &[("Content-Encoding", "lz4")], &framed).await;
    assert_eq!(encoded.0, 200);
    let unpacked = server.send_raw("POST", &format!("{insert}&decompress=1"), &[], &blocks).await;
    assert_eq!(unpacked.0, 200);
    let sums = server.send("POST", "/", &[], b"SELECT count(), sum(x) FROM n").await.1;
    assert_eq!(sums, format!("600000\t{}\n", 300_000_u64 * 299_999));
    let broken = [&blocks[..40], b"x", &blocks[41..]].concat();
    let broken = server.send("POST", &format!("{insert}&decompress=1"), &[], &broken).await;
    assert!(broken.1.contains("Checksum"), "{}", broken.1);
}
