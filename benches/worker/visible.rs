//! How long it takes until an event that was accepted can be queried, and until its session can, at a
//! given rate of other events.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bklit_wire::time::UtcMillis;
use serde_json::json;

use crate::load::Load;
use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{DEADLINE, Daemon, eventually};

/// Connections of the other events.
const CONNECTIONS: usize = 64;
/// The interval between two observed events.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause between two queries for them. Their results were visible up to this much earlier.
const LOOK: Duration = Duration::from_millis(20);
/// How much earlier than its response an event may be, in seconds.
const EARLIER: i64 = 2;
const TABLES: &str = "SELECT count() FROM system.tables WHERE database = 'analytics' \
                      AND name IN ('page_view_event', 'tracked_session')";

/// The times of one run.
pub struct Visible {
    /// From the response to the event's row, in milliseconds, ascending.
    pub events: Vec<f64>,
    /// From the event's row to its session's, in milliseconds, ascending.
    pub sessions: Vec<f64>,
}

/// When an event was accepted, and found.
struct Way {
    accepted: Instant,
    /// The same in seconds since the epoch.
    at: i64,
    view: Option<Instant>,
    session: Option<Instant>,
}

/// Accepts `rate` events per second for `time`.
pub fn observe(rate: f64, time: Duration) -> Visible {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let settings =
        format!("redis_url = '{}'\nclickhouse_url = '{}'\n", redis.url(), clickhouse.url());
    let daemon = Daemon::with_settings(&settings);
    eventually(DEADLINE, "the daemon has created the tables", || clickhouse.query(TABLES) == "2");
    let load = Load {
        connections: CONNECTIONS,
        time,
        threads: 1,
        token: daemon.token(),
        events: 1,
        rate: Some(rate),
    };
    let ways = Mutex::new(HashMap::new());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                send(&daemon, &ways);
                thread::sleep(PAUSE);
            }
        });
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                look(&clickhouse, &ways);
                thread::sleep(LOOK);
            }
        });
        let tally = load.run(daemon.addr);
        is_over.store(true, Relaxed);
        assert_eq!(tally.refused, 0, "some events were not accepted");
    });
    eventually(DEADLINE, "all events and sessions are found", || {
        look(&clickhouse, &ways);
        lock(&ways).values().all(|way| way.view.is_some() && way.session.is_some())
    });
    let millis = |from: Instant, to: Option<Instant>| {
        to.unwrap().saturating_duration_since(from).as_secs_f64() * 1000.0
    };
    let ways = ways.into_inner().unwrap();
    let sorted = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times
    };
    Visible {
        events: sorted(ways.values().map(|way| millis(way.accepted, way.view)).collect()),
        sessions: sorted(ways.values().map(|way| millis(way.view.unwrap(), way.session)).collect()),
    }
}

type Ways = Mutex<HashMap<String, Way>>;

fn lock(ways: &Ways) -> std::sync::MutexGuard<'_, HashMap<String, Way>> {
    ways.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the page view that begins a session.
fn send(daemon: &Daemon, ways: &Ways) {
    let session = format!("seen-{}", lock(ways).len());
    let view = json!({
        "url": "https://www.example.com/", "projectId": "default", "sessionId": session,
    });
    assert_eq!(daemon.post("/track", &view).status, 200);
    lock(ways).insert(
        session,
        Way {
            accepted: Instant::now(),
            at: UtcMillis::now().epoch_seconds(),
            view: None,
            session: None,
        },
    );
}

/// Records when events and sessions are found. Reads recent rows only, to take little of the server's
/// time.
fn look(clickhouse: &ClickHouse, ways: &Ways) {
    let is_missing = |way: &&Way| way.view.is_none() || way.session.is_none();
    let missing = lock(ways).values().filter(is_missing).map(|way| way.at).min();
    let Some(since) = missing.map(|at| at - EARLIER) else { return };
    let find = |table: &str, moment: &str, place: fn(&mut Way) -> &mut Option<Instant>| {
        let rows = clickhouse.query(&format!(
            "SELECT session_id FROM analytics.{table} WHERE project_id = 'default' \
             AND {moment} >= toDateTime({since}) AND startsWith(session_id, 'seen-')"
        ));
        let now = Instant::now();
        let mut ways = lock(ways);
        for session in rows.lines() {
            // One that was stored before its response arrived follows in the next query.
            let Some(way) = ways.get_mut(session) else { continue };
            place(way).get_or_insert(now);
        }
    };
    find("page_view_event", "timestamp", |way| &mut way.view);
    find("tracked_session", "started_at", |way| &mut way.session);
}

/// The value below which are `quantile` of ascending `values`.
pub fn quantile(values: &[f64], quantile: f64) -> f64 {
    let at = (values.len() as f64 * quantile).ceil() as usize;
    values[at.clamp(1, values.len()) - 1]
}
