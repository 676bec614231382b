//! The tokens at the start: the first one, and what to say while none is known.

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

/// The pause between tries to make the first token, and between looks whether one is known.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes the first token; where a server has to be there for it and is not, as soon as it is.
pub(super) async fn make_first(
    settings: &Settings,
    tokens: &Arc<dyn TokenStore>,
    data_dir: &Path,
    supervisor: &mut Supervisor,
) -> Result<()> {
    match auth::bootstrap(&**tokens, data_dir).await {
        Err(BootstrapError::Store(error)) if settings.redis_url.is_some() => {
            tracing::warn!(%error, "no tokens can be looked up until Redis is there; those used lately count");
        }
        made => return made.map(|_| ()).map_err(Into::into),
    }
    let (tokens, data_dir) = (Arc::clone(tokens), data_dir.to_path_buf());
    supervisor.spawn("making of the first token", |stop| async move {
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

/// Tells, in the console and in the program's own log, while no event can be accepted because no
/// token is known: their store is away, and this data dir has none that were used lately.
pub(super) fn tell_if_none(
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
    supervisor.spawn("look for tokens", move |stop| async move {
        let known = async {
            let outage = LogThrottle::default();
            while !authenticator.knows_tokens().await {
                if outage.failure().is_some() {
                    let reason = "their store is away, and none was used with this data dir lately";
                    let step = log.step(stage).uncounted();
                    step.error("Events are refused: no token is known", || {
                        [("reason".to_owned(), reason.into())].into_iter().collect()
                    });
                }
                tokio::time::sleep(PAUSE).await;
            }
            if outage.recovered().is_some() {
                tracing::info!("tokens are known, events are accepted");
                log.step(stage).uncounted().info("Tokens are known again", Default::default);
            }
        };
        stop.run_until_cancelled(known).await;
        stop.cancelled().await;
        Ok(())
    });
}
