//! Faults that a test switches on over HTTP.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Statements that are remembered for `GET /log`.
const LOG: usize = 10_000;

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Not run; answered with an error.
    Error,
    /// Run; answered with an error all the same.
    ErrorAfterCommit,
    /// Not run and not answered until the faults are removed; then cut off.
    Hang,
    /// Run, but not answered until the faults are removed; then cut off.
    HangAfterCommit,
    /// Run after a delay, even if the client has gone by then.
    Slow,
    /// Not run; the connection is cut.
    DropBefore,
    /// Run; the connection is cut instead of an answer.
    DropAfterCommit,
    /// The process dies as by kill -9, before running it.
    KillBefore,
    /// The process dies as by kill -9, after running it and before answering.
    KillAfterCommit,
    /// Answered with success but not run, now and for every later insert with the
    /// same deduplication token: the token was published, its part was lost.
    BurnToken,
    /// Run with `from` replaced by `to` in its text.
    Rewrite,
    /// Forwarded to the server at the address `to`, as a balancer does.
    Forward,
}

/// A fault, as `POST /fault` takes it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Part of the statement's text, ignoring backticks, which clients put around names. Empty
    /// matches every statement.
    #[serde(rename = "match", default)]
    pub pattern: String,
    /// Part of the insert's deduplication token.
    #[serde(default)]
    pub token: Option<String>,
    /// A setting that the statement is sent with.
    #[serde(default)]
    pub setting: Option<String>,
    pub kind: Kind,
    /// Matching statements to let pass first.
    #[serde(default)]
    pub after: u64,
    /// How many statements to affect; all if missing.
    #[serde(default)]
    pub times: Option<u64>,
    /// ClickHouse's error code.
    #[serde(default = "default_code")]
    pub code: i32,
    /// The error's text.
    #[serde(default = "default_message")]
    pub message: String,
    #[serde(default)]
    pub delay_ms: u64,
    /// The text to replace.
    #[serde(default)]
    pub from: String,
    /// The replacement, or the address of the other server.
    #[serde(default)]
    pub to: String,
}

fn default_code() -> i32 {
    252
}

fn default_message() -> String {
    "Too many parts. Merges are processing significantly slower than inserts. (TOO_MANY_PARTS)"
        .into()
}

/// A fault and what it did, as `GET /fault` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Switched {
    id: u64,
    #[serde(flatten)]
    fault: Fault,
    /// Statements that matched.
    seen: u64,
    /// Statements it was applied to.
    hits: u64,
}

/// A statement that arrived, as `GET /log` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Logged {
    /// The statement without its data.
    pub sql: String,
    pub token: Option<String>,
    /// The fault applied to it.
    pub fault: Option<Kind>,
    /// Whether it was run, and how that ended.
    pub outcome: &'static str,
    /// Rows of the insert, whether or not deduplication dropped them.
    pub rows: u64,
    /// Rows that were read.
    pub read: u64,
}

#[derive(Default)]
struct State {
    next_id: u64,
    faults: Vec<Switched>,
    burnt: HashSet<String>,
    log: VecDeque<Logged>,
}

/// All faults of the process.
pub struct Faults {
    state: Mutex<State>,
    removed: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Faults { state: Mutex::default(), removed: watch::Sender::new(0) }
    }
}

impl Faults {
    /// Adds a fault and returns its id.
    pub fn add(&self, fault: Fault) -> u64 {
        let mut state = self.state();
        state.next_id += 1;
        let id = state.next_id;
        state.faults.push(Switched { id, fault, seen: 0, hits: 0 });
        id
    }

    /// Removes all faults and cuts off hanging requests. Burnt tokens stay burnt.
    pub fn clear(&self) {
        self.state().faults.clear();
        self.removed.send_modify(|generation| *generation += 1);
    }

    /// The active faults.
    pub fn list(&self) -> Vec<Switched> {
        self.state().faults.clone()
    }

    /// The fault to apply to this statement, if any.
    pub fn meet(
        &self,
        sql: &str,
        token: Option<&str>,
        settings: &[(String, String)],
    ) -> Option<Fault> {
        let mut state = self.state();
        let burnt = token.filter(|token| state.burnt.contains(*token)).map(str::to_owned);
        let met = state.faults.iter_mut().find_map(|switched| switched.meet(sql, token, settings));
        if let (Some(Fault { kind: Kind::BurnToken, .. }), Some(token)) = (&met, token) {
            state.burnt.insert(token.to_owned());
        }
        met.or_else(|| burnt.map(|_| Fault::burnt()))
    }

    /// Waits until the faults are removed.
    pub async fn removal(&self) {
        let mut removed = self.removed.subscribe();
        // The sender lives as long as `self`.
        let _ = removed.changed().await;
    }

    /// Remembers a statement.
    pub fn log(&self, logged: Logged) {
        let mut state = self.state();
        if state.log.len() == LOG {
            state.log.pop_front();
        }
        state.log.push_back(logged);
    }

    /// The statements that arrived, oldest first.
    pub fn logged(&self) -> Vec<Logged> {
        self.state().log.iter().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Switched {
    fn meet(
        &mut self,
        sql: &str,
        token: Option<&str>,
        settings: &[(String, String)],
    ) -> Option<Fault> {
        let fault = &self.fault;
        let token_matches = match &fault.token {
            Some(piece) => token.is_some_and(|token| token.contains(piece.as_str())),
            None => true,
        };
        let setting_matches = match &fault.setting {
            Some(name) => settings.iter().any(|(known, _)| known == name),
            None => true,
        };
        if !token_matches || !setting_matches || !bare(sql).contains(&bare(&fault.pattern)) {
            return None;
        }
        self.seen += 1;
        if self.seen <= fault.after || fault.times.is_some_and(|times| self.hits >= times) {
            return None;
        }
        self.hits += 1;
        Some(fault.clone())
    }
}

fn bare(sql: &str) -> String {
    sql.replace('`', "")
}

impl Fault {
    fn burnt() -> Self {
        Fault {
            pattern: String::new(),
            token: None,
            setting: None,
            kind: Kind::BurnToken,
            after: 0,
            times: None,
            code: default_code(),
            message: default_message(),
            delay_ms: 0,
            from: String::new(),
            to: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults, Kind};

    fn fault(json: &str) -> Fault {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_fault_skips_some_statements_and_expires() {
        let faults = Faults::default();
        faults.add(fault(r#"{"match": "INTO t", "kind": "error", "after": 1, "times": 2}"#));
        let met: Vec<_> =
            (0..5).map(|_| faults.meet("INSERT INTO `t`", None, &[]).is_some()).collect();
        assert_eq!(met, [false, true, true, false, false]);
        assert!(faults.meet("INSERT INTO u", None, &[]).is_none());
    }

    #[test]
    fn a_burnt_token_stays_burnt() {
        let faults = Faults::default();
        faults.add(fault(r#"{"token": "b1:", "kind": "burn_token", "times": 1}"#));
        let kind = |token| faults.meet("INSERT", Some(token), &[]).map(|fault| fault.kind);
        assert_eq!(kind("b2:t"), None);
        assert_eq!(kind("b1:t"), Some(Kind::BurnToken));
        faults.clear();
        assert_eq!(kind("b1:t"), Some(Kind::BurnToken));
        assert_eq!(kind("b1:u"), None);
    }

    #[test]
    fn a_fault_can_depend_on_a_setting() {
        let faults = Faults::default();
        faults.add(fault(r#"{"setting": "a", "kind": "error"}"#));
        let met = |name: &str| faults.meet("SELECT", None, &[(name.into(), "1".into())]).is_some();
        assert!(met("a") && !met("b"));
    }

    #[test]
    fn a_misspelt_fault_is_refused() {
        assert!(serde_json::from_str::<Fault>(r#"{"kind": "error", "mach": "x"}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"kind": "explode"}"#).is_err());
    }
}
