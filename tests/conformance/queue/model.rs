//! Random sequences of calls, compared with a model of a queue.

use std::collections::{BTreeMap, VecDeque};

use bklit_pipeline::queue::Order;
use proptest::prelude::*;

use super::*;

/// A step of the model-based test; numbers select one of the previous claims.
#[derive(Clone, Debug)]
enum Step {
    Push,
    /// With an id of the client's, of few, and one of two contents.
    PushChosen {
        id: u8,
        content: bool,
    },
    Claim {
        most: usize,
        held: bool,
    },
    Acknowledge {
        claim: usize,
        reject: bool,
    },
    Renew {
        claim: usize,
    },
    Release {
        claim: usize,
    },
    RetryFailed,
    DeleteFailed,
    DeleteWaiting {
        position: usize,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Push),
        2 => (0..3u8, any::<bool>()).prop_map(|(id, content)| Step::PushChosen { id, content }),
        3 => (1..4usize, any::<bool>()).prop_map(|(most, held)| Step::Claim { most, held }),
        3 => (0..8usize, any::<bool>()).prop_map(|(claim, reject)| Step::Acknowledge { claim, reject }),
        1 => (0..8usize).prop_map(|claim| Step::Renew { claim }),
        1 => (0..8usize).prop_map(|claim| Step::Release { claim }),
        1 => Just(Step::RetryFailed),
        1 => Just(Step::DeleteFailed),
        1 => (0..4usize).prop_map(|position| Step::DeleteWaiting { position }),
        1 => Just(Step::Reopen),
    ]
}

/// The simplest model of a queue.
#[derive(Default)]
struct ModelQueue {
    waiting: VecDeque<String>,
    batches: BTreeMap<String, ModelBatch>,
    failed: Vec<String>,
    chosen: BTreeMap<u8, bool>,
}

struct ModelBatch {
    epoch: u64,
    held: bool,
    ids: Vec<String>,
}

impl ModelQueue {
    fn check_claim(&mut self, claim: Option<&Claim>, most: usize, held: bool) {
        let abandoned = self.batches.values().any(|batch| !batch.held);
        let Some(claim) = claim else {
            assert!(self.waiting.is_empty() && !abandoned, "there was something to claim");
            return;
        };
        if abandoned {
            let batch = self.batches.get_mut(&claim.id.batch).expect("a known batch");
            assert!(!batch.held && claim.id.epoch > batch.epoch);
            assert_eq!(ids(claim), batch.ids);
            (batch.epoch, batch.held) = (claim.id.epoch, held);
        } else {
            let expected: Vec<_> = self.waiting.drain(..most.min(self.waiting.len())).collect();
            assert_eq!(ids(claim), expected);
            let batch = ModelBatch { epoch: claim.id.epoch, held, ids: expected };
            assert!(self.batches.insert(claim.id.batch.clone(), batch).is_none());
        }
    }

    fn holds(&self, claim: &Claim) -> bool {
        self.batches.get(&claim.id.batch).is_some_and(|batch| batch.epoch == claim.id.epoch)
    }

    fn stats(&self) -> [u64; 3] {
        let in_flight: usize = self.batches.values().map(|batch| batch.ids.len()).sum();
        [self.waiting.len() as u64, in_flight as u64, self.failed.len() as u64]
    }
}

async fn run_against_model(fixture: &mut dyn Fixture, steps: Vec<Step>) {
    let mut model = ModelQueue::default();
    let mut claims: Vec<Claim> = Vec::new();
    let mut pushed = 0;
    for step in steps {
        let queue = fixture.queue();
        match step {
            Step::Push => {
                pushed += 1;
                let id = format!("evt_{pushed}");
                match queue.push(item(&id, false)).await {
                    Ok(_) => model.waiting.push_back(id),
                    Err(error) => assert!(matches!(error, QueueError::Full { .. })),
                }
            }
            Step::PushChosen { id, content } => {
                let name = format!("chosen_{id}");
                let new =
                    if content { other(&name, another_title) } else { super::item(&name, true) };
                match (queue.push(new).await, model.chosen.get(&id)) {
                    (Ok(Pushed::Queued), None) => {
                        model.chosen.insert(id, content);
                        model.waiting.push_back(name);
                    }
                    (Ok(Pushed::Duplicate), Some(known)) => assert_eq!(*known, content),
                    (Err(QueueError::IdTaken), Some(known)) => assert_ne!(*known, content),
                    (Err(QueueError::Full { .. }), None) => {}
                    (pushed, known) => panic!("{pushed:?}, known: {known:?}"),
                }
            }
            Step::Claim { most, held } => {
                let lease = if held { LEASE } else { NO_LEASE };
                let claim = queue.claim(most, lease).await.unwrap();
                model.check_claim(claim.as_ref(), most, held);
                claims.extend(claim);
            }
            Step::Acknowledge { claim, reject } => {
                let Some(claim) = claims.get(claim) else { continue };
                let reason = "rejected".to_owned();
                let rejects: Vec<_> = reject
                    .then(|| Rejected { seq: claim.items[0].seq, reason })
                    .into_iter()
                    .collect();
                let holds = model.holds(claim);
                assert_eq!(queue.acknowledge(&claim.id, &rejects).await.is_ok(), holds);
                if holds {
                    let batch = model.batches.remove(&claim.id.batch).unwrap();
                    model.failed.extend(batch.ids.into_iter().take(rejects.len()));
                }
            }
            Step::Renew { claim } => {
                let Some(claim) = claims.get(claim) else { continue };
                let holds = model.holds(claim);
                assert_eq!(queue.renew(&claim.id, LEASE).await.is_ok(), holds);
                model.batches.entry(claim.id.batch.clone()).and_modify(|b| b.held |= holds);
            }
            Step::Release { claim } => {
                let Some(claim) = claims.get(claim) else { continue };
                let holds = model.holds(claim);
                assert_eq!(queue.release(&claim.id).await.is_ok(), holds);
                model.batches.entry(claim.id.batch.clone()).and_modify(|b| b.held &= !holds);
            }
            Step::RetryFailed => {
                let failed = queue.failed(None, 1).await.unwrap().items;
                assert_eq!(failed.len(), model.failed.len().min(1));
                if let Some(failed) = failed.first() {
                    assert_eq!(
                        queue.retry_failed(std::slice::from_ref(&failed.id)).await.unwrap(),
                        1
                    );
                    model.waiting.push_back(model.failed.pop().unwrap());
                }
            }
            Step::DeleteFailed => {
                let oldest = queue.failed(None, 100).await.unwrap().items.pop();
                let chosen: Vec<_> = oldest.iter().map(|failed| failed.id.clone()).collect();
                assert_eq!(queue.delete_failed(&chosen).await.unwrap(), chosen.len() as u64);
                model.failed.drain(..chosen.len());
            }
            Step::DeleteWaiting { position } => {
                let waiting = queue.waiting(Order::OldestFirst, None, 100).await.unwrap().items;
                let shown =
                    waiting.iter().map(|item| QueuedEvent::from_json(&item.body).unwrap().id);
                assert!(shown.eq(model.waiting.iter().cloned()));
                let chosen: Vec<_> =
                    waiting.get(position).map(|w| w.id.clone()).into_iter().collect();
                assert_eq!(queue.delete_waiting(&chosen).await.unwrap(), chosen.len() as u64);
                chosen.iter().for_each(|_| drop(model.waiting.remove(position)));
            }
            Step::Reopen => {
                drop(queue);
                fixture.reopen();
                let survive = fixture.leases_survive();
                model.batches.values_mut().for_each(|batch| batch.held &= survive);
                continue;
            }
        }
        assert_eq!(stats(&*queue).await, model.stats());
        let batches = queue.batches(100).await.unwrap();
        assert_eq!(batches.len(), model.batches.len());
        for batch in batches {
            let known = &model.batches[&batch.id];
            assert_eq!((batch.items, batch.epoch), (known.ids.len() as u64, known.epoch));
            assert_eq!(batch.lease_left_ms > 0, known.held, "{batch:?}");
        }
    }
}

pub fn matches_the_model(fixture: impl Fn() -> Box<dyn Fixture>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config =
        ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..60))| {
        runtime.block_on(async { run_against_model(&mut *fixture(), steps).await });
    });
}
