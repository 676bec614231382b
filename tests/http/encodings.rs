//! Compressed bodies.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::client::{Answer, post_chunked};
use super::server::Server;
use crate::support::gzip;

const VIEW: &str = r#"{"url":"https://a.example/","projectId":"p"}"#;
/// [`VIEW`], compressed with brotli.
const VIEW_BROTLI: &[u8] = b"\x8b\x15\x80\x7b\x22\x75\x72\x6c\x22\x3a\x22\x68\x74\x74\x70\x73\x3a\x2f\x2f\x61\x2e\x65\x78\x61\x6d\x70\x6c\x65\x2f\x22\x2c\x22\x70\x72\x6f\x6a\x65\x63\x74\x49\x64\x22\x3a\x22\x70\x22\x7d\x03";

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    compress_to_vec(data, CompressionLevel::Fastest)
}

async fn send(server: &Server, path: &str, encoding: &str, body: &[u8]) -> Answer {
    server.post_with(path, &[("Content-Encoding", encoding)], body).await
}

#[tokio::test]
async fn every_encoding_is_accepted_on_every_route() {
    let server = Server::start().await;
    let view = VIEW.as_bytes();
    for (encoding, body) in [
        ("gzip", gzip(view)),
        ("GZIP", gzip(view)),
        ("br", VIEW_BROTLI.to_vec()),
        ("zstd", zstd(view)),
        ("deflate", zlib(view)),
        ("identity", view.to_vec()),
        ("zstd, gzip", gzip(&zstd(view))),
        ("zstd", [zstd(&view[..9]), zstd(&view[9..])].concat()),
        ("gzip", [gzip(&view[..9]), gzip(&view[9..])].concat()),
    ] {
        let answer = send(&server, "/track", encoding, &body).await;
        assert_eq!(answer.status, 200, "{encoding} {answer:?}");
        let bearer = format!("Bearer {}", server.ingest);
        let headers = [("Authorization", bearer.as_str()), ("Content-Encoding", encoding)];
        let answer = server.send(post_chunked("/track", &headers, &body, 7)).await;
        assert_eq!(answer.status, 200, "{encoding} in chunks {answer:?}");
    }
    for (path, body) in [
        ("/api/track", VIEW.to_owned()),
        ("/track-event", r#"{"trackingId":"t","eventType":"e","projectId":"p"}"#.to_owned()),
        ("/session-end", r#"{"sessionId":"s","projectId":"p"}"#.to_owned()),
        ("/batch", format!(r#"[{{"type":"pageview","data":{VIEW}}}]"#)),
    ] {
        let answer = send(&server, path, "gzip", &gzip(body.as_bytes())).await;
        assert_eq!(answer.status, 200, "{path} {answer:?}");
    }
    assert_eq!(server.queued().len(), 22);
}

#[tokio::test]
async fn the_bound_counts_decompressed_bytes() {
    const MOST: usize = 2048;
    let server = Server::start_with("127.0.0.1:0", |http| {
        http.max_body_bytes = MOST;
        http.max_batch_bytes = 2 * MOST;
    })
    .await;
    for (size, status) in [(MOST, 200), (MOST + 1, 413), (1 << 20, 413)] {
        let padded = format!("{VIEW}{}", " ".repeat(size - VIEW.len()));
        for (encoding, body) in [
            ("gzip", gzip(padded.as_bytes())),
            ("deflate", zlib(padded.as_bytes())),
            ("zstd", zstd(padded.as_bytes())),
        ] {
            assert!(body.len() < MOST, "the bound is exceeded only when decompressed");
            let answer = send(&server, "/track", encoding, &body).await;
            assert_eq!(answer.status, status, "{encoding} {size} {answer:?}");
            if status == 413 {
                assert!(answer.error().contains("2048 bytes"), "{}", answer.error());
            }
        }
    }
    let bomb = gzip(&vec![b' '; 3 << 20]);
    assert!(bomb.len() < 2 * MOST, "the bound is exceeded only when decompressed");
    let answer = send(&server, "/batch", "gzip", &bomb).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.error().contains("4096 bytes"), "{}", answer.error());
    server.works().await;
}

#[tokio::test]
async fn damaged_and_unknown_encodings_are_refused() {
    let server = Server::start().await;
    let body = gzip(VIEW.as_bytes());
    for (encoding, body) in [
        ("gzip", &body[..body.len() / 2]),
        ("gzip", VIEW.as_bytes()),
        ("br", &body),
        ("zstd", &body),
        ("deflate", &body),
        ("gzip, gzip", &body),
    ] {
        let answer = send(&server, "/track", encoding, body).await;
        assert_eq!(answer.status, 400, "{encoding} {answer:?}");
        assert!(answer.error().starts_with("body: not complete, valid "), "{}", answer.error());
        assert_eq!(answer.header("connection"), None, "the connection goes on");
    }
    for encoding in ["compress", "lzma", "gzip, foo", "gzip, gzip, gzip", "snappy"] {
        for path in ["/track", "/session-end", "/batch"] {
            let answer = send(&server, path, encoding, &body).await;
            assert_eq!(answer.status, 415, "{encoding} {answer:?}");
            assert!(answer.error().contains("gzip, br, zstd, deflate"), "{}", answer.error());
            assert_eq!(answer.header("accept-encoding"), Some("gzip, br, zstd, deflate"));
        }
    }
    assert!(server.queued().is_empty());
    server.works().await;
}
