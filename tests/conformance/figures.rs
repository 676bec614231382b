//! The port `FigureStore`.

use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::redis::connection::RedisServer as Server;
use bklit_adapters::redis::figures::RedisFigureStore;
use bklit_adapters::sqlite::figures::SqliteFigureStore;
use bklit_pipeline::history::{Collector, FigureStore, Minute};
use bklit_wire::gauges::About;
use bklit_wire::history::{History, HistoryQuery, MINUTE, MINUTES, QueuePeaks, Totals};
use bklit_wire::time::UtcMillis;

use crate::support::redis::{options, server_at};
use crate::support::servers::{Kind, RedisCluster, RedisServer};

/// The beginning of the current hour, in minutes since the epoch.
fn hour() -> i64 {
    UtcMillis::now().epoch_millis() / MINUTE / 60 * 60
}

fn at(minute: i64) -> UtcMillis {
    UtcMillis::from_epoch_millis(minute * MINUTE)
}

fn minute(process: &str, number: u64, minute: i64) -> Minute {
    let mut totals = Totals { accepted: 1 + number, ..Totals::default() };
    totals.stages[2].latencies.record(1_000 * (1 + number), 3);
    totals.queue = Some(QueuePeaks { depth: number, ..QueuePeaks::default() });
    let about = About { host: format!("host of {process}"), ..About::default() };
    Minute { process: process.to_owned(), number, about, at: at(minute), totals }
}

async fn add(store: &dyn FigureStore, minute: Minute) {
    store.add(&[Arc::new(minute)]).await.unwrap();
}

async fn read(store: &dyn FigureStore, from: i64, to: i64, step: u64) -> History {
    let step = Duration::from_secs(60 * step);
    let query = HistoryQuery::new(at(from), at(to), step).unwrap();
    store.read(Collector::new(query)).await.unwrap().history()
}

fn accepted(history: &History) -> Vec<(i64, u64)> {
    let minute = |at: UtcMillis| at.epoch_millis() / MINUTE;
    history.points.iter().map(|point| (minute(point.at), point.totals.accepted)).collect()
}

/// Minutes of several processes are added up; a minute outside of the range does not count.
pub async fn minutes_are_merged_by_point(store: &dyn FigureStore) {
    let now = hour();
    assert_eq!(read(store, now - 60, now, 1).await.points, []);
    for number in 0..30_u64 {
        add(store, minute("a", number, now - 60 + number as i64)).await;
        add(store, minute("b", number, now - 75 + number as i64)).await;
    }
    let history = read(store, now - 60, now - 59, 1).await;
    // b's sixteenth and seventeenth.
    assert_eq!(accepted(&history), [(now - 60, 1 + 16), (now - 59, 2 + 17)]);
    let [point, ..] = &history.points[..] else { unreachable!() };
    assert_eq!(point.totals.queue.unwrap().depth, 15, "the largest");
    assert_eq!(point.totals.stages[2].latencies.count(), 6);
    let names: Vec<_> = history.processes.iter().map(|seen| &*seen.about.host).collect();
    assert_eq!(names, ["host of a", "host of b"]);
    let whole = read(store, now - 120, now, 60).await;
    let all = |numbers: std::ops::Range<u64>| numbers.map(|n| n + 1).sum::<u64>();
    assert_eq!(accepted(&whole), [(now - 120, all(0..15)), (now - 60, all(15..30) + all(0..30))]);
}

/// A minute that is added again, because its first attempt seemed to fail, counts once; another one
/// of the same process and time, after its clock was set back, counts as well.
pub async fn a_minute_counts_once(store: &dyn FigureStore) {
    let now = hour();
    for _ in 0..3 {
        add(store, minute("a", 4, now - 1)).await;
    }
    assert_eq!(accepted(&read(store, now - 5, now, 1).await), [(now - 1, 5)]);
    add(store, minute("a", 5, now - 1)).await;
    add(store, minute("b", 4, now - 1)).await;
    assert_eq!(accepted(&read(store, now - 5, now, 1).await), [(now - 1, 5 + 6 + 5)]);
}

/// The whole history can be read at once.
pub async fn a_week_is_kept(store: &dyn FigureStore) {
    let now = hour();
    let week = MINUTES as i64;
    for (number, age) in [(0, week), (1, week / 2), (2, 1)] {
        add(store, minute("a", number, now - age)).await;
    }
    let history = read(store, now - week, now, 60).await;
    assert_eq!(history.points.len(), 3, "{:?}", accepted(&history));
    assert_eq!(history.processes[0].accepted, 1 + 2 + 3);
}

async fn conforms(open: impl AsyncFn() -> Arc<dyn FigureStore>) {
    minutes_are_merged_by_point(&*open().await).await;
    a_minute_counts_once(&*open().await).await;
    a_week_is_kept(&*open().await).await;
}

mod sqlite {
    use super::*;

    fn file() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("figures.db");
        (dir, file)
    }

    #[tokio::test]
    async fn conforms() {
        let mut dirs = Vec::new();
        let mut open = || {
            let (dir, file) = file();
            dirs.push(dir);
            SqliteFigureStore::open(&file).unwrap()
        };
        minutes_are_merged_by_point(&open()).await;
        a_minute_counts_once(&open()).await;
        a_week_is_kept(&open()).await;
    }

    /// As many minutes as the history keeps, in the order in which they were added: whatever their
    /// times are, a wrong clock deletes nothing.
    #[tokio::test]
    async fn the_file_keeps_the_last_minutes_added() {
        let (_dir, file) = file();
        let store = SqliteFigureStore::open(&file).unwrap();
        let now = hour();
        add(&store, minute("a", 0, now + 5 * MINUTES as i64)).await;
        let connection = rusqlite::Connection::open(&file).unwrap();
        let body = minute("b", 0, now).to_bytes();
        connection
            .execute(
                "INSERT INTO minute (process, number, at, body)
                 WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
                 SELECT 'b', n, ?2, ?3 FROM n",
                rusqlite::params![MINUTES as i64 - 2, now * MINUTE, body],
            )
            .unwrap();
        let count = || {
            let sql = "SELECT count(*), min(id) FROM minute";
            connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
        };
        assert_eq!(count(), (MINUTES as i64, 1));
        add(&store, minute("a", 1, now - 1)).await;
        assert_eq!(count(), (MINUTES as i64, 2), "the first one made room");
        // Each row is of the process b and has the same number, but counts.
        let history = read(&store, now - 1, now, 1).await;
        assert_eq!(accepted(&history)[0], (now - 1, 2));
    }

    #[tokio::test]
    async fn unreadable_figures_are_reported_and_the_rest_counts() {
        let (_dir, file) = file();
        let store = SqliteFigureStore::open(&file).unwrap();
        let now = hour();
        add(&store, minute("a", 0, now)).await;
        let connection = rusqlite::Connection::open(&file).unwrap();
        let sql = "INSERT INTO minute (process, number, at, body) VALUES ('c', 0, ?1, x'0aff')";
        connection.execute(sql, [now * MINUTE]).unwrap();
        let history = read(&store, now, now, 1).await;
        assert_eq!(accepted(&history), [(now, 1)]);
        assert_eq!(history.incomplete.as_deref(), Some("1 minute cannot be read"));
    }
}

macro_rules! redis_conformance {
    ($name:ident, $kind:expr) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn conforms() {
                let server = RedisServer::start($kind, &[]);
                super::conforms(async || {
                    server.cli(&["FLUSHALL"]);
                    Arc::new(RedisFigureStore::new(server_at(&server))) as Arc<dyn FigureStore>
                })
                .await;
            }
        }
    };
}

redis_conformance!(valkey, Kind::Valkey);
redis_conformance!(redis, Kind::Redis);

#[tokio::test]
async fn a_cluster_conforms_and_has_all_keys_on_one_node() {
    let cluster = RedisCluster::start(&[]);
    let server = || Server::new(&options(&cluster.url())).unwrap();
    let store = RedisFigureStore::new(server());
    minutes_are_merged_by_point(&store).await;
    let with_keys = cluster.nodes.iter().filter(|node| node.cli(&["DBSIZE"]) != "0").count();
    assert_eq!(with_keys, 1);
}

/// Each hour's key expires eight days after its hour, and each process writes one command a minute.
#[tokio::test]
async fn keys_in_redis_expire_and_a_minute_costs_one_command() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let store = RedisFigureStore::new(server_at(&server));
    let now = hour();
    for number in 0..60 {
        add(&store, minute("a", number, now + number as i64)).await;
    }
    let keys = server.cli(&["KEYS", "*"]);
    assert_eq!(keys.lines().count(), 1, "{keys}");
    let ttl: i64 = server.cli(&["TTL", &keys]).parse().unwrap();
    let kept = MINUTES as i64 * 60;
    assert!((kept..=kept + 3_600).contains(&ttl), "{ttl}");
    let stats = server.cli(&["INFO", "commandstats"]);
    for wanted in ["cmdstat_hset:calls=60,", "cmdstat_expire:calls=1,"] {
        assert!(stats.contains(wanted), "{wanted}: {stats}");
    }
}
