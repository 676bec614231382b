//! What is paused, in Redis: a hash next to the queue with a field for each part that is paused, whose
//! value is the pause as JSON. All processes of the queue read it.

use std::collections::HashMap;

use async_trait::async_trait;
use redis::cmd;

use super::keys::Keys;
use super::unavailable;
use crate::redis::connection::{Link, RedisServer};
use bklit_pipeline::queue::{PauseStore, QueueError};
use bklit_wire::pause::{Pausable, Pause, Paused};

/// The [`PauseStore`] in Redis.
pub struct RedisPauses {
    link: Link,
    key: String,
}

impl RedisPauses {
    /// Of the queue with this prefix. Connects when it is first used.
    pub fn new(server: &RedisServer, prefix: &str) -> Self {
        let key = Keys::new(prefix, 0, 1, server.is_cluster()).paused;
        Self { link: Link::new(server.clone().for_key(&key)), key }
    }
}

#[async_trait]
impl PauseStore for RedisPauses {
    async fn read(&self) -> Result<Paused, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let fields: HashMap<String, String> =
            connection.query(cmd("HGETALL").arg(&self.key)).await.map_err(unavailable)?;
        let mut paused = Paused::default();
        for part in Pausable::ALL {
            if let Some(json) = fields.get(part.as_str()) {
                *paused.part_mut(part) = Some(Pause::parse(json).map_err(unavailable)?);
            }
        }
        Ok(paused)
    }

    async fn set(&self, part: Pausable, pause: Option<&Pause>) -> Result<(), QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let command = match pause {
            Some(pause) => {
                cmd("HSET").arg(&self.key).arg(part.as_str()).arg(pause.to_json()).take()
            }
            None => cmd("HDEL").arg(&self.key).arg(part.as_str()).take(),
        };
        connection.query::<()>(&command).await.map_err(unavailable)
    }
}
