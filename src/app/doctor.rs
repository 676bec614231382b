//! What `doctor` looks at: each server that is set, the data dir, the settings.

mod files;

use std::fmt::Display;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use color_eyre::eyre::Result;
use rustix::process::{Resource, getrlimit};

use super::adapters;
use super::data_dir::{ADDRESS_FILE, WEBSOCKET_ADDRESS_FILE};
use crate::commands::doctor::Part;
use crate::config::Settings;
use bklit_adapters::postgres;
use bklit_pipeline::auth;
use bklit_pipeline::roles::Role;
use bklit_pipeline::websocket::WebSocketSettings;
use bklit_wire::diagnostic::Diagnostic;

/// How long the look at one server, or at the files, may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Files a process has open beside its connections.
const OTHER_FILES: u64 = 100;

/// Looks at everything at once.
pub(super) async fn examine(settings: &Settings) -> Result<Vec<Part>> {
    // What cannot even be tried is an error of the settings.
    adapters::describe(settings)?;
    let (clickhouse, postgres) = (adapters::clickhouse(settings)?, adapters::postgres(settings)?);
    let redis = async {
        let (server, options) = adapters::redis_and_queue(settings)?;
        let alarm_depth = settings.queue.alarm_depth;
        let looked = bklit_adapters::redis::queue::check::check(server, &options, alarm_depth);
        let advice = "see that it runs and redis_url names it";
        let mut part = part("redis", advice, looked).await;
        if part.findings.iter().any(|finding| finding.advice == advice) {
            part.findings.extend(no_token(settings));
        }
        Some(part)
    };
    let clickhouse = async {
        let store = clickhouse?;
        let advice = "see that it runs, and clickhouse_url, user and password";
        Some(part("clickhouse", advice, store.check()).await)
    };
    let postgres = async {
        let server = postgres?;
        let advice = "see that it runs, and database_url";
        Some(part("postgres", advice, postgres::check::check(server)).await)
    };
    let files = async {
        let looked = files::examine(settings, TIMEOUT);
        Part { name: "data dir", findings: looked.await }
    };
    let (redis, clickhouse, postgres, files) = tokio::join!(redis, clickhouse, postgres, files);
    let settings = Part { name: "settings", findings: of_settings(settings) };
    Ok([redis, clickhouse, postgres, Some(files), Some(settings)].into_iter().flatten().collect())
}

/// What it means that the tokens are away, where none was used lately.
fn no_token(settings: &Settings) -> Option<Diagnostic> {
    let accepts = [Role::Ingestion, Role::Websocket].iter().any(|role| settings.roles.has(*role));
    let noted =
        auth::count_saved(&settings.data_dir.join(adapters::KNOWN_TOKENS_FILE)).unwrap_or(0);
    (accepts && noted == 0).then(|| {
        Diagnostic::problem(
            "no token was used with this data dir lately: without Redis every event is answered 503",
            "bring Redis back; nothing else helps here",
        )
    })
}

async fn part<E: Display>(
    name: &'static str,
    advice: &str,
    looked: impl Future<Output = Result<Vec<Diagnostic>, E>>,
) -> Part {
    let findings = match tokio::time::timeout(TIMEOUT, looked).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => vec![Diagnostic::problem(error.to_string(), advice)],
        Err(_) => vec![Diagnostic::problem(format!("no answer within {TIMEOUT:?}"), advice)],
    };
    Part { name, findings }
}

fn of_settings(settings: &Settings) -> Vec<Diagnostic> {
    let mut findings = vec![address(settings)];
    findings.extend(websocket_address(settings));
    if settings.http.trust_forwarded && !settings.listen.ip().is_loopback() {
        findings.push(Diagnostic::warning(
            format!(
                "http.trust_forwarded is on while {} can be reached from elsewhere: whoever does not \
                 come through the proxy can forge a visitor's address",
                settings.listen
            ),
            "listen on loopback, or let only the proxy reach the port",
        ));
    }
    if settings.queue.alarm_depth > settings.queue.max_depth {
        findings.push(Diagnostic::warning(
            "queue.alarm_depth is above queue.max_depth, so there will be no alarm",
            "lower queue.alarm_depth",
        ));
    }
    let sockets = match settings.roles.has(Role::Websocket) {
        true => settings.websocket.max_connections,
        false => 0,
    };
    let connections = settings.http.max_connections as u64 + sockets as u64;
    let wanted = connections + OTHER_FILES;
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted) {
        findings.push(Diagnostic::warning(
            format!("a process here may open {limit} files, too few for {connections} connections"),
            format!(
                "raise it (`ulimit -n {wanted}`), or lower http.max_connections or \
                 websocket.max_connections"
            ),
        ));
    }
    findings
}

/// Whether the address is free, or ours.
fn address(settings: &Settings) -> Diagnostic {
    let taken = |what| Diagnostic::problem(what, "choose another address with --listen, or end it");
    look(settings, settings.listen, ADDRESS_FILE, taken)
}

/// The same of the WebSocket server's. What nobody asked for is done without, if that is not all
/// that the process is for.
fn websocket_address(settings: &Settings) -> Option<Diagnostic> {
    if !settings.roles.has(Role::Websocket) {
        return None;
    }
    let asked = settings.websocket.listen;
    let listen = asked.unwrap_or(WebSocketSettings::DEFAULT_LISTEN);
    let advice = "choose another address with --websocket-listen, or end it";
    Some(look(settings, listen, WEBSOCKET_ADDRESS_FILE, |what| {
        if asked.is_some() || !settings.roles.has(Role::Ingestion) {
            return Diagnostic::problem(what, advice);
        }
        Diagnostic::warning(format!("{what}: there is no WebSocket server"), advice)
    }))
}

/// Whether somebody listens at an address, which our own process announces in `file`.
fn look(
    settings: &Settings,
    listen: SocketAddr,
    file: &str,
    taken: impl Fn(String) -> Diagnostic,
) -> Diagnostic {
    match TcpListener::bind(listen) {
        Ok(_) => Diagnostic::good(format!("{listen} is free to listen on")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            match files::running(&settings.data_dir) {
                Some(process) if is_announced(settings, file, listen) => Diagnostic::good(format!(
                    "process {process} of this data dir listens on {listen}"
                )),
                _ => taken(format!("something else listens on {listen}")),
            }
        }
        Err(error) => taken(format!("cannot listen on {listen}: {error}")),
    }
}

fn is_announced(settings: &Settings, file: &str, listen: SocketAddr) -> bool {
    let text = std::fs::read_to_string(settings.data_dir.join(file)).unwrap_or_default();
    text.trim().parse().is_ok_and(|address: SocketAddr| address.port() == listen.port())
}
