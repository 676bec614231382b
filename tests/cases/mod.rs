//! External cases: small inputs that have broken software of this kind, sent to the real program.
//! Each names its source: a public report as repository and number, the behaviour of a program that
//! clients rely on, or what a trial with hostile clients found. `scripts/cases.sh` runs all of them
//! and prints a verdict for each.

mod access;
mod bodies;
mod browsers;
mod connections;
mod pipeline;
mod program;
mod sessions;
mod values;
mod visitors;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use serde_json::Value;

use crate::support::{DEADLINE, Daemon, Response, eventually, request};

/// The file to which verdicts are appended, if the variable is set.
const REPORT: &str = "BKLIT_CASES_REPORT";

/// Runs a case, records its verdict and fails if it is not the expected one. A panic in `run` is
/// recorded as well.
#[track_caller]
fn case(source: &str, input: &str, expected: &str, run: impl FnOnce() -> String) {
    let result = catch_unwind(AssertUnwindSafe(run));
    let got = match &result {
        Ok(got) => got.clone(),
        Err(panic) => format!("failed: {}", panic_text(&**panic)),
    };
    let verdict = if got == expected { "PASS" } else { "FAIL" };
    let cells =
        [verdict, source, input, expected, &got].map(|cell| cell.replace(['\t', '\n'], " "));
    if let Some(path) = std::env::var_os(REPORT) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        // One write, so that lines of parallel tests do not mix.
        file.write_all((cells.join("\t") + "\n").as_bytes()).unwrap();
    }
    if let Err(panic) = result {
        resume_unwind(panic);
    }
    assert_eq!(got, expected, "{source}: {input}");
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Runs async code of a case.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(future)
}

/// Posts a body as it is, with the token of the first start.
fn post(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let bearer = format!("Bearer {}", daemon.token());
    post_as(daemon, &bearer, path, headers, body)
}

/// The same with another `Authorization`; none if it is empty.
fn post_as(
    daemon: &Daemon,
    authorization: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut all = vec![("Content-Type", "application/json")];
    if !authorization.is_empty() {
        all.push(("Authorization", authorization));
    }
    all.extend(headers);
    request(daemon.addr, "POST", path, &all, body).unwrap()
}

/// Waits until a query that counts returns `count`.
#[track_caller]
fn stored(daemon: &Daemon, count_of: &str, count: usize) {
    let sql = format!("SELECT count() FROM {count_of}");
    eventually(DEADLINE, &format!("{count} rows of {count_of}"), || daemon.scalar(&sql) == count);
}

/// What a query returns for the column `x`, as JSON.
fn list(daemon: &Daemon, sql: &str) -> Vec<Value> {
    let rows = daemon.scalar(&format!("SELECT json_group_array(x) FROM ({sql})"));
    serde_json::from_str(rows.as_str().unwrap()).unwrap()
}

/// Values next to each other, as in `200, 200, 413`.
fn joined(values: impl IntoIterator<Item = impl ToString>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}

/// The sample with this name in the daemon's metrics; 0 if there is none.
fn metric(daemon: &Daemon, name: &str) -> f64 {
    let text = daemon.get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// The debug log of a daemon, as lines of JSON.
fn debug_log(daemon: &Daemon) -> Vec<Value> {
    let text = daemon.get("/api/debug-stream?history=10000&follow=false").text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|line| serde_json::from_str(line).ok()).collect()
}
