//! The checks of `doctor`: each configured server, the data dir, the settings.

mod files;
mod processes;
mod tokens;

use std::convert::Infallible;
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use color_eyre::eyre::Result;
use rustix::process::{Resource, getrlimit};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::adapters;
use super::data_dir::{ADDRESS_FILE, WEBSOCKET_ADDRESS_FILE};
use super::location;
use crate::commands::doctor::Part;
use crate::config::Settings;
use crate::logging;
use bklit_adapters::postgres;
use bklit_adapters::redis::connection::RedisServer;
use bklit_adapters::redis::queue::RedisQueueOptions;
use bklit_net::backoff::Backoff;
use bklit_pipeline::auth;
use bklit_pipeline::intake::visitor::ClientIpHeader;
use bklit_pipeline::roles::Role;
use bklit_pipeline::server::MAX_BEYOND;
use bklit_pipeline::server::tls::{RENEWAL_DAYS, ServerTls};
use bklit_pipeline::websocket::WebSocketSettings;
use bklit_wire::diagnostic::{Diagnostic, Severity};
use bklit_wire::duration;
use bklit_wire::setting::Sensitive;

/// How long checking one server, or the files, may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long ClickHouse may take to answer. Less than [`TIMEOUT`], to find out then whether it accepts
/// connections.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// The longest pause between attempts to check Redis at the start.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Files a process has open in addition to its connections, and to those beyond the limit that are
/// about to be closed.
const OTHER_FILES: u64 = 100 + 2 * MAX_BEYOND as u64;

/// Runs all checks at the same time.
pub(super) async fn examine(settings: &Settings) -> Result<Vec<Part>> {
    // Settings that rule out a connection attempt are an error.
    adapters::describe(settings)?;
    let (clickhouse, postgres) = (adapters::clickhouse(settings)?, adapters::postgres(settings)?);
    let redis = async {
        let (server, options) = adapters::redis_and_queue(settings)?;
        let alarm_depth = settings.queue.alarm_depth;
        let check = bklit_adapters::redis::queue::check::check(server, &options, alarm_depth);
        let advice = "check that it runs and that redis_url is right";
        let mut part = part("redis", advice, check).await;
        if part.findings.iter().any(|finding| finding.advice == advice) {
            part.findings.extend(no_token(settings));
        }
        Some(part)
    };
    let clickhouse = async {
        let store = clickhouse?;
        let advice = match settings.clickhouse_url.as_ref().map(Sensitive::expose) {
            Some(url) if is_https_without_port(url) => {
                "check clickhouse_url, user and password; without a port, https:// uses 443, but \
                 managed services listen on 8443: https://HOST:8443"
            }
            _ => "check that it runs, and clickhouse_url, user and password",
        };
        Some(part("clickhouse", advice, store.check_within(ANSWER_TIMEOUT)).await)
    };
    let postgres = async {
        let server = postgres?;
        let advice = "check that it runs, and database_url";
        Some(part("postgres", advice, postgres::check::check(server)).await)
    };
    let files =
        async { Part { name: "data dir", findings: files::examine(settings, TIMEOUT).await } };
    let location = async {
        if !settings.roles.accept_events() {
            return None;
        }
        let advice = "check the file and its disk";
        let check = async { Ok::<_, Infallible>(location::check(settings).await) };
        Some(part("location", advice, check).await)
    };
    let tokens = async {
        let store = adapters::existing_tokens(settings).ok()??;
        let findings = tokio::time::timeout(TIMEOUT, tokens::check(store)).await.ok()?;
        Some(Part { name: "tokens", findings })
    };
    let processes = processes::examine(settings);
    let (redis, clickhouse, postgres, files, location, tokens, processes) =
        tokio::join!(redis, clickhouse, postgres, files, location, tokens, processes);
    let settings = Part { name: "settings", findings: of_settings(settings) };
    let tokens = tokens.filter(|tokens| !tokens.findings.is_empty());
    let parts =
        [redis, clickhouse, postgres, Some(files), processes, location, tokens, Some(settings)];
    Ok(parts.into_iter().flatten().collect())
}

/// Logs what is wrong with Redis once it can be checked, then waits for `stop`: what may lose events
/// should not need `doctor` to be noticed.
pub(super) async fn report_redis(
    server: RedisServer,
    options: RedisQueueOptions,
    alarm_depth: u64,
    stop: CancellationToken,
) -> Result<()> {
    let check = async {
        let mut backoff = Backoff::new(LONGEST_PAUSE);
        loop {
            let check =
                bklit_adapters::redis::queue::check::check(server.clone(), &options, alarm_depth);
            if let Ok(Ok(findings)) = tokio::time::timeout(TIMEOUT, check).await {
                return findings;
            }
            // Its failures are logged where it is used.
            backoff.pause().await;
        }
    };
    if let Some(findings) = stop.run_until_cancelled(check).await {
        let wrong = findings.iter().filter(|finding| finding.severity > Severity::Good);
        wrong.for_each(|finding| logging::diagnostic("Redis", finding));
    }
    stop.cancelled().await;
    Ok(())
}

/// What an unavailable token store means when no token was used recently.
fn no_token(settings: &Settings) -> Option<Diagnostic> {
    let accepts = [Role::Ingestion, Role::Websocket].iter().any(|role| settings.roles.has(*role));
    let known =
        auth::count_saved(&settings.data_dir.join(adapters::KNOWN_TOKENS_FILE)).unwrap_or(0);
    (accepts && known == 0).then(|| {
        Diagnostic::problem(
            "no token was used recently with this data dir: without Redis, every event is answered 503",
            "restore Redis",
        )
    })
}

fn is_https_without_port(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "https" && url.port().is_none())
}

async fn part<E: Display>(
    name: &'static str,
    advice: &str,
    check: impl Future<Output = Result<Vec<Diagnostic>, E>>,
) -> Part {
    let findings = match tokio::time::timeout(TIMEOUT, check).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => vec![Diagnostic::problem(error.to_string(), advice)],
        Err(_) => vec![Diagnostic::problem(
            format!("no answer within {}", duration::format(TIMEOUT)),
            advice,
        )],
    };
    Part { name, findings }
}

fn of_settings(settings: &Settings) -> Vec<Diagnostic> {
    let mut findings = settings.notes.clone();
    findings.push(address(settings));
    findings.extend(websocket_address(settings));
    findings.extend(certificate(settings));
    if settings.http.trusted_proxies.is_everything() && !settings.listen.ip().is_loopback() {
        findings.push(Diagnostic::warning(
            format!(
                "http.trusted_proxies has every address, and {} is reachable from other machines: \
                 clients that bypass the proxy can forge a visitor's address",
                settings.listen
            ),
            "name the proxies' networks, or let only the proxy reach the port",
        ));
    }
    let is_default = settings.http.client_ip_header == ClientIpHeader::default();
    if !is_default && settings.http.trusted_proxies.is_empty() {
        findings.push(Diagnostic::warning(
            "http.client_ip_header has no effect without http.trusted_proxies: all visitors get the \
             proxy's address",
            "set http.trusted_proxies to the proxy's address or network",
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
    if let Some(limit) = getrlimit(Resource::Nofile).maximum.filter(|limit| *limit < wanted) {
        findings.push(Diagnostic::warning(
            format!("a process here may open {limit} files, too few for {connections} connections"),
            format!(
                "raise the limit (`ulimit -Hn {wanted}`), or lower http.max_connections or \
                 websocket.max_connections"
            ),
        ));
    }
    findings
}

/// Whether certificate and key can be used.
fn certificate(settings: &Settings) -> Option<Diagnostic> {
    let (file, key) = (settings.tls_cert.as_ref()?, settings.tls_key.as_ref()?);
    let (name, renew) = (file.display(), "renew it; a running process notices that by itself");
    Some(match ServerTls::load(file, key).map(|tls| tls.days_left()) {
        Ok(Some(days)) if days < 0 => {
            Diagnostic::problem(format!("the certificate in {name} has expired"), renew)
        }
        Ok(Some(days)) if days < RENEWAL_DAYS => {
            Diagnostic::warning(format!("the certificate in {name} expires in {days} days"), renew)
        }
        Ok(Some(days)) => {
            Diagnostic::good(format!("the certificate in {name} is valid for {days} more days"))
        }
        Ok(None) => Diagnostic::good(format!("the certificate in {name} can be used")),
        Err(error) => Diagnostic::problem(
            error.to_string(),
            "install the certificate with its chain and its private key, both as PEM files that the \
             service can read",
        ),
    })
}

/// Whether the HTTP server's address is free, or used by our own process.
fn address(settings: &Settings) -> Diagnostic {
    let taken = |what| {
        Diagnostic::problem(what, "choose another address with --listen, or stop that process")
    };
    check_address(settings, settings.listen, ADDRESS_FILE, taken)
}

/// The same for the WebSocket server, which at its default address is optional in a process that
/// also accepts events over HTTP.
fn websocket_address(settings: &Settings) -> Option<Diagnostic> {
    if !settings.roles.has(Role::Websocket) {
        return None;
    }
    let configured = settings.websocket.listen;
    let listen = configured.unwrap_or(WebSocketSettings::DEFAULT_LISTEN);
    let advice = "choose another address with --websocket-listen, or stop that process";
    Some(check_address(settings, listen, WEBSOCKET_ADDRESS_FILE, |what| {
        if configured.is_some() || !settings.roles.has(Role::Ingestion) {
            return Diagnostic::problem(what, advice);
        }
        Diagnostic::warning(format!("{what}: no WebSocket server"), advice)
    }))
}

/// Whether an address is in use; our own process publishes its address in `file`.
fn check_address(
    settings: &Settings,
    listen: SocketAddr,
    file: &str,
    taken: impl Fn(String) -> Diagnostic,
) -> Diagnostic {
    // It may have been started with another address than the default one, or any port.
    let is_open = listen.port() == 0
        || listen == Settings::default().listen
        || (listen == WebSocketSettings::DEFAULT_LISTEN && settings.websocket.listen.is_none());
    if is_open
        && let Some(process) = files::running(&settings.data_dir)
        && let Some(address) = announced(settings, file)
    {
        return listens(process, address);
    }
    match TcpListener::bind(listen) {
        Ok(_) => Diagnostic::good(format!("{listen} is free to listen on")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            match files::running(&settings.data_dir) {
                Some(process)
                    if announced(settings, file).is_some_and(|at| at.port() == listen.port()) =>
                {
                    listens(process, listen)
                }
                _ => taken(format!("another process listens on {listen}")),
            }
        }
        Err(error) => taken(format!("cannot listen on {listen}: {error}")),
    }
}

fn listens(process: u32, address: SocketAddr) -> Diagnostic {
    Diagnostic::good(format!("process {process} of this data dir listens on {address}"))
}

/// The address that the process of this data dir has published.
fn announced(settings: &Settings, file: &str) -> Option<SocketAddr> {
    std::fs::read_to_string(settings.data_dir.join(file)).ok()?.trim().parse().ok()
}
