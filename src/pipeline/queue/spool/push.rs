//! Pushes events to the spool.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{PushResult, Shared};
use crate::queue::{NewItem, QueueError};

impl Shared {
    /// Adds items to the spool; `reason` is why the queue did not accept them.
    pub(super) async fn push_to_spool(
        &self,
        items: Vec<NewItem>,
        reason: Option<&str>,
    ) -> Vec<PushResult> {
        if let Some(refusal) = self.refusal().clone() {
            return vec![Err(refusal); items.len()];
        }
        let mut results = self.spool.push_many(items).await;
        let added = results.iter().filter(|result| result.is_ok()).count() as u64;
        if added > 0 && self.check().await.is_err() {
            self.spooled.fetch_add(added, Ordering::Relaxed);
        }
        self.filled.notify_one();
        for result in &mut results {
            if let (Err(QueueError::Unavailable(spool)), Some(reason)) = (&result, reason) {
                let reason = format!("{reason}, and so is its spool: {spool}");
                *result = Err(QueueError::Unavailable(reason));
            }
        }
        results
    }

    /// Puts the items that the queue may not have into the spool. `results` are the queue's, one for
    /// each item.
    pub(super) async fn divert(
        &self,
        items: Vec<NewItem>,
        mut results: Vec<PushResult>,
    ) -> Vec<PushResult> {
        let (mut places, mut diverted, mut why) = (Vec::new(), Vec::new(), None);
        let mut lanes = 0;
        for (place, (mut item, result)) in items.into_iter().zip(&results).enumerate() {
            let reason = match result {
                Err(QueueError::InDoubt { reason, ticket }) => {
                    Arc::make_mut(&mut item.event).push_ticket = Some(ticket.clone());
                    reason.clone()
                }
                Err(error @ QueueError::Unavailable(_)) => error.to_string(),
                _ => continue,
            };
            lanes |= self.lane(&item);
            places.push(place);
            diverted.push(item);
            why = Some(reason);
        }
        let Some(reason) = why else { return results };
        let _pushing = self.gate.read().await;
        if self.spooling.fetch_or(lanes, Ordering::AcqRel) == 0 {
            tracing::warn!(reason, "the queue is unavailable; events go to the spool");
        }
        let spooled = self.push_to_spool(diverted, Some(&reason)).await;
        for (place, result) in places.into_iter().zip(spooled) {
            results[place] = result;
        }
        results
    }
}
