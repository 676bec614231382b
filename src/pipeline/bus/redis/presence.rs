//! Active sessions: `live:sessions:{projectId}`, a sorted set of session ids by the moment of
//! their last activity.

use async_trait::async_trait;
use redis::cmd;

use crate::pipeline::bus::Presence;
use crate::pipeline::redis::{Link, RedisServer};
use crate::pipeline::store::SessionKey;
use crate::pipeline::time::UtcMillis;

const PREFIX: &str = "live:sessions:";
/// Sessions changed in one round trip.
const MAX_GROUP: usize = 1_000;

/// The [`Presence`] in Redis.
pub struct RedisPresence {
    link: Link,
}

impl RedisPresence {
    /// Connects when it is first used.
    pub fn new(server: RedisServer) -> Self {
        Self { link: Link::new(server) }
    }

    async fn change<T>(
        &self,
        sessions: &[T],
        add: impl Fn(&mut redis::Pipeline, &T) + Send + Sync,
    ) -> Result<(), String>
    where
        T: Sync,
    {
        for sessions in sessions.chunks(MAX_GROUP) {
            let mut commands = redis::pipe();
            sessions.iter().for_each(|session| add(&mut commands, session));
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
        let add = |commands: &mut redis::Pipeline, (session, at): &(SessionKey, UtcMillis)| {
            commands.cmd("ZADD").arg(key(&session.project_id)).arg("GT");
            commands.arg(at.epoch_millis()).arg(&session.session_id).ignore();
        };
        self.change(sessions, add).await
    }

    async fn ended(&self, sessions: &[SessionKey]) -> Result<(), String> {
        let remove = |commands: &mut redis::Pipeline, session: &SessionKey| {
            commands.cmd("ZREM").arg(key(&session.project_id)).arg(&session.session_id).ignore();
        };
        self.change(sessions, remove).await
    }

    async fn count(&self, project_id: &str) -> Result<u64, String> {
        let connection = self.link.connection().await.map_err(|f| f.to_string())?;
        connection.query(cmd("ZCARD").arg(key(project_id))).await.map_err(|f| f.to_string())
    }
}
