//! A WebSocket server on a free port next to an HTTP server, and clients of both kinds.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::local::LocalLiveBus;
use bklit_pipeline::server::tls::ServerTls;
use bklit_pipeline::websocket::WebSocketSettings;
use bklit_pipeline::websocket::{WebSocketContext, serve};
use bklit_tui::config::Settings;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_util::sync::CancellationToken;

use crate::http::server::Server as Http;
use crate::support::DEADLINE;

/// A browser of the project `p`.
pub const BROWSER: &str = "/?projectId=p&sessionId=s-1";
pub const DASHBOARD: &str = "/dashboard?projectId=p";

pub struct Server {
    http: Http,
    pub live: Arc<LocalLiveBus>,
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub task: JoinHandle<std::io::Result<()>>,
}

impl Deref for Server {
    type Target = Http;

    fn deref(&self) -> &Http {
        &self.http
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut WebSocketSettings)) -> Self {
        Self::start_over(None, change).await
    }

    pub async fn start_over(
        tls: Option<Arc<ServerTls>>,
        change: impl FnOnce(&mut WebSocketSettings),
    ) -> Self {
        Self::next_to(Http::start().await, tls, change).await
    }

    /// Next to this HTTP server.
    pub async fn over(http: Http, change: impl FnOnce(&mut WebSocketSettings)) -> Self {
        Self::next_to(http, None, change).await
    }

    async fn next_to(
        http: Http,
        tls: Option<Arc<ServerTls>>,
        change: impl FnOnce(&mut WebSocketSettings),
    ) -> Self {
        let live = Arc::new(LocalLiveBus::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut settings = Settings::default().websocket;
        settings.session_grace = Duration::ZERO;
        change(&mut settings);
        let context =
            WebSocketContext::new(Arc::clone(&http.intake), live.clone(), settings, http.limits);
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, Arc::new(context.over_tls(tls)), stop.clone()));
        Self { http, live, address, stop, task }
    }

    /// A socket at `path`.
    pub async fn connect(&self, path: &str) -> Socket {
        Socket::open(self.address, path, &[]).await
    }

    pub async fn connect_from(&self, path: &str, origin: &str) -> Socket {
        Socket::open(self.address, path, &[("origin", origin)]).await
    }

    /// A connected browser that has sent its API key.
    pub async fn browser(&self) -> Socket {
        let mut socket = self.connect(BROWSER).await;
        socket.greeted().await;
        socket.say(json!({ "type": "auth", "apiKey": self.ingest })).await;
        assert_eq!(socket.hear().await, json!({ "type": "auth_success" }));
        socket
    }

    /// A connected dashboard.
    pub async fn dashboard(&self) -> Socket {
        let mut socket = self.connect(DASHBOARD).await;
        socket.greeted().await;
        socket
    }

    /// Stops it and waits until it has.
    pub async fn stop(self) {
        self.stop.cancel();
        in_time(self.task).await.unwrap().unwrap();
        self.http.stop().await;
    }
}

pub async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("not in time")
}

pub struct Socket(pub WebSocketStream<TcpStream>);

impl Socket {
    pub async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = in_time(TcpStream::connect(address)).await.unwrap();
        let (stream, _) = in_time(tokio_tungstenite::client_async(request, stream)).await.unwrap();
        Self(stream)
    }

    pub async fn send(&mut self, message: Message) {
        in_time(self.0.send(message)).await.unwrap();
    }

    pub async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    /// The next message that is not a ping.
    pub async fn next(&mut self) -> Message {
        loop {
            match in_time(self.0.next()).await.expect("no end").expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    pub async fn hear(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The first message.
    pub async fn greeted(&mut self) -> Value {
        let greeting = self.hear().await;
        assert_eq!(greeting["type"], "connected", "{greeting}");
        greeting
    }

    /// The error in the response.
    pub async fn error(&mut self) -> Value {
        let answer = self.hear().await;
        assert_eq!(answer["type"], "error", "{answer}");
        answer
    }

    /// Code and reason with which the server closes; nothing may come before.
    pub async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("expected the end, got {other:?}"),
        }
    }

    /// Closes as a browser does.
    pub async fn leave(mut self) {
        in_time(self.0.close(None)).await.unwrap();
        while let Some(Ok(_)) = in_time(self.0.next()).await {}
    }

    /// Asserts that nothing arrives within the time in which it would have.
    pub async fn silent(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(150), self.0.next()).await;
        assert!(next.is_err(), "{next:?}");
    }
}

pub fn view(path: &str) -> Value {
    json!({ "type": "pageview", "data": { "url": format!("https://a.example{path}") } })
}
