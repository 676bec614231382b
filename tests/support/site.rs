//! A web site for browsers: a few pages on a free port.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A site; it ends with the test program.
pub struct Site {
    port: u16,
}

impl Site {
    /// Serves pages by their paths, without queries; other paths are answered 404. `headers` are
    /// added to each response, every line ended by CRLF.
    pub fn serve(headers: String, pages: Vec<(&'static str, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = Arc::new((headers, pages));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let served = Arc::clone(&served);
                std::thread::spawn(move || answer(&client, &served.0, &served.1));
            }
        });
        Self { port }
    }

    /// The URL of a path on one of the site's hosts: each name under `localhost` is one.
    pub fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}.localhost:{}{path}", self.port)
    }
}

fn answer(mut client: &TcpStream, headers: &str, pages: &[(&str, String)]) -> Option<()> {
    let mut lines = BufReader::new(client).lines().map_while(Result::ok);
    let first = lines.next()?;
    // The rest of the head.
    lines.find(String::is_empty)?;
    let path = first.split(' ').nth(1)?.split('?').next()?.to_owned();
    let page = pages.iter().find(|(known, _)| *known == path);
    let (status, body) = page.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", body));
    let kind = if path.ends_with(".js") { "text/javascript" } else { "text/html" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n{headers}\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).ok()?;
    client.write_all(body.as_bytes()).ok()
}
