//! A minute as bytes, for stores: Protocol Buffers, so that other versions can read what they know of
//! it. Never change the type or the number of a field; append new ones.

use prost::Message;

use super::Minute;
use bklit_wire::gauges::About;
use bklit_wire::history::{
    Buckets, MAX_PROJECTS, MINUTE, ProjectTotals, QueuePeaks, StageTotals, Totals,
};
use bklit_wire::time::UtcMillis;

/// The most bytes of a minute. An idle process's has about 70, a busy one's about 1,000; one with all
/// latencies from 1 µs to an hour and long names reaches this.
pub const MAX_MINUTE_BYTES: usize = 16 * 1024;

/// The most characters of a name in it.
const MAX_NAME: usize = 64;

/// A minute cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not a minute of figures: {0}")]
pub struct InvalidMinute(String);

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(string, tag = "1")]
    process: String,
    /// Minutes since the epoch.
    #[prost(int64, tag = "2")]
    minute: i64,
    #[prost(string, tag = "3")]
    host: String,
    #[prost(string, tag = "4")]
    version: String,
    #[prost(string, tag = "5")]
    roles: String,
    /// Milliseconds since the epoch; 0 if unknown.
    #[prost(int64, tag = "6")]
    since: i64,
    #[prost(uint64, tag = "7")]
    accepted: u64,
    #[prost(uint64, tag = "8")]
    refused: u64,
    #[prost(uint64, tag = "9")]
    throttled: u64,
    #[prost(uint64, tag = "10")]
    filtered: u64,
    #[prost(message, repeated, tag = "11")]
    stages: Vec<StoredStage>,
    #[prost(uint64, repeated, tag = "12")]
    accept_to_stored: Vec<u64>,
    #[prost(message, optional, tag = "13")]
    queue: Option<StoredQueue>,
    #[prost(message, repeated, tag = "14")]
    projects: Vec<StoredProject>,
    #[prost(uint64, tag = "15")]
    number: u64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredStage {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(uint64, tag = "2")]
    warnings: u64,
    #[prost(uint64, tag = "3")]
    errors: u64,
    #[prost(uint64, repeated, tag = "4")]
    latencies: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredQueue {
    #[prost(uint64, tag = "1")]
    depth: u64,
    #[prost(uint64, tag = "2")]
    in_flight: u64,
    #[prost(uint64, tag = "3")]
    failed: u64,
    #[prost(uint64, tag = "4")]
    spooled: u64,
    #[prost(uint64, tag = "5")]
    oldest_waiting_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
struct StoredProject {
    #[prost(string, tag = "1")]
    project: String,
    #[prost(uint64, tag = "2")]
    accepted: u64,
    #[prost(uint64, tag = "3")]
    refused: u64,
    #[prost(uint64, tag = "4")]
    failed: u64,
}

impl Minute {
    /// The minute as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { process, number, about, at, totals } = self;
        let queue = totals.queue.map(|queue| StoredQueue {
            depth: queue.depth,
            in_flight: queue.in_flight,
            failed: queue.failed,
            spooled: queue.spooled,
            oldest_waiting_ms: queue.oldest_waiting_ms,
        });
        let stages = totals.stages.iter().map(|stage| StoredStage {
            count: stage.count,
            warnings: stage.warnings,
            errors: stage.errors,
            latencies: pairs(&stage.latencies),
        });
        let projects = totals.projects.iter().take(MAX_PROJECTS).map(|project| StoredProject {
            project: cut(&project.project),
            accepted: project.accepted,
            refused: project.refused,
            failed: project.failed,
        });
        let stored = Stored {
            process: cut(process),
            minute: at.epoch_millis().div_euclid(MINUTE),
            host: cut(&about.host),
            version: cut(&about.version),
            roles: cut(&about.roles),
            since: about.since.map_or(0, UtcMillis::epoch_millis),
            accepted: totals.accepted,
            refused: totals.refused,
            throttled: totals.throttled,
            filtered: totals.filtered,
            stages: stages.collect(),
            accept_to_stored: pairs(&totals.accept_to_stored),
            queue,
            projects: projects.collect(),
            number: *number,
        };
        stored.encode_to_vec()
    }

    /// The minute of these bytes.
    ///
    /// # Errors
    /// [`InvalidMinute`] if they are not one, or too many.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidMinute> {
        if bytes.len() > MAX_MINUTE_BYTES {
            return Err(InvalidMinute(format!("{} bytes", bytes.len())));
        }
        let stored = Stored::decode(bytes).map_err(|error| InvalidMinute(error.to_string()))?;
        let since = (stored.since > 0).then(|| UtcMillis::from_epoch_millis(stored.since));
        let mut stages = stored.stages.into_iter();
        let mut stage = || {
            let stage = stages.next().unwrap_or_default();
            Ok::<_, InvalidMinute>(StageTotals {
                count: stage.count,
                warnings: stage.warnings,
                errors: stage.errors,
                latencies: buckets(&stage.latencies)?,
            })
        };
        let mut totals = Totals {
            accepted: stored.accepted,
            refused: stored.refused,
            throttled: stored.throttled,
            filtered: stored.filtered,
            accept_to_stored: buckets(&stored.accept_to_stored)?,
            queue: stored.queue.map(|queue| QueuePeaks {
                depth: queue.depth,
                in_flight: queue.in_flight,
                failed: queue.failed,
                spooled: queue.spooled,
                oldest_waiting_ms: queue.oldest_waiting_ms,
            }),
            ..Totals::default()
        };
        for totals in &mut totals.stages {
            *totals = stage()?;
        }
        let projects = stored.projects.into_iter().take(MAX_PROJECTS);
        totals.projects = projects
            .map(|StoredProject { project, accepted, refused, failed }| ProjectTotals {
                project,
                accepted,
                refused,
                failed,
            })
            .collect();
        Ok(Self {
            process: stored.process,
            number: stored.number,
            about: About { host: stored.host, version: stored.version, roles: stored.roles, since },
            at: UtcMillis::from_epoch_millis(stored.minute.saturating_mul(MINUTE)),
            totals,
        })
    }
}

/// Each bucket's distance from the one before and its count, alternately: small numbers take a byte.
fn pairs(buckets: &Buckets) -> Vec<u64> {
    let mut last = 0;
    let pairs = buckets.numbered().flat_map(|(bucket, n)| {
        let distance = bucket - std::mem::replace(&mut last, bucket);
        [u64::from(distance), n]
    });
    pairs.collect()
}

fn buckets(pairs: &[u64]) -> Result<Buckets, InvalidMinute> {
    let mut last = 0_u64;
    let counts = pairs.chunks(2).map(|pair| {
        let &[distance, n] = pair else { return Err(InvalidMinute("a lone number".to_owned())) };
        last = last.saturating_add(distance);
        let bucket = u8::try_from(last);
        Ok((bucket.map_err(|_| InvalidMinute(format!("there is no bucket {last}")))?, n))
    });
    counts.collect::<Result<Vec<_>, _>>().map(Buckets::of_numbered)
}

fn cut(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buckets_of(all: impl IntoIterator<Item = (u64, u64)>) -> Buckets {
        let mut buckets = Buckets::default();
        all.into_iter().for_each(|(micros, n)| buckets.record(micros, n));
        buckets
    }

    fn minute(totals: Totals) -> Minute {
        let since = Some(UtcMillis::from_epoch_millis(1_790_000_000_000));
        let about =
            About { host: "web-1".into(), version: "1.2.3".into(), roles: "worker".into(), since };
        let at = UtcMillis::from_epoch_millis(1_796_000_040_000);
        Minute { process: "1234-89abcdef".to_owned(), number: 7, about, at, totals }
    }

    /// Sizes as documented in docs/storage.md.
    #[test]
    fn a_minute_is_small() {
        let idle = minute(Totals { queue: Some(QueuePeaks::default()), ..Totals::default() });
        assert!(idle.to_bytes().len() <= 80, "{}", idle.to_bytes().len());
        let mut busy = Totals { accepted: 600_000, ..Totals::default() };
        // Four doublings, as of a stage with a steady load.
        let spread = || buckets_of((0..32).map(|n| (400 + n * 200, 500 + n * 37)));
        for stage in &mut busy.stages {
            *stage = StageTotals { count: 600_000, latencies: spread(), ..StageTotals::default() };
        }
        busy.accept_to_stored = spread();
        assert!(minute(busy.clone()).to_bytes().len() <= 800);
        busy.projects = (0..MAX_PROJECTS)
            .map(|n| ProjectTotals {
                project: format!("clx3k9x2a0000{n:012}"),
                accepted: 30_000,
                ..ProjectTotals::default()
            })
            .collect();
        assert!(minute(busy).to_bytes().len() <= 1_500);
    }

    #[test]
    fn the_largest_minute_is_within_the_bound() {
        let all = || Buckets::of_numbered((0..=255).map(|bucket| (bucket, u32::MAX.into())));
        let mut totals = Totals { accept_to_stored: all(), ..Totals::default() };
        for stage in &mut totals.stages {
            let n = u64::MAX;
            *stage = StageTotals { count: n, warnings: n, errors: n, latencies: all() };
        }
        let name = "é".repeat(200);
        totals.projects = (0..MAX_PROJECTS + 5)
            .map(|_| ProjectTotals {
                project: name.clone(),
                accepted: u64::MAX,
                refused: u64::MAX,
                failed: u64::MAX,
            })
            .collect();
        let bytes = minute(totals).to_bytes();
        assert!(bytes.len() <= MAX_MINUTE_BYTES, "{}", bytes.len());
        let read = Minute::from_bytes(&bytes).unwrap();
        assert_eq!(read.totals.projects.len(), MAX_PROJECTS);
        assert_eq!(read.totals.projects[0].project, "é".repeat(MAX_NAME));
    }

    #[test]
    fn other_bytes_are_refused() {
        for odd in [
            &b"not a minute"[..],
            &[0x0a, 0xff],
            &[0; 20_000],
            &[0x62, 1, 9],
            &[0x62, 4, 0xff, 1, 1, 9],
        ] {
            let read = Minute::from_bytes(odd);
            assert!(read.is_err() || odd.len() == 6, "{read:?}");
        }
        let mut newer = minute(Totals::default()).to_bytes();
        newer.extend([0xf8, 0x07, 5]);
        assert_eq!(Minute::from_bytes(&newer).unwrap(), minute(Totals::default()), "field 127");
    }

    proptest! {
        #[test]
        fn a_minute_survives(
            accepted: u64, errors: u64, depth in prop::option::of(any::<u64>()),
            latencies in prop::collection::vec((any::<u64>(), 1_u64..1_000_000), 0..40),
            projects in prop::collection::btree_set("[a-z]{1,20}", 0..MAX_PROJECTS),
        ) {
            let mut totals = Totals { accepted, ..Totals::default() };
            totals.stages[3] = StageTotals {
                count: accepted, warnings: 1, errors, latencies: buckets_of(latencies.clone()),
            };
            totals.accept_to_stored = buckets_of(latencies);
            totals.queue = depth.map(|depth| QueuePeaks { depth, ..QueuePeaks::default() });
            totals.projects = projects
                .into_iter()
                .map(|project| ProjectTotals { project, accepted, refused: 1, failed: 0 })
                .collect();
            let minute = minute(totals);
            prop_assert_eq!(Minute::from_bytes(&minute.to_bytes()).unwrap(), minute);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Minute::from_bytes(&bytes);
        }
    }
}
