//! `attach`: the console on another process's pipeline.

use std::sync::Arc;

use color_eyre::eyre::eyre;
use tokio_util::sync::CancellationToken;

use crate::cli::AttachArgs;
use crate::client;
use crate::config::Settings;
use crate::pipeline::bus::sse::{Endpoint, SseDebugStream};
use crate::tui::backend::RemoteBackend;
use crate::tui::{self, ConsoleEnd, ConsoleOptions};

/// Runs the console until it ends or `shutdown` says so.
///
/// # Errors
/// When the daemon refuses, what answers is none, or there is no terminal.
pub async fn run(
    args: &AttachArgs,
    settings: &Settings,
    shutdown: CancellationToken,
) -> color_eyre::Result<ConsoleEnd> {
    let base = client::base_url(args.daemon.url.as_deref(), settings)?;
    let token = client::given_token(args.daemon.token.as_deref());
    let endpoint = Endpoint::new(&base, token.as_deref())?;
    let endpoint = endpoint.after_history(settings.debug_history);
    let source = endpoint.origin();
    let client = client::client(settings)?;
    let backend = RemoteBackend::new(client.clone(), &base, token.as_deref());
    let backend = backend.map_err(|reason| eyre!(reason))?;
    let connected = tokio::select! {
        stream = SseDebugStream::connect(client, endpoint) => stream?,
        () = shutdown.cancelled() => return Ok(ConsoleEnd::Shutdown),
    };
    let options = ConsoleOptions {
        source,
        // It would need a token of the daemon, which is not known here.
        curl: None,
        settings: settings.console.clone(),
        alarm_depth: settings.queue.alarm_depth,
        no_color: tui::no_color(|name| std::env::var(name).ok()),
    };
    tui::run(options, Box::new(connected), Some(Arc::new(backend)), shutdown).await
}
