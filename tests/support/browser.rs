//! A real Chromium, driven by its DevTools protocol. All tests share one process; each has a profile
//! of its own in it.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use super::servers::provided;
use super::{DEADLINE, eventually};

/// Nothing is requested from outside this machine.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-component-update",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE *.localhost, EXCLUDE 127.0.0.1",
    "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/148.0.0.0 Safari/537.36",
    "--accept-lang=nb",
    "--remote-debugging-pipe",
    "--remote-debugging-port=0",
];

/// The browser exits when its pipe is closed, and so with this process; then its files are removed.
const SCRIPT: &str = r#"exec 3<&0 4>/dev/null
profile=$1
shift
"$@" --user-data-dir="$profile" about:blank
rm -rf "$profile""#;

struct Browser {
    port: u16,
    path: String,
    _process: Child,
}

impl Browser {
    fn shared() -> &'static Self {
        static BROWSER: OnceLock<Browser> = OnceLock::new();
        BROWSER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let program = provided("BKLIT_TEST_CHROMIUM");
        let profile = tempfile::tempdir().expect("a directory for the browser").keep();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&profile).arg(program).args(FLAGS);
        let pipe = Stdio::piped();
        let process = command.stdin(pipe).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut process = process.expect("start the browser");
        let mut address = None;
        eventually(DEADLINE, "the browser's start", || {
            let status = process.try_wait().expect("wait");
            assert!(status.is_none(), "the browser ended: {status:?}");
            address = read_address(&profile);
            address.is_some()
        });
        let (port, path) = address.expect("an address");
        Self { port, path, _process: process }
    }
}

fn read_address(profile: &Path) -> Option<(u16, String)> {
    let text = std::fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
    let (port, path) = text.split_once('\n')?;
    (!path.is_empty()).then_some((port.parse().ok()?, path.to_owned()))
}

/// A tab with a profile of its own, which ends with it.
pub struct Tab {
    socket: WebSocket<TcpStream>,
    context: String,
    target: String,
    session: String,
    last_id: u64,
    events: VecDeque<Value>,
}

impl Tab {
    /// An empty tab.
    #[track_caller]
    pub fn open() -> Self {
        let browser = Browser::shared();
        let stream = TcpStream::connect(("127.0.0.1", browser.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let url = format!("ws://127.0.0.1:{}{}", browser.port, browser.path);
        let (socket, _) = client(url, stream).unwrap();
        let (context, target, session) = Default::default();
        let mut tab =
            Self { socket, context, target, session, last_id: 0, events: VecDeque::new() };
        let context = tab.call("Target.createBrowserContext", json!({ "disposeOnDetach": true }));
        tab.context = text(&context["browserContextId"]);
        tab.attach();
        tab
    }

    fn attach(&mut self) {
        self.session.clear();
        let place = json!({ "url": "about:blank", "browserContextId": self.context });
        self.target = text(&self.call("Target.createTarget", place)["targetId"]);
        let target = json!({ "targetId": self.target, "flatten": true });
        self.session = text(&self.call("Target.attachToTarget", target)["sessionId"]);
        for domain in ["Page", "Runtime", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Closes the tab, as a visitor does, and opens another one with the same profile.
    #[track_caller]
    pub fn reopen(&mut self) {
        self.close();
        self.attach();
    }

    /// Closes the tab, as a visitor does.
    #[track_caller]
    pub fn close(&mut self) {
        self.session.clear();
        let target = self.target.clone();
        self.call("Target.closeTarget", json!({ "targetId": target }));
    }

    /// Carries out a command of the protocol.
    #[allow(clippy::needless_pass_by_value)]
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, &params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let mut message = self.read(method);
            if message["id"] == self.last_id {
                return match message.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(message["result"].take()),
                };
            }
            if message.get("method").is_some() {
                self.events.push_back(message);
            }
        }
    }

    #[track_caller]
    fn read(&mut self, wait_for: &str) -> Value {
        loop {
            let message = self.socket.read().unwrap_or_else(|e| panic!("{wait_for}: {e}"));
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Waits for an event of the protocol; returns its parameters.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            let mut known = self.events.iter();
            let is_it =
                |event: &Value| event["method"] == name && event["sessionId"] == self.session;
            if let Some(mut found) = known.position(is_it).and_then(|at| self.events.remove(at)) {
                return found["params"].take();
            }
            let message = self.read(name);
            self.events.push_back(message);
        }
    }

    /// The parameters of all events of this name up to now that nothing has waited for.
    pub fn events(&mut self, name: &str) -> Vec<Value> {
        self.eval("0");
        let events = self.events.iter().filter(|event| event["method"] == name);
        events.map(|event| event["params"].clone()).collect()
    }

    /// Opens a page and waits until it is loaded.
    #[track_caller]
    pub fn goto(&mut self, url: &str) {
        self.events.clear();
        let result = self.call("Page.navigate", json!({ "url": url }));
        assert!(result.get("errorText").is_none(), "{url}: {result}");
        self.event("Page.loadEventFired");
    }

    /// The value of an expression in the page; waits for promises.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        self.try_eval(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_eval(&mut self, expression: &str) -> Result<Value, Value> {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut result = self.try_call("Runtime.evaluate", &params)?;
        match result.get("exceptionDetails") {
            Some(exception) => Err(exception.clone()),
            None => Ok(result["result"]["value"].take()),
        }
    }

    /// Waits until an expression is true in the page, which may be replaced by another meanwhile.
    #[track_caller]
    pub fn until(&mut self, expression: &str) {
        eventually(DEADLINE, expression, || self.try_eval(expression) == Ok(true.into()));
    }

    /// Clicks on the element that a selector finds.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        self.eval(&format!("document.querySelector({selector:?}).click()"));
    }

    /// Does something that leads to another page, and waits until that is loaded.
    #[track_caller]
    pub fn leave_by(&mut self, expression: &str) {
        self.events.clear();
        self.eval(expression);
        self.event("Page.loadEventFired");
    }

    /// Runs a script in every page before its own.
    pub fn before_each_page(&mut self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// Disconnects the tab from the network, or connects it again.
    pub fn set_offline(&mut self, is_offline: bool) {
        let conditions = json!({ "offline": is_offline, "latency": 0, "downloadThroughput": -1,
            "uploadThroughput": -1 });
        self.call("Network.emulateNetworkConditions", conditions);
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}
