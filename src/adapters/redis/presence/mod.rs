//! Active sessions: `live:sessions:{projectId}`, a sorted set of session ids by the time of their
//! last activity. Bklit's services and dashboard use the same sets.
//!
//! Batches are recorded in any order: a worker may record the end of a session before another one
//! records a page view from before it. So the ends of the last minutes are kept in a second set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use redis::{Script, ScriptInvocation, cmd};

use crate::redis::connection::{Link, RedisServer};
use bklit_pipeline::presence::Presence;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

const PREFIX: &str = "live:sessions:";

/// Sessions changed by one call of a script, during which the server does nothing else.
const MAX_GROUP: usize = 1_000;

/// Calls of a script in progress at once.
const AT_ONCE: usize = 16;

/// Projects that are swept in every sweep, whatever else is stored on the server.
const PROJECTS_KEPT: usize = 10_000;

/// Keys that one step of a search for other programs' sessions looks at.
const SCANNED_AT_ONCE: usize = 1_000;

/// Steps of one sweep, so that a server with many other keys is searched over several sweeps.
const STEPS: usize = 100;

/// The pause between the steps.
const PAUSE: Duration = Duration::from_millis(10);

/// The shortest time until a set that nobody updates expires: what Bklit's services set.
const SHORTEST_EXPIRY: Duration = Duration::from_secs(60 * 60);

/// The longest time until a set expires, in seconds: far below what the server rejects.
const MAX_EXPIRY: u64 = 10 * 365 * 24 * 60 * 60;

/// The [`Presence`] in Redis.
pub struct RedisPresence {
    link: Link,
    active: Script,
    ended: Script,
    /// Projects with recorded sessions.
    projects: Mutex<BTreeSet<String>>,
    /// Where the search for sessions of other programs continues.
    cursor: Mutex<u64>,
}

impl RedisPresence {
    /// Creates the adapter; it connects when it is first used.
    pub fn new(server: RedisServer) -> Self {
        Self {
            link: Link::new(server),
            active: Script::new(include_str!("active.lua")),
            ended: Script::new(include_str!("ended.lua")),
            projects: Mutex::default(),
            cursor: Mutex::default(),
        }
    }

    /// One step of a search for sets of sessions: where it continues, 0 at the end, and the keys found.
    async fn scan(&self, cursor: u64) -> Result<(u64, Vec<String>), String> {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{PREFIX}*"));
        scan.arg("COUNT").arg(SCANNED_AT_ONCE).arg("TYPE").arg("zset");
        let connection = self.link.connection().await.map_err(|f| f.to_string())?;
        let (next, keys): (u64, Vec<Vec<u8>>) =
            connection.query(&scan).await.map_err(|f| f.to_string())?;
        let readable = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
        Ok((next, readable.collect()))
    }

    /// Calls the script for each project, with up to [`MAX_GROUP`] sessions at a time.
    async fn call(
        &self,
        script: &Script,
        sessions: &[(SessionKey, UtcMillis)],
        timeout: Duration,
    ) -> Result<(), String> {
        let mut projects: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (session, at) in sessions {
            projects.entry(&session.project_id).or_default().push((&session.session_id, *at));
        }
        let expiry = timeout.saturating_mul(2).max(SHORTEST_EXPIRY).as_secs().min(MAX_EXPIRY);
        let mut calls = Vec::new();
        for (project, sessions) in &projects {
            for group in sessions.chunks(MAX_GROUP) {
                let mut call = script.key(key(project));
                call.key(ended_key(project)).arg(idle_before(timeout)).arg(expiry);
                for (session, at) in group {
                    call.arg(at.epoch_millis()).arg(session);
                }
                calls.push(self.invoke(call));
            }
        }
        // A key of another type in one project must not affect the others.
        let mut results = stream::iter(calls).buffer_unordered(AT_ONCE);
        let mut first = Ok(());
        while let Some(result) = results.next().await {
            first = first.and(result);
        }
        first
    }

    async fn invoke(&self, call: ScriptInvocation<'_>) -> Result<(), String> {
        let invoked = async { self.link.connection().await?.script::<()>(&call).await };
        invoked.await.map_err(|failure| failure.to_string())
    }

    fn projects(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursor(&self) -> MutexGuard<'_, u64> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes idle sessions from these sets. Those that are not sets are skipped, and the first is
    /// noted in `skipped`.
    async fn trim(
        &self,
        keys: &[String],
        timeout: Duration,
        skipped: &mut Option<String>,
    ) -> Result<(), String> {
        let limit = format!("({}", idle_before(timeout));
        for keys in keys.chunks(MAX_GROUP) {
            let mut commands = redis::pipe();
            for key in keys {
                commands.cmd("ZREMRANGEBYSCORE").arg(key).arg("-inf").arg(&limit).ignore();
            }
            let connection = self.link.connection().await.map_err(|f| f.to_string())?;
            match connection.pipeline::<()>(&commands).await {
                // The server has executed the other commands.
                Err(failure) if failure.is_response() => {
                    skipped.get_or_insert(failure.to_string());
                }
                done => done.map_err(|f| f.to_string())?,
            }
        }
        Ok(())
    }
}

/// Sessions last active before this time are idle, in milliseconds since the epoch.
fn idle_before(timeout: Duration) -> i64 {
    let timeout = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    UtcMillis::now().epoch_millis().saturating_sub(timeout)
}

fn key(project_id: &str) -> String {
    format!("{PREFIX}{project_id}")
}

/// The key of the set of ended sessions, in the same slot of a cluster as the sessions.
fn ended_key(project_id: &str) -> String {
    format!("bklit:ended:{{{}}}", key(project_id))
}

#[async_trait]
impl Presence for RedisPresence {
    async fn active(
        &self,
        sessions: &[(SessionKey, UtcMillis)],
        timeout: Duration,
    ) -> Result<(), String> {
        {
            let mut projects = self.projects();
            for (session, _) in sessions {
                if projects.len() < PROJECTS_KEPT && !projects.contains(&session.project_id) {
                    projects.insert(session.project_id.clone());
                }
            }
        }
        self.call(&self.active, sessions, timeout).await
    }

    async fn ended(
        &self,
        sessions: &[(SessionKey, UtcMillis)],
        timeout: Duration,
    ) -> Result<(), String> {
        self.call(&self.ended, sessions, timeout).await
    }

    async fn remove_idle(&self, timeout: Duration) -> Result<(), String> {
        let own: Vec<_> = self.projects().iter().map(|project| key(project)).collect();
        let mut skipped = None;
        self.trim(&own, timeout, &mut skipped).await?;
        for step in 0..STEPS {
            if step > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let cursor = *self.cursor();
            let (next, keys) = self.scan(cursor).await?;
            self.trim(&keys, timeout, &mut skipped).await?;
            *self.cursor() = next;
            if next == 0 {
                break;
            }
        }
        skipped.map_or(Ok(()), Err)
    }

    async fn count(&self, project_id: &str) -> Result<u64, String> {
        let connection = self.link.connection().await.map_err(|f| f.to_string())?;
        connection.query(cmd("ZCARD").arg(key(project_id))).await.map_err(|f| f.to_string())
    }

    async fn projects(&self, most: usize) -> Result<Vec<String>, String> {
        let (mut found, mut cursor) = (BTreeSet::new(), 0);
        for _ in 0..STEPS {
            let (next, keys) = self.scan(cursor).await?;
            let projects = keys.iter().filter_map(|key| key.strip_prefix(PREFIX));
            found.extend(projects.map(str::to_owned));
            cursor = next;
            if cursor == 0 || found.len() >= most {
                break;
            }
        }
        Ok(found.into_iter().take(most).collect())
    }
}
