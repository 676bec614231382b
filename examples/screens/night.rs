//! A bad night: incidents one after the other, as `docs/bad-night.md` describes them.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use color_eyre::eyre::{Context as _, ContextCompat as _, Result};
use vt100::Screen;

use crate::Album;
use crate::colours::DARK;
use crate::terminal::Terminal;
use crate::tour::{ANY_ADDRESS, has, is_live};
use crate::traffic::Pipeline;

const LARGE: (u16, u16) = (118, 30);
const LOW: (u16, u16) = (118, 22);
const SMALL: (u16, u16) = (80, 24);

/// The limit of a project, in events per second.
const LIMITS: &str = "[limits]\nproject_per_second = 40\n";
/// Where the kernel has this process's name.
const OWN_NAME: &str = "/proc/self/comm";
/// The process that has locked the store.
const HOLDER: &str = "backup";
/// The pages of a new version that sends another project's id, that id, and how many events.
const PATHS: [&str; 3] = ["checkout", "cart", "checkout/thanks"];
const WRONG_PROJECT: &str = "shop-staging";
const BAD_EVENTS: usize = 240;
/// The Valkey or Redis server to use; `scripts/servers.sh` provides one.
const SERVER: &str = "BKLIT_TEST_VALKEY";

struct Night<'a> {
    // In this order: the program ends before its data dir is removed.
    console: Terminal,
    pipeline: Pipeline,
    album: &'a mut Album,
}

/// Visits all incidents.
pub fn go(program: &Path, album: &mut Album) -> Result<()> {
    let mut pipeline = Pipeline::new(program)?;
    pipeline.configure(LIMITS)?;
    let mut night = Night::start(pipeline, album)?;
    night.locked()?;
    night.deploy()?;
    night.flood()?;
    night.quit()?;
    redis(program, album)
}

/// Redis stops.
fn redis(program: &Path, album: &mut Album) -> Result<()> {
    let mut server = Server::start()?;
    let mut pipeline = Pipeline::new(program)?;
    pipeline.set("--redis-url", &server.url);
    let mut night = Night::start(pipeline, album)?;
    night.console.resize(SMALL)?;
    night.console.wait("a small screen", is_live)?;
    server.stop();
    let screen = night.console.wait("the alert and the spool", |screen| {
        has(screen, &["ALERT", "spooled", "Connection refused", "THIS PROCESS ONLY"])
    })?;
    night.keep("redis", &screen)?;
    night.quit()
}

impl<'a> Night<'a> {
    fn start(mut pipeline: Pipeline, album: &'a mut Album) -> Result<Self> {
        let console = Terminal::spawn(pipeline.console(ANY_ADDRESS), LARGE)?;
        console.wait_for("Waiting for the first event.")?;
        pipeline.visitors()?;
        console.wait_for("Batch stored")?;
        Ok(Self { console, pipeline, album })
    }

    fn keep(&mut self, name: &str, screen: &Screen) -> Result<()> {
        self.album.add(name, screen, &DARK, &self.pipeline.private())
    }

    fn press(
        &mut self,
        keys: &str,
        what: &str,
        wanted: impl Fn(&Screen) -> bool,
    ) -> Result<Screen> {
        self.console.press(keys)?;
        self.console.wait(what, wanted)
    }

    /// Another process has the store locked.
    fn locked(&mut self) -> Result<()> {
        let _ = std::fs::write(OWN_NAME, HOLDER);
        let lock = self.pipeline.lock_store()?;
        let screen = self.console.wait("the alert and who is to blame", |screen| {
            has(screen, &["ALERT", "store.db is locked by process", "stalled", "nothing stored"])
        })?;
        self.keep("locked", &screen)?;
        drop(lock);
        self.console.wait("its end", |screen| has(screen, &["✓ store", " ended "]))?;
        self.press("a", "no alert", |screen| !has(screen, &["ALERT"])).map(drop)
    }

    /// A new version of a site sends the id of another project.
    fn deploy(&mut self) -> Result<()> {
        for nth in 0..BAD_EVENTS {
            let (session, path) = (format!("s-{}", 4711 + nth % 7), PATHS[nth % PATHS.len()]);
            let url = format!("https://shop.example/{path}");
            self.pipeline.send(("shop", WRONG_PROJECT), &session, &url, "Checkout")?;
        }
        let screen = self.console.wait("the alert", |screen| {
            is_live(screen) && has(screen, &["% of events refused", "% refused"])
        })?;
        self.keep("deploy", &screen)?;
        self.console.resize(LOW)?;
        self.press("P", "the reason", |screen| has(screen, &["▌✗", "the token is not for"]))?;
        // The first group is the error of the incident before.
        let screen = self.press("j", "the refused events", |screen| {
            has(screen, &["▌▲", "project: shop-staging"])
        })?;
        self.keep("reasons", &screen)?;
        let screen = self.press("\r", "their lines", |screen| {
            has(screen, &["log · the token is not for", "url=https://shop.example/cart"])
        })?;
        self.keep("refused", &screen)?;
        self.press("\x1b", "the problems", |screen| has(screen, &["─ problems ·"]))?;
        self.press("\x1b", "the log", is_live)?;
        self.press("a", "no alert", |screen| !has(screen, &["ALERT"])).map(drop)
    }

    /// A customer sends far too much.
    fn flood(&mut self) -> Result<()> {
        self.pipeline.flood()?;
        self.console.resize(LARGE)?;
        self.press("H", "the history", |screen| has(screen, &["─ pipeline "]))?;
        self.press("\t", "failures", |screen| has(screen, &["failures"]))?;
        let screen = self.press("\t", "the projects", |screen| {
            let text = screen.contents();
            let row = text.lines().find(|line| line.contains("▌shop"));
            row.is_some_and(|row| refused_of(row) > 1_000)
        })?;
        self.keep("projects", &screen)?;
        let screen = self.press("\x1b", "the throttled events", |screen| {
            is_live(screen) && has(screen, &["throttled"])
        })?;
        self.keep("flood", &screen)
    }

    fn quit(&mut self) -> Result<()> {
        self.console.press("\x03")?;
        self.console.wait_for_end()
    }
}

/// The number of refused events in a project's row.
fn refused_of(row: &str) -> u64 {
    let number = |row: &str| {
        let before = row.split(" refused").next()?.split_whitespace().next_back()?;
        before.replace(',', "").parse().ok()
    };
    number(row).unwrap_or(0)
}

/// A server that ends with this value.
struct Server {
    child: Child,
    url: String,
    /// Its directory.
    _dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Result<Self> {
        let program = std::env::var_os(SERVER)
            .wrap_err_with(|| format!("{SERVER} is not set; scripts/screens.sh sets it"))?;
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind(ANY_ADDRESS)?.local_addr()?.port().to_string();
        let child = Command::new(&program)
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .wrap_err_with(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, url: format!("redis://127.0.0.1:{port}"), _dir: dir })
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
