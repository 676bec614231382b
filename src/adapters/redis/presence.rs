//! Active sessions: `live:sessions:{projectId}`, a sorted set of session ids by the time of their
//! last activity.

use std::collections::HashMap;

use async_trait::async_trait;
use redis::{Cmd, cmd};

use crate::redis::connection::{Link, RedisServer};
use bklit_pipeline::presence::Presence;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

const PREFIX: &str = "live:sessions:";
/// Sessions changed in one round trip.
const MAX_GROUP: usize = 1_000;

/// The [`Presence`] in Redis.
pub struct RedisPresence {
    link: Link,
}

impl RedisPresence {
    /// Creates the adapter; it connects when it is first used.
    pub fn new(server: RedisServer) -> Self {
        Self { link: Link::new(server) }
    }

    /// Sends one command per project, with up to [`MAX_GROUP`] sessions in a round trip.
    async fn change<T: Sync>(
        &self,
        sessions: &[T],
        session: impl Fn(&T) -> &SessionKey + Send + Sync,
        command: impl Fn(&str) -> Cmd + Send + Sync,
        add: impl Fn(&mut Cmd, &T) + Send + Sync,
    ) -> Result<(), String> {
        for sessions in sessions.chunks(MAX_GROUP) {
            let mut projects: HashMap<&str, Cmd> = HashMap::new();
            for one in sessions {
                let project = session(one).project_id.as_str();
                add(projects.entry(project).or_insert_with(|| command(project)), one);
            }
            let mut commands = redis::pipe();
            projects.into_values().for_each(|command| _ = commands.add_command(command).ignore());
            let connection = self.link.connection().await.map_err(|f| f.to_string())?;
            connection.pipeline::<()>(&commands).await.map_err(|f| f.to_string())?;
        }
        Ok(())
    }
}

fn key(project_id: &str) -> String {
    format!("{PREFIX}{project_id}")
}

#[async_trait]
impl Presence for RedisPresence {
    async fn active(&self, sessions: &[(SessionKey, UtcMillis)]) -> Result<(), String> {
        let command = |project: &str| cmd("ZADD").arg(key(project)).arg("GT").take();
        let add = |command: &mut Cmd, (session, at): &(SessionKey, UtcMillis)| {
            command.arg(at.epoch_millis()).arg(&session.session_id);
        };
        self.change(sessions, |(session, _)| session, command, add).await
    }

    async fn ended(&self, sessions: &[SessionKey]) -> Result<(), String> {
        let command = |project: &str| cmd("ZREM").arg(key(project)).take();
        let add = |command: &mut Cmd, session: &SessionKey| {
            command.arg(&session.session_id);
        };
        self.change(sessions, |session| session, command, add).await
    }

    async fn count(&self, project_id: &str) -> Result<u64, String> {
        let connection = self.link.connection().await.map_err(|f| f.to_string())?;
        connection.query(cmd("ZCARD").arg(key(project_id))).await.map_err(|f| f.to_string())
    }
}
