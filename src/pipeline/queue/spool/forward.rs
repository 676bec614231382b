//! Moves a batch of the spool's events to the queue.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use crate::queue::{Claim, NewItem, QueueError, Rejected};
use bklit_wire::event::QueuedEvent;

impl Shared {
    pub(super) async fn move_batch(&self, batch: &Claim) -> Result<(), QueueError> {
        let mut events = Vec::with_capacity(batch.items.len());
        let mut seqs = Vec::with_capacity(batch.items.len());
        let mut rejected = Vec::new();
        let mut settled = HashMap::new();
        for item in &batch.items {
            match QueuedEvent::from_json(&item.body) {
                Ok(mut event) => {
                    let is_in = match event.push_ticket.take() {
                        Some(ticket) => self.is_in(&mut settled, ticket).await?,
                        None => false,
                    };
                    if !is_in {
                        events.push(event);
                        seqs.push(item.seq);
                    }
                }
                Err(error) => rejected.push(Rejected { seq: item.seq, reason: error.to_string() }),
            }
        }
        match self.queue.push_in_order(&events).await {
            // When the batch is moved again, the queue recognises the events it already has.
            Ok(moved) if moved < events.len() => {
                return Err(QueueError::Unavailable("it is full".to_owned()));
            }
            Ok(_) => {}
            Err(QueueError::IdTaken) => {
                rejected.extend(self.move_one_by_one(events, &seqs).await?);
            }
            Err(error) => return Err(error),
        }
        self.spool.acknowledge(&batch.id, &rejected).await
    }

    /// Moves events to the queue; returns those whose id has meanwhile been used for a different
    /// event.
    async fn move_one_by_one(
        &self,
        events: Vec<QueuedEvent>,
        seqs: &[i64],
    ) -> Result<Vec<Rejected>, QueueError> {
        let mut rejected = Vec::new();
        for (event, &seq) in events.into_iter().zip(seqs) {
            match self.queue.push(NewItem { event: Arc::new(event), client_id: true }).await {
                Ok(_) => {}
                Err(error @ QueueError::IdTaken) => {
                    rejected.push(Rejected { seq, reason: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(rejected)
    }

    /// Whether the push with this ticket was executed after all. Many events share a ticket.
    async fn is_in(
        &self,
        settled: &mut HashMap<String, bool>,
        ticket: String,
    ) -> Result<bool, QueueError> {
        if let Some(&is_in) = settled.get(&ticket) {
            return Ok(is_in);
        }
        let is_in = self.queue.settle(&ticket).await?;
        settled.insert(ticket, is_in);
        Ok(is_in)
    }
}
