//! Looks up the definitions of a batch's custom events before the batch is stored.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::bisect::Stopped;
use super::parse::Item;
use super::{WorkerContext, details};
use crate::definitions::DefinitionName;
use crate::metrics::Part;
use crate::queue::Rejected;
use crate::who::Traits;
use bklit_net::backoff::Backoff;
use bklit_net::timeout::no_response;
use bklit_wire::debug_log::Stage;
use bklit_wire::event::Payload;

/// The longest a lookup may take before it is retried.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sets the definition id of each custom event of `items`, retrying for as long as necessary. Removes
/// the events whose definition does not exist, and returns them with the reason.
pub(super) async fn resolve(
    context: &WorkerContext,
    batch: &str,
    items: &mut Vec<Item>,
    shutdown: &CancellationToken,
) -> Result<Vec<Rejected>, Stopped> {
    let names = DefinitionName::all(items.iter().map(|item| &item.event));
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let ids = find(context, &names, shutdown).await?;
    let mut rejected = Vec::new();
    items.retain_mut(|item| {
        let Some(name) = DefinitionName::of(&item.event) else { return true };
        if let (Some(id), Payload::Event(custom)) = (ids.get(&name), &mut item.event.payload) {
            custom.definition_id = Some(id.clone());
            return true;
        }
        let reason = format!(
            "no event definition \"{}\" in project \"{}\"; create it in Bklit and retry",
            name.tracking_id, name.project_id
        );
        context.log.metrics().who().failed(|| Traits::of(&item.event));
        let step = context.log.step(Stage::Worker);
        let step = step.event(&item.event.id).project(&item.event.project_id);
        step.error("Event without a definition, moved to the failed queue", || {
            details(json!({ "batchId": batch, "reason": reason }))
        });
        rejected.push(Rejected { seq: item.seq, reason });
        false
    });
    Ok(rejected)
}

/// Retries until there is a result; only a shutdown ends it early.
async fn find(
    context: &WorkerContext,
    names: &[DefinitionName],
    shutdown: &CancellationToken,
) -> Result<HashMap<DefinitionName, String>, Stopped> {
    let mut backoff = Backoff::new(context.settings.max_backoff);
    loop {
        let reason = match timeout(TIMEOUT, context.definitions.find(names)).await {
            Ok(Ok(ids)) => {
                context.works(Part::Worker);
                return Ok(ids);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => no_response(TIMEOUT),
        };
        context.worker_failed("Cannot look up event definitions, retrying", &reason);
        if shutdown.run_until_cancelled(backoff.pause()).await.is_none() {
            return Err(Stopped);
        }
    }
}
