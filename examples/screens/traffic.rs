//! The pipeline of the tour: the program, its data dir, its visitors, and events that the store
//! rejects.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use color_eyre::eyre::{Context as _, Result, ensure};
use portable_pty::CommandBuilder;
use serde_json::json;

/// The simulated sites, each its own project: name, requests per second, seed.
const SITES: [(&str, &str, &str); 3] =
    [("shop", "9", "21"), ("blog", "4", "22"), ("docs", "2", "23")];
/// Percentage of invalid requests.
const BAD: &str = "4";
const TIMEOUT: Duration = Duration::from_secs(10);
/// Titles of simulated pages are shorter.
const RULE: &str = "CREATE TRIGGER short_titles BEFORE INSERT ON page_view_event \
     WHEN length(NEW.title) > 80 BEGIN \
     SELECT RAISE(ABORT, 'short_titles: title has more than 80 characters'); END";

/// Page views that the store then rejects: project, URL, title.
pub const LONG_TITLES: [(&str, &str, &str); 6] = [
    (
        "shop",
        "https://shop.example/checkout",
        "Checkout: espresso machine, coffee grinder, 2 cups, 1 kg of beans, 100 paper filters",
    ),
    (
        "shop",
        "https://shop.example/cart",
        "Cart: moka pot, milk jug, thermometer, 6 glasses, 500 g of beans, cleaning tablets, brush",
    ),
    (
        "blog",
        "https://blog.example/queue",
        "A queue before the database, or how we stopped losing events on Sunday mornings at four",
    ),
    (
        "shop",
        "https://shop.example/checkout",
        "Checkout: hand grinder, dripper, 200 paper filters, scales, kettle, 250 g of light roast",
    ),
    (
        "docs",
        "https://docs.example/self-hosting",
        "Self-hosting: one process, several processes, Redis, ClickHouse, Postgres, and backups",
    ),
    (
        "shop",
        "https://shop.example/checkout",
        "Checkout: French press, coarse grinder, storage tin, 2 kg of beans, tasting set, gift box",
    ),
];

/// The project of a customer who sends too much, how many requests per second, and the seed.
const FLOOD: (&str, &str, &str) = ("shop", "300", "24");

/// The program with its own home directory; its children end with it.
pub struct Pipeline {
    program: PathBuf,
    home: tempfile::TempDir,
    /// Arguments of all commands.
    settings: Vec<String>,
    sites: Vec<Child>,
    tokens: Vec<String>,
}

impl Pipeline {
    pub fn new(program: &Path) -> Result<Self> {
        let program = program
            .canonicalize()
            .wrap_err_with(|| format!("cannot find the program {}", program.display()))?;
        let home = tempfile::tempdir()?;
        let settings = ["--data-dir", "data"].map(str::to_owned).to_vec();
        Ok(Self { program, home, settings, sites: Vec::new(), tokens: Vec::new() })
    }

    /// Sets something, as on the command line.
    pub fn set(&mut self, flag: &str, value: &str) {
        self.settings.extend([flag.to_owned(), value.to_owned()]);
    }

    /// Uses a config file with this content.
    pub fn configure(&mut self, config: &str) -> Result<()> {
        std::fs::write(self.home.path().join("config.toml"), config)?;
        self.set("--config", "config.toml");
        Ok(())
    }

    /// The program with its console, in a terminal with true colour.
    pub fn console(&self, listen: &str) -> CommandBuilder {
        let mut command = CommandBuilder::new(&self.program);
        command.args(&self.settings);
        command.args(["--listen", listen, "--websocket-listen", "127.0.0.1:0"]);
        command.cwd(self.home.path());
        command.env_clear();
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        command
    }

    /// An environment without this machine's settings.
    fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("HOME", self.home.path().display().to_string()),
            ("LANG", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
            ("TERM", "xterm-256color".into()),
            ("COLORTERM", "truecolor".into()),
        ]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(&self.settings).current_dir(self.home.path());
        command.env_clear().envs(self.environment());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join("data").join(name)
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(std::fs::read_to_string(self.file("listen.addr"))?.trim().parse()?)
    }

    /// Starts continuous traffic on all sites.
    pub fn visitors(&mut self) -> Result<()> {
        let url = format!("http://{}", self.address()?);
        // With Redis, it may take a moment.
        let deadline = Instant::now() + TIMEOUT;
        let own = loop {
            match std::fs::read_to_string(self.file("token")) {
                Ok(own) => break own,
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        self.tokens.push(own.trim().to_owned());
        for (project, rate, seed) in SITES {
            let create = ["token", "create", "--project", project, "--quiet"];
            let created = self.command(&create).stdout(Stdio::piped()).output()?;
            let token = String::from_utf8(created.stdout)?.trim().to_owned();
            ensure!(token.starts_with("bk_live_"), "no token for {project}: {}", created.status);
            self.tokens.push(token);
            self.site((project, rate, seed), &url)?;
        }
        Ok(())
    }

    /// Starts many requests for one project.
    pub fn flood(&mut self) -> Result<()> {
        let url = format!("http://{}", self.address()?);
        self.site(FLOOD, &url)
    }

    fn site(&mut self, (project, rate, seed): (&str, &str, &str), url: &str) -> Result<()> {
        let simulate = ["simulate", "--project", project, "--rate", rate, "--seed", seed];
        let mut command = self.command(&simulate);
        command.args(["--bad", BAD, "--url", url]).env("BKLIT_TOKEN", self.token(project));
        self.sites.push(command.spawn()?);
        Ok(())
    }

    /// The token of a project.
    fn token(&self, project: &str) -> &str {
        let site = SITES.iter().position(|(name, ..)| *name == project);
        // The first one is the token of the data dir.
        site.and_then(|nth| self.tokens.get(nth + 1)).map_or("", String::as_str)
    }

    /// Keeps the store locked until the connection is dropped.
    pub fn lock_store(&self) -> Result<rusqlite::Connection> {
        let store = rusqlite::Connection::open(self.file("store.db"))?;
        store.busy_timeout(TIMEOUT)?;
        store.execute_batch("BEGIN IMMEDIATE")?;
        Ok(store)
    }

    /// Makes the store reject page views with long titles, like a constraint or a column that is too
    /// short.
    pub fn break_store(&self) -> Result<()> {
        self.change_store(RULE)
    }

    /// Makes the store accept them again.
    pub fn mend_store(&self) -> Result<()> {
        self.change_store("DROP TRIGGER short_titles")
    }

    fn change_store(&self, sql: &str) -> Result<()> {
        let store = rusqlite::Connection::open(self.file("store.db"))?;
        store.busy_timeout(TIMEOUT)?;
        Ok(store.execute_batch(sql)?)
    }

    /// Sends a page view with this title.
    pub fn view(&self, project: &str, url: &str, title: &str) -> Result<()> {
        let answer = self.send((project, project), "s-4711", url, title)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the response for {url} was {answer}");
        Ok(())
    }

    /// Sends a page view with the token of one project to another one, and returns the response.
    pub fn send(
        &self,
        (owner, project): (&str, &str),
        session: &str,
        url: &str,
        title: &str,
    ) -> Result<String> {
        let token = self.token(owner);
        let body = json!({ "projectId": project, "url": url, "title": title,
            "sessionId": session, "language": "en" });
        let body = body.to_string();
        let address = self.address()?;
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(
            stream,
            "POST /track HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Text that no screen may show: secrets, and names of this machine.
    pub fn private(&self) -> Vec<String> {
        let mut private = self.tokens.clone();
        private.push(self.home.path().display().to_string());
        private.push(env!("CARGO_MANIFEST_DIR").to_owned());
        // As in the owner of a batch; a short name alone may occur in any word.
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        private.extend((!host.is_empty()).then(|| format!(" {host}:")));
        private
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        for child in &mut self.sites {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
