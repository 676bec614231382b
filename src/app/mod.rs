//! The composition root: reads the settings, chooses the adapters, and starts and stops the parts in
//! order. Nothing else names an adapter.
//!
//! - `adapters`: the adapter behind each port
//! - `alerts`: alerts of a pipeline without a console
//! - `data_dir`: the data dir and its lock
//! - `doctor`: the checks of `bklit-tui doctor`
//! - `filters`: the filters, with their file
//! - `lifecycle`: supervised tasks, signals, shutdown
//! - `listeners`: the servers of a pipeline
//! - `location`: the location database
//! - `notify`: notifications to systemd
//! - `pipeline`: a running pipeline
//! - `servers`: warns when a command's settings differ from the pipeline's
//! - `tokens`: the first token, and reports while none is known
//! - `watched`: a Redis that commands follow

mod adapters;
mod alerts;
pub mod data_dir;
mod doctor;
mod filters;
mod gauges;
mod lifecycle;
mod listeners;
mod location;
mod notify;
mod pipeline;
mod servers;
mod tokens;
mod watched;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{Result, WrapErr, bail};
use rustix::fs::Mode;
use tokio_util::sync::CancellationToken;

use crate::cli::{
    AttachArgs, Cli, Command, DaemonArgs, LogsArgs, QueueArgs, QueueCommand, TokenCommand,
};
use crate::commands;
use crate::commands::attach::Watched;
use crate::commands::logs::{Followed, Wanted};
use crate::config;
use crate::config::{Environment, Settings};
use crate::logging;
use bklit_console::{ConsoleEnd, Source};
use bklit_pipeline::auth;
use bklit_pipeline::roles::Role;
use data_dir::DataDir;
use lifecycle::{
    Supervisor, is_hang_up_ignored, raise_file_limit, watch_signals, watch_signals_during_editors,
    within,
};
use notify::ServiceManager;
use pipeline::Pipeline;
use watched::WatchedRedis;

/// Installs the panic report; call it once, first.
///
/// # Errors
/// When another handler is already installed.
pub fn install_panic_report() -> Result<()> {
    color_eyre::config::HookBuilder::default().display_env_section(false).install()
}

/// Runs the command line.
///
/// # Errors
/// Errors are for the user: what happened and what to do.
pub fn run(cli: Cli) -> Result<ExitCode> {
    // Files of this program (tokens, visitors' data, logs) are readable only by their owner.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    if let Some(Command::Completions { shell }) = cli.command {
        commands::completions::run(shell)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (file, flags) = (cli.global.config.as_deref(), cli.global.overrides());
    let mut settings = Settings::load(file, &Environment::of_process(), &flags)?;
    settings.record.clone_from(&cli.global.record);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .wrap_err("cannot start the runtime")?;
    let outcome = runtime.block_on(dispatch(cli.command, &settings));
    // A blocked file system must not delay the exit of the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

async fn dispatch(command: Option<Command>, settings: &Settings) -> Result<ExitCode> {
    if command.as_ref().is_some_and(needs_servers)
        && let Some(difference) = servers::difference(settings)
    {
        difference.lines().for_each(|line| eprintln!("{}", bklit_wire::text::safe(line)));
    }
    match command {
        None => return run_pipeline(settings).await,
        Some(Command::Token(args)) => {
            if !matches!(args.command, TokenCommand::Create { .. }) {
                adapters::require_tokens(settings)?;
            }
            commands::token::run(&args, settings, &*adapters::tokens(settings)?).await?;
        }
        Some(Command::Sql(args)) => {
            commands::sql::run(&args, &*adapters::store(settings)?).await?;
        }
        Some(Command::Migrate { dry_run, cluster }) => {
            let statements = adapters::migrate(settings, cluster.as_deref(), dry_run).await?;
            commands::migrate::run(&statements, dry_run)?;
        }
        Some(Command::Queue(args)) => return run_queue(&args, settings).await,
        Some(Command::Refused(args)) => return commands::refused::run(&args, settings).await,
        Some(Command::Verify(args)) => {
            let store = || adapters::baseline(settings);
            let queue = adapters::queues(settings).ok().map(|queues| queues.queue);
            return Ok(commands::verify::run(&args, settings.verify.settle, store, queue).await);
        }
        Some(Command::Simulate(args)) => commands::simulate::run(&args, settings).await?,
        Some(Command::Attach(args)) => attach(&args, settings).await?,
        Some(Command::Replay(args)) => {
            data_dir::require_if_chosen(&settings.data_dir)?;
            log_to_file(settings)?;
            let shutdown = CancellationToken::new();
            watch_signals(shutdown.clone(), false, exit_at_once)?;
            commands::replay::run(&args, settings, shutdown).await?;
        }
        Some(Command::Doctor { json }) => {
            return commands::doctor::run(&Box::pin(doctor::examine(settings)).await?, json);
        }
        Some(Command::Logs(args)) => logs(&args, settings).await?,
        Some(Command::Completions { .. }) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a command accesses queue, tokens or store directly.
fn needs_servers(command: &Command) -> bool {
    match command {
        Command::Token(_)
        | Command::Queue(_)
        | Command::Sql(_)
        | Command::Verify(_)
        | Command::Migrate { .. } => true,
        Command::Simulate(_)
        | Command::Attach(_)
        | Command::Replay(_)
        | Command::Logs(_)
        | Command::Refused(_)
        | Command::Doctor { .. }
        | Command::Completions { .. } => false,
    }
}

async fn attach(args: &AttachArgs, settings: &Settings) -> Result<()> {
    data_dir::require_if_chosen(&settings.data_dir)?;
    log_to_file(settings)?;
    let shutdown = CancellationToken::new();
    watch_signals(shutdown.clone(), false, exit_at_once)?;
    let watched = watched_redis(&args.daemon, settings)?.map(|redis| Watched {
        source: format!("Redis {}", redis.address),
        stream: redis.follow(settings.debug_history),
        backend: redis.into_backend(),
    });
    commands::attach::run(args, settings, watched, shutdown).await?;
    Ok(())
}

async fn logs(args: &LogsArgs, settings: &Settings) -> Result<()> {
    // Dropping it would close its connection.
    let redis = watched_redis(&args.daemon, settings)?;
    let lines = redis.as_ref().map(|redis| Followed {
        source: format!("Redis {}", redis.address),
        stream: match commands::logs::wanted(args) {
            Wanted::New => redis.subscribe(),
            Wanted::KeptAndNew(lines) => redis.subscribe_after(lines),
            Wanted::Kept(lines) => redis.recall(lines),
        },
    });
    commands::logs::run(args, settings, lines).await
}

/// The Redis to follow, if that is what the URL names.
fn watched_redis(daemon: &DaemonArgs, settings: &Settings) -> Result<Option<WatchedRedis>> {
    let Some(url) = daemon.url.as_deref().filter(|url| config::is_redis(url)) else {
        return Ok(None);
    };
    if daemon.token.is_some() {
        bail!("--token is for daemons; Redis takes user and password in its URL");
    }
    WatchedRedis::new(settings, url).map(Some)
}

async fn run_queue(args: &QueueArgs, settings: &Settings) -> Result<ExitCode> {
    let QueueCommand::Drain { timeout } = args.command else {
        let queues = adapters::queues(settings)?;
        let signals = || watch_signals_during_editors(is_hang_up_ignored(), exit_at_once);
        return commands::queue::run(args, &queues, &settings.data_dir, signals).await;
    };
    let shutdown = CancellationToken::new();
    watch_signals(shutdown.clone(), is_hang_up_ignored(), exit_at_once)?;
    let drain = adapters::drain(settings).await?;
    commands::queue::drain(drain, timeout, settings.shutdown_timeout, shutdown).await
}

/// The console owns the screen, so the program's own log goes to a file.
fn log_to_file(settings: &Settings) -> Result<()> {
    data_dir::create(&settings.data_dir)?;
    logging::to_file(&settings.log, &settings.data_dir)
        .wrap_err_with(|| format!("cannot write the log in {}", settings.data_dir.display()))?;
    Ok(())
}

/// Handles the second signal.
fn exit_at_once(signal: i32) {
    bklit_console::terminal::give_back();
    std::process::exit(128 + signal);
}

/// Runs the pipeline, with the console or as a daemon.
async fn run_pipeline(settings: &Settings) -> Result<ExitCode> {
    if !settings.no_ui {
        // Before creating or locking anything.
        bklit_console::require_terminal()?;
    }
    let data_dir = DataDir::take(&settings.data_dir)?;
    servers::record(settings, &data_dir)?;
    if settings.no_ui {
        logging::to_stderr(&settings.log);
    } else {
        log_to_file(settings)?;
    }
    settings.notes.iter().for_each(|note| logging::diagnostic("settings", note));
    raise_file_limit();
    let shutdown = CancellationToken::new();
    // A hang-up closes the console's terminal; a daemon under nohup survives it.
    let ignore_hang_up = settings.no_ui && is_hang_up_ignored();
    watch_signals(shutdown.clone(), ignore_hang_up, exit_at_once)?;

    let mut supervisor = Supervisor::default();
    let pipeline = Pipeline::start(settings, &data_dir, &shutdown, &mut supervisor).await?;
    let manager = Arc::new(ServiceManager::from_environment(|name| std::env::var(name).ok()));
    let (notifier, metrics) = (Arc::clone(&manager), pipeline.metrics());
    supervisor
        .spawn("service manager notifications", |stop| notifier.keep_notifying(metrics, stop));
    manager.ready();
    let console = async {
        if settings.no_ui {
            shutdown.cancelled().await;
            return Ok(());
        }
        run_console(settings, &pipeline, &data_dir, shutdown.clone()).await
    };
    let outcome = tokio::select! {
        outcome = console => outcome,
        failure = supervisor.unexpected_end() => {
            tracing::error!(error = format!("{failure:#}"), "stopping because a part failed");
            Err(failure)
        }
    };
    // From here on, `/ready` answers 503.
    shutdown.cancel();
    manager.stopping();
    let outcome = match outcome {
        Ok(()) => wait_for_load_balancers(settings, &mut supervisor).await,
        failure => failure,
    };
    let stopped = within(settings.shutdown_timeout, "shutdown", supervisor.stop()).await;
    if let Err(error) = &stopped {
        tracing::error!(error = format!("{error:#}"), "shutdown failed");
    } else {
        tracing::info!("stopped");
    }
    outcome.and(stopped).map(|()| ExitCode::SUCCESS)
}

/// Keeps accepting events for `shutdown_delay`, until load balancers have stopped sending.
async fn wait_for_load_balancers(settings: &Settings, supervisor: &mut Supervisor) -> Result<()> {
    if settings.shutdown_delay.is_zero() {
        return Ok(());
    }
    tracing::info!(delay = ?settings.shutdown_delay, "accepting events until the shutdown delay has passed");
    tokio::select! {
        () = tokio::time::sleep(settings.shutdown_delay) => Ok(()),
        failure = supervisor.unexpected_end() => Err(failure),
    }
}

async fn run_console(
    settings: &Settings,
    pipeline: &Pipeline,
    data_dir: &DataDir,
    shutdown: CancellationToken,
) -> Result<()> {
    let source = source(settings, pipeline.address());
    let mut options = commands::console_options(source, settings);
    options.stops_pipeline = true;
    if settings.roles.has(Role::Ingestion) {
        options.curl = Some(curl_line(settings, pipeline, data_dir).await);
    }
    let lines = Source::Bus(pipeline.debug_bus().subscribe_after(settings.debug_history));
    match bklit_console::run(options, lines, Some(pipeline.backend()), shutdown).await? {
        ConsoleEnd::Quit | ConsoleEnd::Shutdown => {}
        ConsoleEnd::HungUp => tracing::info!("the terminal was closed, stopping"),
    }
    Ok(())
}

/// The name of this pipeline in the console and in alerts: where it listens, and its servers.
fn source(settings: &Settings, address: SocketAddr) -> String {
    match servers::named(settings).as_str() {
        "" => format!("embedded {address}"),
        servers => format!("{address} ({servers})"),
    }
}

/// A request that works as pasted, while the token from the first start is valid; without it, one
/// that takes the token from the shell's environment.
async fn curl_line(settings: &Settings, pipeline: &Pipeline, data_dir: &DataDir) -> String {
    let first = async {
        let secret = auth::default_token(data_dir.path())?;
        let token = pipeline.tokens().find(&secret.hash()).await.ok().flatten()?;
        Some((secret.expose().to_owned(), token.projects.first()?.clone()))
    };
    let (header, project) = match first.await {
        Some((secret, project)) => (format!("'Authorization: Bearer {secret}'"), project),
        None => {
            let variable = crate::client::TOKEN_VARIABLE;
            (format!("'Authorization: Bearer '${variable}"), "default".to_owned())
        }
    };
    let address = pipeline.address();
    let host = if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    let body = serde_json::json!({ "url": "https://example.com/hello", "projectId": project });
    let (curl, scheme) = (commands::curl(settings), settings.http_scheme());
    format!(
        "{curl} -X POST {scheme}://{host}/track -H {header} \
         -H 'Content-Type: application/json' -d '{body}'"
    )
}
