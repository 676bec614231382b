//! Active sessions in sorted sets that Bklit's services share.

use std::time::Duration;

use bklit_adapters::redis::connection::RedisServer as Address;
use bklit_adapters::redis::presence::RedisPresence;
use bklit_pipeline::presence::Presence;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

use crate::support::proxy::Proxy;
use crate::support::redis::{options, server_at};
use crate::support::servers::{Kind, RedisServer};

const TIMEOUT: Duration = Duration::from_secs(30 * 60);

const SESSIONS: &str = "live:sessions:p1";

fn key(session: &str) -> SessionKey {
    SessionKey { project_id: "p1".into(), session_id: session.into() }
}

/// The time this many seconds ago.
fn ago(seconds: i64) -> UtcMillis {
    UtcMillis::from_epoch_millis(UtcMillis::now().epoch_millis() - seconds * 1000)
}

fn servers() -> [RedisServer; 2] {
    [Kind::Redis, Kind::Valkey].map(|kind| RedisServer::start(kind, &[]))
}

fn members(server: &RedisServer) -> Vec<String> {
    let members = server.cli(&["ZRANGE", SESSIONS, "0", "-1"]);
    members.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn presence_is_the_contracts_sorted_set() {
    for server in servers() {
        let presence = RedisPresence::new(server_at(&server));
        assert_eq!(presence.count("p1").await, Ok(0));
        let start = ago(60);
        let at = |n: i64| UtcMillis::from_epoch_millis(start.epoch_millis() + n);
        let many = (0..2_500).map(|n| (key(&format!("s{n}")), at(n))).collect::<Vec<_>>();
        presence.active(&many, TIMEOUT).await.unwrap();
        let moved = [(key("s7"), at(9_000)), (key("s8"), at(5))];
        presence.active(&moved, TIMEOUT).await.unwrap();
        let score = |session: &str| server.cli(&["ZSCORE", SESSIONS, session]);
        assert_eq!(score("s7"), at(9_000).epoch_millis().to_string());
        assert_eq!(score("s8"), at(8).epoch_millis().to_string(), "an earlier time");
        assert_eq!(presence.count("p1").await, Ok(2_500));
        let gone = [(key("s7"), at(9_000)), (key("s8"), at(9_000)), (key("unknown"), at(1))];
        presence.ended(&gone, TIMEOUT).await.unwrap();
        assert_eq!(presence.count("p1").await, Ok(2_498));
        // A set that is no longer updated disappears, but not while sessions are active.
        let expiry: u64 = server.cli(&["TTL", SESSIONS]).parse().unwrap();
        assert!((3_500..=3_600).contains(&expiry), "{expiry}");
    }
}

/// Two workers record the end of a session and a page view from before it, in either order.
#[tokio::test]
async fn a_page_view_from_before_the_end_does_not_bring_back_a_session() {
    for server in servers() {
        let one = RedisPresence::new(server_at(&server));
        let other = RedisPresence::new(server_at(&server));
        for order in [[0, 1], [1, 0]] {
            for step in order {
                match step {
                    0 => one.active(&[(key("s"), ago(20))], TIMEOUT).await.unwrap(),
                    _ => other.ended(&[(key("s"), ago(10))], TIMEOUT).await.unwrap(),
                }
            }
            assert_eq!(members(&server), [""; 0], "{order:?}");
        }
        // The visitor returns; a repeat of the batch with the end changes nothing.
        one.active(&[(key("s"), ago(5))], TIMEOUT).await.unwrap();
        other.ended(&[(key("s"), ago(10))], TIMEOUT).await.unwrap();
        assert_eq!(members(&server), ["s"]);
        // Ends are kept only as long as they matter.
        other.ended(&[(key("later"), ago(1))], Duration::from_secs(5)).await.unwrap();
        let ended = server.cli(&["ZRANGE", "bklit:ended:{live:sessions:p1}", "0", "-1"]);
        assert_eq!(ended, "later");
    }
}

#[tokio::test]
async fn a_session_that_is_idle_already_is_not_added() {
    for server in servers() {
        let presence = RedisPresence::new(server_at(&server));
        let sessions = [(key("backlog"), ago(31 * 60)), (key("recent"), ago(29 * 60))];
        presence.active(&sessions, TIMEOUT).await.unwrap();
        assert_eq!(members(&server), ["recent"]);
    }
}

#[tokio::test]
async fn idle_sessions_are_removed_whichever_program_added_them() {
    for server in servers() {
        let presence = RedisPresence::new(server_at(&server));
        presence.active(&[(key("ours"), ago(10))], TIMEOUT).await.unwrap();
        let score = |seconds: i64| ago(seconds).epoch_millis().to_string();
        let fill = "for n = 0, 1499 do redis.call('ZADD', 'live:sessions:other' .. n, \
                    ARGV[1], 'idle', ARGV[2], 'active') end";
        server.cli(&["EVAL", fill, "0", &score(3_600), &score(60)]);
        server.cli(&["ZADD", SESSIONS, &score(3_600), "theirs"]);
        server.cli(&["SET", "live:sessions:not-a-set", "1"]);
        presence.remove_idle(TIMEOUT).await.unwrap();
        assert_eq!(members(&server), ["ours"]);
        for project in [0, 700, 1_499] {
            let sessions = format!("live:sessions:other{project}");
            assert_eq!(server.cli(&["ZRANGE", &sessions, "0", "-1"]), "active");
        }
        // Another process finds nothing left to do.
        let other = RedisPresence::new(server_at(&server));
        other.remove_idle(TIMEOUT).await.unwrap();
        assert_eq!(members(&server), ["ours"]);
    }
}

/// On a server with many other keys, a sweep stops and the next one continues.
#[tokio::test]
async fn the_work_of_a_sweep_is_bounded() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let fill = "for n = 1, 250000 do redis.call('SET', 'other:' .. n, 1) end";
    server.cli(&["EVAL", fill, "0"]);
    server.cli(&["ZADD", SESSIONS, "1000", "idle"]);
    let presence = RedisPresence::new(server_at(&server));
    server.cli(&["CONFIG", "RESETSTAT"]);
    let mut sweeps = 0;
    while !members(&server).is_empty() {
        presence.remove_idle(TIMEOUT).await.unwrap();
        sweeps += 1;
        assert!(sweeps <= 4, "the search does not advance");
    }
    let stats = server.cli(&["INFO", "commandstats"]);
    let scans = stats.lines().find_map(|line| line.strip_prefix("cmdstat_scan:calls=")).unwrap();
    let scans: u32 = scans.split(',').next().unwrap().parse().unwrap();
    assert!(scans <= sweeps * 100, "{scans} steps in {sweeps} sweeps");
}

/// A wrong key in one project does not affect the others.
#[tokio::test]
async fn a_key_of_another_type_is_reported_and_skipped() {
    let server = RedisServer::start(Kind::Redis, &[]);
    server.cli(&["SET", "live:sessions:p0", "1"]);
    let presence = RedisPresence::new(server_at(&server));
    let wrong = SessionKey { project_id: "p0".into(), session_id: "s".into() };
    let sessions = [(wrong, ago(1)), (key("s"), ago(1)), (key("idle"), ago(2))];
    let error = presence.active(&sessions, TIMEOUT).await.unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(members(&server), ["idle", "s"]);
    // The sweep too: of the sets of this process, and of others.
    server.cli(&["ZADD", SESSIONS, "1000", "idle"]);
    server.cli(&["ZADD", "live:sessions:other", "1000", "idle"]);
    let error = presence.remove_idle(TIMEOUT).await.unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(members(&server), ["s"]);
    assert_eq!(server.cli(&["EXISTS", "live:sessions:other"]), "0");
    let error = presence.ended(&sessions, TIMEOUT).await.unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(members(&server), [""; 0]);
}

/// A batch may be from many projects.
#[tokio::test]
async fn many_projects_take_few_round_trips() {
    const ROUND_TRIP: Duration = Duration::from_millis(10);
    let server = RedisServer::start(Kind::Valkey, &[]);
    let slow = Proxy::far_before(server.port(), ROUND_TRIP / 2);
    let url = format!("redis://127.0.0.1:{}", slow.port());
    let presence = RedisPresence::new(Address::new(&options(&url)).unwrap());
    presence.count("p1").await.unwrap();
    let project = |n: usize| format!("p{n}");
    let sessions: Vec<_> = (0..200)
        .map(|n| (SessionKey { project_id: project(n), session_id: "s".into() }, ago(1)))
        .collect();
    let began = std::time::Instant::now();
    presence.active(&sessions, TIMEOUT).await.unwrap();
    let took = began.elapsed();
    assert!(took < ROUND_TRIP * 100, "{took:?}");
    for n in [0, 99, 199] {
        assert_eq!(server.cli(&["ZCARD", &format!("live:sessions:p{n}")]), "1");
    }
}
