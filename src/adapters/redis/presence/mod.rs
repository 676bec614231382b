//! Active sessions: `live:sessions:{projectId}`, a sorted set of session ids by the time of their
//! last activity. Bklit's services and dashboard use the same sets.
//!
//! Batches are recorded in any order: a worker may record the end of a session before another one
//! records a page view from before it. So the ends of the last minutes are kept in a second set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use redis::{Script, ScriptInvocation, cmd};

use crate::redis::connection::{Link, Links, RedisFailure, RedisServer};
use bklit_pipeline::presence::Presence;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

const PREFIX: &str = "live:sessions:";

/// Sessions changed by one call of a script, during which the server does nothing else.
const MAX_GROUP: usize = 1_000;

/// Calls of a script in progress at once.
const AT_ONCE: usize = 16;

/// Projects included in every sweep, whatever else is stored on the server.
const PROJECTS_KEPT: usize = 10_000;

/// Keys examined by one step of a search for other programs' sessions.
const SCANNED_AT_ONCE: usize = 1_000;

/// Steps of one sweep, so that a server with many other keys is searched over several sweeps.
const STEPS: usize = 100;

/// The pause between the steps.
const PAUSE: Duration = Duration::from_millis(10);

/// The shortest time until a set that is no longer updated expires, as set by Bklit's services.
const SHORTEST_EXPIRY: Duration = Duration::from_secs(60 * 60);

/// The longest time until a set expires, in seconds: far below what the server rejects.
const MAX_EXPIRY: i64 = 10 * 365 * 24 * 60 * 60;

/// The [`Presence`] in Redis.
pub struct RedisPresence {
    links: Links,
    active: Script,
    ended: Script,
    /// Projects with recorded sessions.
    projects: Mutex<BTreeSet<String>>,
    /// Where the search for sessions of other programs continues.
    cursor: Mutex<Cursor>,
}

/// Where a search continues: the node, by its place among the primaries, and its own cursor.
type Cursor = (usize, u64);

impl RedisPresence {
    /// Creates the adapter; it connects when it is first used.
    pub fn new(server: RedisServer) -> Self {
        Self {
            links: Links::new(server),
            active: Script::new(include_str!("active.lua")),
            ended: Script::new(include_str!("ended.lua")),
            projects: Mutex::default(),
            cursor: Mutex::default(),
        }
    }

    /// One step of a search for sets of sessions on these nodes: where it continues, the beginning at
    /// the end, and the keys found.
    async fn scan(
        &self,
        nodes: &[Arc<Link>],
        (node, cursor): Cursor,
    ) -> Result<(Cursor, Vec<String>), String> {
        let Some(link) = nodes.get(node) else { return Ok((Cursor::default(), Vec::new())) };
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{PREFIX}*"));
        scan.arg("COUNT").arg(SCANNED_AT_ONCE).arg("TYPE").arg("zset");
        let connection = link.connection().await.map_err(|f| f.to_string())?;
        let (next, keys): (u64, Vec<Vec<u8>>) =
            connection.query(&scan).await.map_err(|f| f.to_string())?;
        let readable = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
        let next = match next {
            0 if node + 1 < nodes.len() => (node + 1, 0),
            0 => Cursor::default(),
            next => (node, next),
        };
        Ok((next, readable.collect()))
    }

    /// Calls the script for each project, with these arguments and up to [`MAX_GROUP`] sessions at a
    /// time.
    async fn call(
        &self,
        script: &Script,
        arguments: &[i64],
        sessions: impl Iterator<Item = &(SessionKey, UtcMillis)>,
    ) -> Result<(), String> {
        let mut projects: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (session, at) in sessions {
            projects.entry(&session.project_id).or_default().push((&session.session_id, *at));
        }
        let mut calls = Vec::new();
        for (project, sessions) in &projects {
            for group in sessions.chunks(MAX_GROUP) {
                let mut call = script.key(key(project));
                call.key(ended_key(project)).arg(arguments);
                for (session, at) in group {
                    call.arg(at.epoch_millis()).arg(session);
                }
                calls.push(self.invoke(key(project), call));
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

    async fn invoke(&self, key: String, call: ScriptInvocation<'_>) -> Result<(), String> {
        self.links.script::<()>(&key, &call).await.map_err(|failure| failure.to_string())
    }

    /// The primaries, to search for sets of sessions.
    async fn nodes(&self) -> Result<Vec<Arc<Link>>, String> {
        self.links.primaries().await.map_err(|failure| failure.to_string())
    }

    fn projects(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursor(&self) -> MutexGuard<'_, Cursor> {
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
            let trimmed = match self.trim_group(keys, &limit, skipped).await {
                // Slots have moved. The nodes that have them now are looked up.
                Err(failure) if failure.is_moved() => self.trim_group(keys, &limit, skipped).await,
                trimmed => trimmed,
            };
            trimmed.map_err(|failure| failure.to_string())?;
        }
        Ok(())
    }

    async fn trim_group(
        &self,
        keys: &[String],
        limit: &str,
        skipped: &mut Option<String>,
    ) -> Result<(), RedisFailure> {
        for (link, keys) in self.links.group(keys).await? {
            let mut commands = redis::pipe();
            for key in keys {
                commands.cmd("ZREMRANGEBYSCORE").arg(key).arg("-inf").arg(limit).ignore();
            }
            match link.connection().await?.pipeline::<()>(&commands).await {
                // The server has executed the other commands.
                Err(failure) if failure.is_response() => {
                    skipped.get_or_insert(failure.to_string());
                }
                done => done?,
            }
        }
        Ok(())
    }
}

/// Seconds until a set that is no longer updated expires.
fn expiry(timeout: Duration) -> i64 {
    let expiry = timeout.saturating_mul(2).max(SHORTEST_EXPIRY).as_secs();
    i64::try_from(expiry).map_or(MAX_EXPIRY, |expiry| expiry.min(MAX_EXPIRY))
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
        let idle = idle_before(timeout);
        let recent = sessions.iter().filter(|(_, at)| at.epoch_millis() >= idle);
        self.call(&self.active, &[expiry(timeout)], recent).await
    }

    async fn ended(
        &self,
        sessions: &[(SessionKey, UtcMillis)],
        timeout: Duration,
    ) -> Result<(), String> {
        let arguments = [expiry(timeout), idle_before(timeout)];
        self.call(&self.ended, &arguments, sessions.iter()).await
    }

    async fn remove_idle(&self, timeout: Duration) -> Result<(), String> {
        let own: Vec<_> = self.projects().iter().map(|project| key(project)).collect();
        let mut skipped = None;
        // The search also looks up the nodes, which helps if this fails because they have changed.
        let own = self.trim(&own, timeout, &mut skipped).await;
        let nodes = self.nodes().await?;
        for step in 0..STEPS {
            if step > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let cursor = *self.cursor();
            let (next, keys) = self.scan(&nodes, cursor).await?;
            self.trim(&keys, timeout, &mut skipped).await?;
            *self.cursor() = next;
            if next == Cursor::default() {
                break;
            }
        }
        own?;
        skipped.map_or(Ok(()), Err)
    }

    async fn count(&self, project_id: &str) -> Result<u64, String> {
        let key = key(project_id);
        let count = async {
            let link = self.links.of(&key).await?;
            let connection = link.connection().await?;
            connection.query(cmd("ZCARD").arg(&key)).await
        };
        count.await.map_err(|failure: RedisFailure| failure.to_string())
    }

    async fn projects(&self, most: usize) -> Result<Vec<String>, String> {
        let nodes = self.nodes().await?;
        let (mut found, mut cursor) = (BTreeSet::new(), Cursor::default());
        for _ in 0..STEPS {
            let (next, keys) = self.scan(&nodes, cursor).await?;
            let projects = keys.iter().filter_map(|key| key.strip_prefix(PREFIX));
            found.extend(projects.map(str::to_owned));
            cursor = next;
            if cursor == Cursor::default() || found.len() >= most {
                break;
            }
        }
        Ok(found.into_iter().take(most).collect())
    }
}
