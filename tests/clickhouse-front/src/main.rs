//! The ClickHouse HTTP interface over the engine as a library (`libchdb.so`), for tests
//! on machines without a ClickHouse server. One process opens one data directory.
//!
//! In addition to the interface: `POST /fault` adds a fault (see [`fault::Fault`]), `GET /fault`
//! shows them with counts, `DELETE /fault` removes them, `GET /log` shows the statements that
//! arrived.

mod compression;
mod engine;
mod exception;
mod execute;
mod fault;
mod request;
mod server;
mod sql;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::engine::Engine;
use crate::server::Front;

/// ClickHouse's HTTP interface over libchdb.so, for tests.
#[derive(Parser)]
struct Arguments {
    /// The engine, as scripts/servers.sh provides it.
    #[arg(long, env = "BKLIT_TEST_LIBCHDB")]
    library: PathBuf,
    /// Data directory; it is created when missing.
    #[arg(long)]
    path: PathBuf,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// File to write the address to once connections are accepted.
    #[arg(long)]
    address_file: Option<PathBuf>,
    /// Accept only this user; without it, any user.
    #[arg(long)]
    user: Option<String>,
    #[arg(long, default_value = "", requires = "user")]
    password: String,
    /// Exit when standard input is closed, so that no test run leaves a server behind.
    #[arg(long)]
    exit_with_stdin: bool,
    /// Remove the data directory on a clean exit.
    #[arg(long)]
    temporary: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clickhouse-front: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    std::fs::create_dir_all(&arguments.path)
        .map_err(|error| format!("{}: {error}", arguments.path.display()))?;
    let engine = Engine::open(&arguments.library, &arguments.path)?;
    let account = arguments.user.map(|user| (user, arguments.password));
    let front = Arc::new(Front::new(engine, account)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(serve(
        &front,
        arguments.listen,
        arguments.address_file.as_deref(),
        arguments.exit_with_stdin,
    ))?;
    // Requests that still hang are dropped here, and with the last of them the engine.
    runtime.shutdown_background();
    drop(front);
    if arguments.temporary {
        std::fs::remove_dir_all(&arguments.path)
            .map_err(|error| format!("{}: {error}", arguments.path.display()))?;
    }
    Ok(())
}

async fn serve(
    front: &Arc<Front>,
    listen: SocketAddr,
    address_file: Option<&Path>,
    exit_with_stdin: bool,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{listen}: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (closed, stdin) = oneshot::channel::<()>();
    if exit_with_stdin {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = closed.send(());
        });
    } else {
        // Never sent and never dropped: only signals end the process.
        std::mem::forget(closed);
    }
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    println!("{address}");
    if let Some(file) = address_file {
        publish(file, address).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let end = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = stdin => {}
        }
    };
    front.serve(listener, end).await;
    Ok(())
}

/// The file appears with its content, so that a reader never sees half of it.
fn publish(file: &Path, address: SocketAddr) -> std::io::Result<()> {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, address.to_string())?;
    std::fs::rename(&draft, file)
}
