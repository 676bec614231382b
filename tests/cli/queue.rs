//! `queue`: inspecting and repairing the embedded queue, with and without a running daemon.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::redis::queue::DEFAULT_PREFIX;
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::queue::{Claim, NewItem, Queue, Rejected};
use bklit_wire::event::{PageView, Payload, QueuedEvent};
use bklit_wire::time::UtcMillis;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::pty::Pty;
use crate::support::servers::{Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

const LEASE: Duration = Duration::from_secs(600);
const VIEWS: &str = "SELECT count() FROM page_view_event";

/// The queue of a data dir, opened in this process, with blocking calls.
pub(super) struct Local {
    runtime: tokio::runtime::Runtime,
    queue: Arc<SqliteQueue>,
}

impl Local {
    fn open(data_dir: &Path) -> Self {
        std::fs::create_dir_all(data_dir).unwrap();
        let queue = SqliteQueue::open(&data_dir.join("queue.db"), 1_000_000).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, queue: Arc::new(queue) }
    }

    fn push(&self, project: &str, ids: impl IntoIterator<Item = String>) {
        let event = |id: String| QueuedEvent {
            payload: Payload::Pageview(Box::new(PageView {
                url: format!("https://example.com/{id}"),
                ..PageView::default()
            })),
            id,
            queued_at: UtcMillis::now(),
            project_id: project.to_owned(),
            push_ticket: None,
        };
        // In order: on one thread, tasks start in the order they were spawned.
        self.runtime.block_on(async {
            let mut pushes = tokio::task::JoinSet::new();
            for event in ids.into_iter().map(event) {
                let queue = Arc::clone(&self.queue);
                let item = NewItem { event: event.into(), client_id: false };
                pushes.spawn(async move { queue.push(item).await });
            }
            pushes.join_all().await.into_iter().for_each(|pushed| assert!(pushed.is_ok()));
        });
    }

    fn claim(&self, most: usize) -> Claim {
        self.runtime.block_on(self.queue.claim(most, LEASE)).unwrap().unwrap()
    }

    /// Rejects all waiting events.
    fn reject(&self, reason: &str) {
        let claim = self.claim(1_000_000);
        let reject = |seq| Rejected { seq, reason: reason.to_owned() };
        let rejected: Vec<_> = claim.items.iter().map(|item| reject(item.seq)).collect();
        self.runtime.block_on(self.queue.acknowledge(&claim.id, &rejected)).unwrap();
    }
}

fn names(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{prefix}{n}"))
}

/// Three failed events of `shop` and two of `blog`, with different reasons.
pub(crate) fn with_failed(data_dir: &Path) {
    let local = Local::open(data_dir);
    local.push("shop", names("s", 3));
    local.reject("Column `x` is missing\u{1b}[31m");
    local.push("blog", names("b", 2));
    local.reject("too large");
}

/// This many failed events, `m0` the oldest.
pub(crate) fn with_many_failed(data_dir: &Path, count: usize) {
    let local = Local::open(data_dir);
    local.push("shop", names("m", count));
    local.reject("too large: 17 bytes");
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn event_ids(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["eventId"].as_str().unwrap()).collect()
}

pub(super) fn status(cli: &Cli) -> Value {
    serde_json::from_str(&cli.run(&["queue", "status", "--json"]).ok()).unwrap()
}

#[test]
fn failed_events_are_listed_by_project_and_reason() {
    let cli = Cli::new();
    let missing = cli.run(&["queue", "status"]).failed();
    assert!(missing.contains("no data in"), "{missing}");
    with_failed(&cli.data_dir());
    let list = |arguments: &[&str]| {
        json_lines(&cli.run(&[&["queue", "list", "--json"], arguments].concat()).ok())
    };
    assert_eq!(event_ids(&list(&[])), ["b1", "b0", "s2", "s1", "s0"]);
    assert_eq!(event_ids(&list(&["--project", "shop"])), ["s2", "s1", "s0"]);
    assert_eq!(event_ids(&list(&["--reason", "TOO large"])), ["b1", "b0"]);
    assert_eq!(event_ids(&list(&["--reason", "large", "--project", "shop"])), [""; 0]);
    let two = cli.run(&["queue", "list", "--json", "--limit", "2"]);
    assert!(two.stderr.contains("--limit"), "{two:?}");
    assert_eq!(event_ids(&json_lines(&two.ok())), ["b1", "b0"]);
    let table = cli.run(&["queue", "list"]).ok();
    for part in ["ID", "REASON", "pageview", "shop", "s2", "Column `x` is missing\\u{1b}[31m"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    assert!(!table.contains('\x1b'), "{table}");
    assert_eq!(cli.run(&["queue", "list", "--waiting"]).ok(), "No waiting events.\n");
    assert_eq!(cli.run(&["queue", "list", "--waiting", "--reason", "x"]).code, Some(2));
}

#[test]
fn the_status_shows_batches_and_expired_leases() {
    let cli = Cli::new();
    let local = Local::open(&cli.data_dir());
    local.push("p", names("e", 5));
    let held = local.claim(2);
    let view = status(&cli);
    assert_eq!((&view["waiting"], &view["inFlight"]), (&json!(3), &json!(2)));
    assert!(view["oldestWaiting"].is_string(), "{view}");
    let batch = &view["batches"][0];
    assert_eq!((&batch["id"], &batch["items"]), (&json!(held.id.batch), &json!(2)));
    assert!(batch["owner"].as_str().unwrap().ends_with(&format!(":{}", std::process::id())));
    assert!(batch["leaseLeftMs"].as_i64().unwrap() > 500_000, "{view}");
    let text = cli.run(&["queue", "status"]).ok();
    assert!(text.contains("in 1 batch") && text.contains("left"), "{text}");
    local.runtime.block_on(local.queue.release(&held.id)).unwrap();
    let text = cli.run(&["queue", "status"]).ok();
    assert!(text.contains("EXPIRED"), "{text}");
}

#[test]
fn a_running_daemon_stores_what_is_retried_and_only_once() {
    let mut daemon = Daemon::start();
    daemon.kill9();
    with_failed(&daemon.data_dir());
    let daemon = daemon.restart();
    let cli = Cli::on(&daemon.data_dir());
    let count = || daemon.scalar(VIEWS).as_u64().unwrap();
    let failed = || daemon.get("/health").json()["queue"]["failed"].as_u64().unwrap();
    assert_eq!(failed(), 5);
    let listed = json_lines(&cli.run(&["queue", "list", "--json"]).ok());
    let id = listed[0]["id"].as_str().unwrap();
    assert!(cli.run(&["queue", "retry", id]).ok().contains("1 of 1"));
    eventually(DEADLINE, "the event is stored", || count() == 1);
    let again = cli.run(&["queue", "retry", id, "nothing"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    let shop = cli.run(&["queue", "retry", "--all", "--project", "shop"]).ok();
    assert!(shop.contains(": 3\n"), "{shop}");
    eventually(DEADLINE, "the events of the shop are stored", || count() == 4);
    eventually(DEADLINE, "the daemon has noticed", || failed() == 1);
    // The same events fail again, as after a store that rejected them although it had stored them.
    let mut daemon = daemon;
    daemon.kill9();
    with_failed(&daemon.data_dir());
    let daemon = daemon.restart();
    let all = Cli::on(&daemon.data_dir()).run(&["queue", "retry", "--all"]).ok();
    assert!(all.contains(": 6\n"), "{all}");
    eventually(DEADLINE, "all have left the queue", || {
        let queue = &daemon.get("/health").json()["queue"];
        queue["depth"] == 0 && queue["inFlight"] == 0 && queue["failed"] == 0
    });
    assert_eq!(daemon.scalar(VIEWS), json!(5), "each event is stored once");
    daemon.track("https://a.example/");
    eventually(DEADLINE, "the daemon still accepts events", || daemon.scalar(VIEWS) == json!(6));
}

#[test]
fn deleting_needs_confirmation() {
    let cli = Cli::new();
    with_failed(&cli.data_dir());
    let refused = cli.run(&["queue", "delete", "--all"]).failed();
    assert!(refused.contains("--yes"), "{refused}");
    assert_eq!(cli.run(&["queue", "delete", "--yes"]).code, Some(2), "neither ids nor --all");
    assert_eq!(cli.run(&["queue", "delete", "5", "--all", "--yes"]).code, Some(2));
    assert_eq!(status(&cli)["failed"], 5);
    let id = json_lines(&cli.run(&["queue", "list", "--json"]).ok())[0]["id"].clone();
    cli.run(&["queue", "delete", "--yes", id.as_str().unwrap()]).ok();
    assert_eq!(cli.run(&["queue", "delete", "--yes", id.as_str().unwrap()]).code, Some(1));
    let blog = cli.run(&["queue", "delete", "--all", "--project", "blog", "--yes"]).ok();
    assert!(blog.contains(": 1\n"), "{blog}");
    assert_eq!(status(&cli)["failed"], 3);
}

pub(super) fn failed_ids(cli: &Cli) -> Vec<String> {
    let lines = json_lines(&cli.run(&["queue", "list", "--json"]).ok());
    lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

fn waiting_bodies(cli: &Cli) -> Vec<Value> {
    let lines = json_lines(&cli.run(&["queue", "list", "--waiting", "--json"]).ok());
    let body = |line: &Value| serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
    lines.iter().map(body).collect()
}

#[test]
fn an_event_is_edited_in_the_editor_and_retried() {
    let cli = Cli::new();
    with_failed(&cli.data_dir());
    let id = failed_ids(&cli)[0].clone();
    let edit = |editor: &str, arguments: &[&str]| {
        let path = std::env::var("PATH").unwrap();
        let cli = Cli::on(&cli.data_dir()).env("EDITOR", editor).env("PATH", &path);
        cli.run(&[&["queue", "edit", &id], arguments].concat())
    };
    let unchanged = edit("true", &[]).ok();
    assert!(unchanged.contains("Not changed"), "{unchanged}");
    let aborted = edit("false", &["--yes"]).failed();
    assert!(aborted.contains("the editor ended with exit status: 1"), "{aborted}");
    let invalid = edit("sed -i s/pageview/pagevue/", &["--yes"]);
    assert!(invalid.stderr.contains("type"), "{invalid:?}");
    let other = edit("sed -i s/b1/b2/", &["--yes"]);
    assert!(other.stderr.contains("id: must stay \"b1\""), "{other:?}");
    let broken = edit("sed -i s/{/[/", &["--yes"]);
    assert!(broken.stderr.contains("not JSON"), "{broken:?}");
    let editor = "sed -i s/example.com/fixed.example/";
    assert!(edit(editor, &[]).failed().contains("--yes"));
    let shown = edit(editor, &["--dry-run"]).ok();
    assert!(shown.contains("-     \"url\": \"https://example.com/b1\""), "{shown}");
    assert!(shown.contains("+     \"url\": \"https://fixed.example/b1\""), "{shown}");
    assert_eq!(status(&cli)["failed"], 5, "nothing was changed");
    let done = edit(editor, &["--yes"]);
    assert!(done.stderr.contains("edited-events.jsonl"), "{done:?}");
    assert!(done.ok().contains("Edited and put back into the queue: 1"));
    assert_eq!((&status(&cli)["failed"], &status(&cli)["waiting"]), (&json!(4), &json!(1)));
    let waiting = &waiting_bodies(&cli)[0];
    assert_eq!(waiting["payload"]["url"], "https://fixed.example/b1");
    assert_eq!(waiting["id"], "b1", "the id stays");
    let kept = std::fs::read_to_string(cli.data_dir().join("edited-events.jsonl")).unwrap();
    let kept = json_lines(&kept);
    assert_eq!((kept.len(), &kept[0]["reason"]), (1, &json!("too large")));
    assert!(kept[0]["body"].as_str().unwrap().contains("https://example.com/b1"));
    assert_eq!(edit(editor, &["--yes"]).code, Some(1), "it is gone");
    assert_eq!(cli.run(&["queue", "edit", "--all", "--yes"]).code, Some(1), "one at a time");
}

#[test]
fn events_are_edited_by_rules_and_retried() {
    let cli = Cli::new();
    with_failed(&cli.data_dir());
    let edit = |arguments: &[&str]| cli.run(&[&["queue", "edit"], arguments].concat());
    let wrong = edit(&["--all", "--rule", "set payload.title = Home"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("a text needs quotes"), "{wrong:?}");
    let title = r#"set payload.title = "Repaired title""#;
    let rules = ["--rule", title, "--rule", "cut payload.title 8", "--rule", "remove payload.none"];
    let refused = edit(&[&["--all"], &rules[..]].concat()).failed();
    assert!(refused.contains("--yes"), "{refused}");
    let shop = [&["--all", "--project", "shop"], &rules[..]].concat();
    let preview = edit(&[&shop[..], &["--dry-run"]].concat()).ok();
    assert!(preview.contains("Changes 3 of 3 failed events."), "{preview}");
    assert_eq!(preview.matches("+     \"title\": \"Repaired\"").count(), 3, "{preview}");
    assert_eq!(status(&cli)["failed"], 5, "nothing was changed");
    let done = edit(&[&shop[..], &["--yes"]].concat()).ok();
    assert!(done.contains("Edited and put back into the queue: 3"), "{done}");
    assert_eq!(status(&cli)["failed"], 2);
    let titles: Vec<_> =
        waiting_bodies(&cli).iter().map(|body| body["payload"]["title"].clone()).collect();
    assert_eq!(titles, ["Repaired", "Repaired", "Repaired"]);
    // Events that would be invalid stay, and are named.
    let ids = failed_ids(&cli);
    let broken = edit(&[&ids[0], "--yes", "--rule", "remove payload"]);
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains(&format!("{} left as it was", ids[0])), "{broken:?}");
    let none = edit(&["--all", "--yes", "--rule", "remove payload.none"]).ok();
    assert!(none.contains("Changes 0 of 2"), "{none}");
    assert_eq!(status(&cli)["failed"], 2);
}

pub(super) fn in_terminal(cli: &Cli, arguments: &[&str]) -> Pty {
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_bklit-tui"));
    command.env_clear();
    command.env("BKLIT_DATA_DIR", cli.data_dir());
    command.args(arguments);
    Pty::spawn(command, (120, 40))
}

#[test]
fn events_queued_in_redis_during_the_confirmation_are_kept() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let list = DEFAULT_PREFIX;
    for n in 0..30 {
        server.cli(&["LPUSH", list, &format!("shown {n}")]);
    }
    let cli = Cli::new();
    let url = server.url();
    let arguments = ["--redis-url", &url, "queue", "delete", "--waiting", "--all"];
    let mut terminal = in_terminal(&cli, &arguments);
    terminal.wait_for_text("Type `delete 30`");
    server.cli(&["RPOP", list, "10"]);
    for n in 0..5 {
        server.cli(&["LPUSH", list, &format!("new {n}")]);
    }
    terminal.send("delete 30\n");
    terminal.wait_for_text("Deleted: 20");
    let left = server.cli(&["LRANGE", list, "0", "-1"]);
    assert_eq!(left.lines().collect::<Vec<_>>(), ["new 4", "new 3", "new 2", "new 1", "new 0"]);
}

#[test]
fn on_a_terminal_it_lists_the_events_and_asks() {
    let cli = Cli::new();
    with_failed(&cli.data_dir());
    let mut terminal = in_terminal(&cli, &["queue", "delete", "--all"]);
    terminal.wait_for_text("Type `delete 5`");
    assert!(terminal.contents().contains("too large"), "{}", terminal.contents());
    terminal.send("y\n");
    terminal.wait_for_text("Nothing was deleted");
    assert_eq!(status(&cli)["failed"], 5);
    let mut terminal = in_terminal(&cli, &["queue", "delete", "--all"]);
    terminal.wait_for_text("Type `delete 5`");
    // Events that fail during the confirmation were not listed.
    let local = Local::open(&cli.data_dir());
    local.push("new", names("n", 1));
    local.reject("new");
    terminal.send("delete 5\n");
    terminal.wait_for_text("Deleted: 5");
    let left = json_lines(&cli.run(&["queue", "list", "--json"]).ok());
    assert_eq!(event_ids(&left), ["n0"]);
}

#[test]
fn waiting_events_are_deleted_and_those_in_flight_are_not() {
    let cli = Cli::new();
    let local = Local::open(&cli.data_dir());
    local.push("p", names("p", 3));
    local.push("q", names("q", 2_000));
    let held = local.claim(2);
    let deleted = cli.run(&["queue", "delete", "--waiting", "--all", "--project", "q", "--yes"]);
    assert!(deleted.ok().contains(": 2000\n"));
    let left = json_lines(&cli.run(&["queue", "list", "--waiting", "--json"]).ok());
    assert_eq!(event_ids(&left), ["p2"]);
    local.runtime.block_on(local.queue.acknowledge(&held.id, &[])).unwrap();
    let stats = local.runtime.block_on(local.queue.stats()).unwrap();
    assert_eq!((stats.depth, stats.in_flight), (1, 0), "this process sees the change");
}

#[test]
fn an_export_is_complete() {
    let cli = Cli::new();
    with_failed(&cli.data_dir());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("failed.jsonl");
    let name = file.to_str().unwrap();
    cli.run(&["queue", "export", "--project", "shop", name]).ok();
    let lines = json_lines(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(event_ids(&lines), ["s2", "s1", "s0"]);
    let event = QueuedEvent::from_json(lines[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!((event.id.as_str(), event.project_id.as_str()), ("s2", "shop"));
    assert!(
        lines[0]["reason"].as_str().unwrap().contains("Column") && lines[0]["failedAt"].is_string()
    );
    assert_eq!(status(&cli)["failed"], 5, "they are still there");
    // An existing file is replaced only on request; a failed export leaves no file behind.
    let refused = cli.run(&["queue", "export", name]).failed();
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(json_lines(&std::fs::read_to_string(&file).unwrap()).len(), 3);
    cli.run(&["queue", "export", "--force", name]).ok();
    assert_eq!(json_lines(&std::fs::read_to_string(&file).unwrap()).len(), 5);
    std::fs::create_dir(dir.path().join("taken")).unwrap();
    cli.run(&["queue", "export", dir.path().join("taken").to_str().unwrap()]).failed();
    cli.run(&["queue", "export", "/no/such/dir/x.jsonl"]).failed();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no drafts");
    Local::open(&cli.data_dir()).push("w", names("w", 3));
    let waiting = cli.run(&["queue", "export", "--waiting", "-"]).ok();
    assert_eq!(event_ids(&json_lines(&waiting)), ["w2", "w1", "w0"]);
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let cli = Cli::new();
    let local = Local::open(&cli.data_dir());
    local.push("p", names("e", 3_000));
    for arguments in [
        &["queue", "export", "--waiting", "-"][..],
        &["queue", "list", "--waiting", "--limit", "3000"],
    ] {
        let mut child = cli.command(arguments).spawn().unwrap();
        drop(child.stdout.take());
        eventually(DEADLINE, "the command ends", || child.try_wait().unwrap().is_some());
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_drain_stores_everything_without_a_daemon() {
    let cli = Cli::new();
    let local = Local::open(&cli.data_dir());
    local.push("p", names("e", 6_000));
    drop(local);
    let drained = cli.run(&["queue", "drain", "--timeout", "60s"]);
    assert!(drained.stderr.contains("At the start: 6000 waiting"), "{drained:?}");
    assert!(drained.stderr.contains("Drained: 0 waiting"), "{drained:?}");
    drained.ok();
    assert!(cli.run(&["sql", "--json", VIEWS]).ok().contains("6000"));
    let nothing = cli.run(&["queue", "drain"]);
    assert_eq!(nothing.code, Some(0), "{nothing:?}");
}

#[test]
fn a_drain_waits_for_other_workers_until_it_times_out_or_is_interrupted() {
    let cli = Cli::new();
    let local = Local::open(&cli.data_dir());
    local.push("p", names("e", 5));
    let held = local.claim(2);
    let late = cli.run(&["queue", "drain", "--timeout", "2s"]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(late.stderr.contains("left: 0 waiting, 2 in flight"), "{late:?}");
    let mut child = cli.command(&["queue", "drain"]).spawn().unwrap();
    // Signal handlers are installed before the queue is read.
    let mut line = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    assert!(line.starts_with("At the start"), "{line}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    eventually(DEADLINE, "it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // The other worker's batch was left alone.
    local.runtime.block_on(local.queue.acknowledge(&held.id, &[])).unwrap();
    assert_eq!(status(&cli)["inFlight"], 0);
}
