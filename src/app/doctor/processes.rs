//! What the running processes know: whether events are accepted and stored now, and why not.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::files;
use crate::app::adapters;
use crate::client;
use crate::commands::doctor::Part;
use crate::config::Settings;
use bklit_remote::sse::{Endpoint, SseDebugStream};
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::gauges::{Failure, Gauges, Recent};

/// How long to listen for the processes on a Redis: each reports once a second.
const LISTEN: Duration = Duration::from_millis(3_500);
/// How long this machine's process may take to report.
const TIMEOUT: Duration = Duration::from_secs(5);

/// This many refused events are a problem if none was accepted.
const MANY_REFUSED: u64 = 5;

const LIST: &str = "`bklit-tui refused list` shows which ones";

/// Asks the process of this data dir, and those that publish to the same Redis. `None` if there are
/// none.
pub(super) async fn examine(settings: &Settings) -> Option<Part> {
    let running = files::running(&settings.data_dir);
    let own = async {
        match running {
            Some(process) => Some(own_gauges(settings, process).await),
            None => None,
        }
    };
    let (own, shared) = tokio::join!(own, shared_gauges(settings));
    let mut findings = Vec::new();
    let mut processes = shared;
    match own {
        Some(Ok(gauges)) => {
            processes.insert(gauges.process.clone(), gauges);
        }
        Some(Err(finding)) => findings.push(finding),
        None => {}
    }
    processes.values().for_each(|gauges| findings.extend(of_process(gauges)));
    (!findings.is_empty()).then_some(Part { name: "processes", findings })
}

/// What the process of this data dir reports, or why it cannot be asked.
async fn own_gauges(settings: &Settings, process: u32) -> Result<Gauges, Diagnostic> {
    let failed = |error: String| {
        Diagnostic::problem(
            format!("process {process} does not say whether it works: {error}"),
            "look at its log; if it hangs, restart it",
        )
    };
    let base = client::base_url(None, settings).map_err(|error| failed(error.to_string()))?;
    let token = client::given_token(None);
    let endpoint = Endpoint::new(&base, token.as_deref()).map_err(|e| failed(e.to_string()))?;
    let client = client::connect(settings).map_err(|error| failed(error.to_string()))?;
    let gauges = async {
        let mut stream = SseDebugStream::connect(client, endpoint).await.map_err(|error| {
            Diagnostic::warning(
                format!("process {process} cannot be asked whether it works: {error}"),
                "set BKLIT_TOKEN to a token with scope read for all projects",
            )
        })?;
        while let Some(message) = stream.next().await {
            match message {
                DebugMessage::Gauges(gauges) if is_of(&gauges, process) => {
                    return Ok((*gauges).clone());
                }
                DebugMessage::Disconnected(reason) => return Err(failed(reason.to_string())),
                _ => {}
            }
        }
        Err(failed("its stream ended".to_owned()))
    };
    timeout(TIMEOUT, gauges).await.unwrap_or_else(|_| {
        Err(failed(format!("no figures within {}", bklit_wire::duration::format(TIMEOUT))))
    })
}

/// A process is named after its id.
fn is_of(gauges: &Gauges, process: u32) -> bool {
    gauges.process.split('-').next() == Some(process.to_string().as_str())
}

/// The last report of each process on the Redis in the settings.
async fn shared_gauges(settings: &Settings) -> BTreeMap<String, Gauges> {
    let mut found = BTreeMap::new();
    let Some(url) = &settings.redis_url else { return found };
    // What is wrong with the settings or the server is found elsewhere.
    let Ok(redis) = adapters::redis_to_follow(settings, url.expose()) else { return found };
    let listen = async {
        let mut stream = redis.bus.subscribe();
        while let Some(message) = stream.next().await {
            if let DebugMessage::Gauges(gauges) = message {
                found.insert(gauges.process.clone(), (*gauges).clone());
            }
        }
    };
    // Ended by the timeout.
    let _ = timeout(LISTEN, listen).await;
    found
}

/// What is wrong with a process.
fn of_process(gauges: &Gauges) -> Vec<Diagnostic> {
    let name = format!("process {}", gauges.process);
    let mut findings: Vec<_> =
        gauges.failures.iter().map(|failure| failing(&name, failure)).collect();
    if let Some(recent) = &gauges.recent {
        let store_fails = gauges.failures.iter().any(|failure| failure.part == "store");
        findings.extend(refused(&name, recent));
        findings.extend(not_stored(&name, recent).filter(|_| !store_fails));
        findings.extend(incomplete(&name, recent));
    }
    if findings.is_empty() {
        findings.push(Diagnostic::good(match &gauges.recent {
            Some(Recent { accepted, stored, .. }) => format!(
                "{name} works: {accepted} events accepted and {stored} stored in {} minutes",
                Recent::MINUTES
            ),
            None => format!("{name} works"),
        }));
    }
    findings
}

fn failing(name: &str, failure: &Failure) -> Diagnostic {
    let Failure { part, message, reason, since } = failure;
    let since = since.map_or_else(String::new, |since| format!(" since {since}"));
    let advice = match part.as_str() {
        _ if reason.contains("is locked by process") => {
            "end that process, or wait until its transaction has ended"
        }
        // Advice of the server's adapter is part of the reason.
        "store" => "events wait in the queue until the reason is gone; then they are stored",
        "queue" | "worker" if reason.contains("NoPerm") || reason.contains("NOPERM") => {
            "allow the Redis user all commands on the queue's keys: `ACL SETUSER … ~* &* +@all`"
        }
        "queue" | "worker" if reason.contains("WRONGTYPE") => {
            "another program uses one of the queue's keys for something else: the check of Redis \
             names it"
        }
        "worker" => "the worker cannot get events from the queue: check the queue's server or file",
        _ => "check the queue's server or file",
    };
    Diagnostic::problem(format!("{name}: its {part} fails{since}: {message}: {reason}"), advice)
}

fn refused(name: &str, recent: &Recent) -> Option<Diagnostic> {
    let Recent { accepted, refused, last_reason, last_error, .. } = recent;
    if *refused == 0 {
        return None;
    }
    let minutes = Recent::MINUTES;
    let last = last_error.as_deref().unwrap_or("unknown");
    if *accepted == 0 && *refused >= MANY_REFUSED {
        let what = format!(
            "{name} refused all {refused} events of the last {minutes} minutes; the last one: {last}"
        );
        let remedy = remedy(last_reason.as_deref().unwrap_or_default());
        return Some(Diagnostic::problem(what, format!("{remedy}; {LIST}")));
    }
    let what = format!(
        "{name} refused {refused} events of the last {minutes} minutes and accepted {accepted}; the \
         last one: {last}"
    );
    Some(Diagnostic::warning(what, LIST))
}

/// What to do about a reason of `GET /api/refused`.
fn remedy(reason: &str) -> &'static str {
    match reason {
        "token missing" => "send the header `Authorization: Bearer bk_live_…` from the pages",
        "token not valid" | "token expired" => {
            "use a token of `bklit-tui token list` in the pages, or create one with `bklit-tui \
             token create`"
        }
        "token of another project" => {
            "use the project of the token in the pages, or create a token for theirs"
        }
        "domain not allowed" => "create a token for the domains of the pages: `--domain`",
        "tokens unavailable" => "check the server of the tokens",
        "paused" => "an operator has paused accepting events: `bklit-tui queue resume intake`",
        "queue" => "the queue is full or unavailable: check its server or disk",
        "invalid event" => "correct the pages that send them",
        "project_per_second" | "project_per_day" | "token_per_second" | "token_per_day"
        | "queue_share" => "raise the limit in the section limits",
        _ => "correct what sends them",
    }
}

fn not_stored(name: &str, recent: &Recent) -> Option<Diagnostic> {
    let Recent { stored, not_stored, last_store_error, .. } = recent;
    if *not_stored == 0 {
        return None;
    }
    let minutes = Recent::MINUTES;
    let last = last_store_error.as_deref().unwrap_or("unknown");
    let advice = "`bklit-tui queue list` shows events that the store rejected; correct the cause, then \
                  `bklit-tui queue retry --all`";
    Some(match stored {
        0 => Diagnostic::problem(
            format!("{name} stored no event in the last {minutes} minutes; the last error: {last}"),
            advice,
        ),
        _ => Diagnostic::warning(
            format!(
                "{name} stored {stored} events in the last {minutes} minutes, but {not_stored} \
                 inserts failed; the last error: {last}"
            ),
            advice,
        ),
    })
}

/// Events that are in their table, but for example not in a materialized view on it.
fn incomplete(name: &str, recent: &Recent) -> Option<Diagnostic> {
    let Recent { incomplete, last_incomplete, .. } = recent;
    let last = last_incomplete.as_deref().filter(|_| *incomplete > 0)?;
    let what = format!(
        "{name} stored events incompletely {incomplete} times in the last {} minutes; the last time: \
         {last}",
        Recent::MINUTES
    );
    Some(Diagnostic::warning(what, "correct the view or the column that it names"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::diagnostic::Severity;

    fn found(accepted: u64, refused: u64, stored: u64, not_stored: u64) -> Vec<Severity> {
        let last_error = Some("the token is not valid".to_owned());
        let recent =
            Recent { accepted, refused, stored, not_stored, last_error, ..Recent::default() };
        let gauges = Gauges { recent: Some(recent), ..Gauges::default() };
        of_process(&gauges).iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn recent_results_determine_the_severity() {
        assert_eq!(found(9, 0, 9, 0), [Severity::Good]);
        assert_eq!(found(0, 0, 0, 0), [Severity::Good]);
        assert_eq!(found(0, 4, 0, 0), [Severity::Warning]);
        assert_eq!(found(0, 5, 0, 0), [Severity::Problem]);
        assert_eq!(found(1, 500, 1, 0), [Severity::Warning]);
        assert_eq!(found(9, 0, 0, 3), [Severity::Problem]);
        assert_eq!(found(9, 0, 1, 3), [Severity::Warning]);
    }
}
