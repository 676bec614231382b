//! Tokens at the start: creates the first one, and reports while none is known.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::Result;

use super::lifecycle::Supervisor;
use crate::config::Settings;
use bklit_net::log_throttle::LogThrottle;
use bklit_pipeline::auth;
use bklit_pipeline::auth::{Authenticator, BootstrapError, TokenStore};
use bklit_pipeline::roles::Role;
use bklit_pipeline::telemetry::Telemetry;
use bklit_wire::debug_log::Stage;

/// The pause between attempts to create the first token, and between checks whether one is known.
const PAUSE: Duration = Duration::from_secs(1);

/// Creates the first token: now, or as soon as Redis is available.
pub(super) async fn make_first(
    settings: &Settings,
    tokens: &Arc<dyn TokenStore>,
    data_dir: &Path,
    supervisor: &mut Supervisor,
) -> Result<()> {
    match auth::bootstrap(&**tokens, data_dir).await {
        Err(BootstrapError::Store(error)) if settings.redis_url.is_some() => {
            tracing::warn!(%error, "cannot look up tokens until Redis is available; tokens used recently are accepted");
        }
        made => return made.map(|_| ()).map_err(Into::into),
    }
    let (tokens, data_dir) = (Arc::clone(tokens), data_dir.to_path_buf());
    supervisor.spawn("creation of the first token", |stop| async move {
        let made = async {
            loop {
                tokio::time::sleep(PAUSE).await;
                match auth::bootstrap(&*tokens, &data_dir).await {
                    Err(BootstrapError::Store(_)) => {}
                    made => return made.map(|_| ()),
                }
            }
        };
        if let Some(Err(error)) = stop.run_until_cancelled(made).await {
            return Err(error.into());
        }
        stop.cancelled().await;
        Ok(())
    });
    Ok(())
}

/// Reports, in the console and in the program's own log, while no event can be accepted because no
/// token is known: their store is unavailable, and none was used recently with this data dir.
pub(super) fn report_while_none(
    settings: &Settings,
    authenticator: &Arc<Authenticator>,
    log: &Arc<Telemetry>,
    supervisor: &mut Supervisor,
) {
    let stage = match [Role::Ingestion, Role::Websocket].map(|role| settings.roles.has(role)) {
        [true, _] => Stage::Ingestion,
        [false, true] => Stage::Websocket,
        [false, false] => return,
    };
    let (authenticator, log) = (Arc::clone(authenticator), Arc::clone(log));
    supervisor.spawn("check for tokens", move |stop| async move {
        let known = async {
            let outage = LogThrottle::default();
            while !authenticator.knows_tokens().await {
                if outage.failure().is_some() {
                    let reason =
                        "their store is unavailable, and none was used recently with this data dir";
                    let step = log.step(stage).uncounted();
                    step.error("Events are refused: no token is known", || {
                        [("reason".to_owned(), reason.into())].into_iter().collect()
                    });
                }
                tokio::time::sleep(PAUSE).await;
            }
            if outage.recovered().is_some() {
                tracing::info!("tokens are known, accepting events");
                log.step(stage).uncounted().info("Tokens are known again", Default::default);
            }
        };
        stop.run_until_cancelled(known).await;
        stop.cancelled().await;
        Ok(())
    });
}
