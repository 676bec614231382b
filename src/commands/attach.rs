//! `attach`: opens the console on another process's pipeline, over its event stream or over Redis.

use std::sync::Arc;

use color_eyre::eyre::eyre;
use tokio_util::sync::CancellationToken;

use crate::cli::AttachArgs;
use crate::client;
use crate::config::Settings;
use bklit_console::{ConsoleEnd, Source};
use bklit_remote::backend::RemoteBackend;
use bklit_remote::sse::{Endpoint, SseDebugStream};
use bklit_wire::backend::Backend;
use bklit_wire::debug_bus::DebugStream;

/// A stream to follow other than a daemon's.
pub struct Watched {
    /// Its name.
    pub source: String,
    /// Its messages.
    pub stream: Box<dyn DebugStream>,
    /// Its queries and changes.
    pub backend: Arc<dyn Backend>,
}

/// Runs the console until the user quits or `shutdown` is cancelled.
///
/// # Errors
/// When the daemon refuses, the server is not a daemon, or there is no terminal.
pub async fn run(
    args: &AttachArgs,
    settings: &Settings,
    watched: Option<Watched>,
    shutdown: CancellationToken,
) -> color_eyre::Result<ConsoleEnd> {
    let options = |source| super::console_options(source, settings);
    if let Some(Watched { source, stream, backend }) = watched {
        let lines = Source::Bus(stream);
        return bklit_console::run(options(source), lines, Some(backend), shutdown).await;
    }
    let base = client::base_url(args.daemon.url.as_deref(), settings)?;
    let token = client::given_token(args.daemon.token.as_deref());
    let endpoint = Endpoint::new(&base, token.as_deref())?;
    let endpoint = endpoint.after_history(settings.debug_history);
    let source = endpoint.origin();
    let client = client::connect(settings)?;
    let backend = RemoteBackend::new(client.clone(), &base, token.as_deref());
    let backend = backend.map_err(|reason| eyre!(reason))?;
    let connected = tokio::select! {
        stream = SseDebugStream::connect(client, endpoint) => stream?,
        () = shutdown.cancelled() => return Ok(ConsoleEnd::Shutdown),
    };
    let lines = Source::Bus(Box::new(connected));
    let mut options = options(source);
    // The pipeline with these settings runs the same alert command itself.
    options.alerts_run_elsewhere = args.daemon.url.is_none() && settings.alerts.daemon;
    bklit_console::run(options, lines, Some(Arc::new(backend)), shutdown).await
}
