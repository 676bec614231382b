//! Pages in a real browser, on another origin than the server, as on a customer's site.

mod cors;
mod playground;
mod sdk;
mod storage;
mod tracker;

use serde_json::Value;

use crate::support::browser::Tab;
use crate::support::site::Site;
use crate::support::{DEADLINE, Daemon, eventually};

/// A server, a site whose pages send to it, and a visitor's tab.
pub struct Shop {
    pub daemon: Daemon,
    pub site: Site,
    pub tab: Tab,
}

impl Shop {
    /// With `attributes` of the tracker's script element.
    #[track_caller]
    pub fn with(attributes: &str) -> Self {
        Self::on(Daemon::start(), attributes)
    }

    #[track_caller]
    pub fn on(daemon: Daemon, attributes: &str) -> Self {
        let token = daemon.token();
        let attributes = format!("data-project=default data-token={token} {attributes}");
        let page = page(&daemon, &attributes);
        let pages = vec![("/", page.clone()), ("/cart", page)];
        let site = Site::serve(strict_policy(&daemon), pages);
        Self { daemon, site, tab: Tab::open() }
    }

    /// The URL of a page.
    pub fn url(&self, path: &str) -> String {
        self.site.url("shop", path)
    }

    /// Opens a page.
    #[track_caller]
    pub fn visit(&mut self, path: &str) {
        let url = self.url(path);
        self.tab.goto(&url);
    }

    /// What a query returns for the column `x`, in order.
    #[track_caller]
    pub fn list(&self, sql: &str) -> Vec<Value> {
        let rows = self.daemon.scalar(&format!("SELECT json_group_array(x) FROM ({sql})"));
        serde_json::from_str(rows.as_str().unwrap()).unwrap()
    }

    /// Waits until exactly these pages were viewed, in this order, and these events happened.
    #[track_caller]
    pub fn stores(&self, paths: &[&str], events: &[&str]) {
        let urls: Vec<_> = paths.iter().map(|path| Value::from(self.url(path))).collect();
        let (mut viewed, mut happened) = (Vec::new(), Vec::new());
        let start = std::time::Instant::now();
        while viewed != urls || happened != events {
            assert!(start.elapsed() < DEADLINE, "{viewed:?} {happened:?}");
            viewed = self.list("SELECT url AS x FROM page_view_event ORDER BY id");
            happened = self.list("SELECT event_definition_id AS x FROM tracked_event ORDER BY id");
        }
    }

    /// Waits until the session has ended.
    #[track_caller]
    pub fn ends(&self) {
        let sql = "SELECT count() FROM tracked_session WHERE ended_at IS NOT NULL";
        eventually(DEADLINE, "the session ends", || self.daemon.scalar(sql) == 1);
    }

    /// The debug log.
    pub fn log(&self) -> String {
        self.daemon.get("/api/debug-stream?history=10000&follow=false").text()
    }

    /// How many ends of sessions have arrived.
    pub fn received_ends(&self) -> usize {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("\"Event received\""));
        lines.filter(|line| line.contains("\"session_end\"")).count()
    }

    /// Whether the page has sent anything since it was opened.
    pub fn has_sent(&mut self) -> bool {
        let requests = self.tab.events("Network.requestWillBeSent");
        requests.iter().any(|request| request["request"]["method"] == "POST")
    }
}

/// A page that embeds the tracker.
fn page(daemon: &Daemon, attributes: &str) -> String {
    format!(
        r#"<!doctype html><html lang="nb"><head><title>Shop</title>
<meta name="description" content="All things">
<meta name="robots" content="index">
<meta property="og:title" content="The shop">
<meta property="og:image" content="https://shop.example/image.png">
<link rel="shortcut icon" href="https://shop.example/icon.png">
<link rel="canonical" href="https://shop.example/">
<script defer src="{}" {attributes}></script></head><body>
<button id="buy" data-bklit-event="buy" data-bklit-plan="pro" data-bklit-list-price="7"><b>Buy</b></button>
<a id="cart" href="/cart">Cart</a></body></html>"#,
        daemon.url("/tracker.js")
    )
}

/// A policy that allows only the tracker.
fn strict_policy(daemon: &Daemon) -> String {
    let server = daemon.url("");
    format!(
        "Content-Security-Policy: default-src 'none'; script-src {server}; connect-src {server}; \
         require-trusted-types-for 'script'\r\n"
    )
}
