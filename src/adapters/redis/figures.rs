//! The history of figures of all processes that share a Redis server: a hash for each hour, with a
//! field for each minute of each process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use redis::cmd;

use crate::redis::connection::{Link, RedisFailure, RedisServer};
use bklit_pipeline::history::{Collector, FigureStore, FigureStoreError, Minute};
use bklit_wire::history::{MINUTE, MINUTES};
use bklit_wire::time::UtcMillis;

/// The start of the keys. It is their hash tag, so that all are on one node of a cluster.
const PREFIX: &str = "{bklit:figures}";
/// The minutes of a key.
const HOUR: i64 = 60 * MINUTE;
/// Expiry of a key after the first write of a process: eight days, and the hour itself.
const TTL_SECONDS: i64 = MINUTES as i64 * 60 + 3_600;
/// The most minutes that are read of one hour: those of 256 processes.
const MAX_FIELDS: usize = 256 * 60;

/// The [`FigureStore`] in Redis.
pub struct RedisFigureStore {
    link: Link,
    /// The key whose expiry was set last.
    expires: Mutex<Option<String>>,
}

impl RedisFigureStore {
    /// Connects when it is first used.
    pub fn new(server: RedisServer) -> Self {
        Self { link: Link::new(server.for_key(PREFIX)), expires: Mutex::default() }
    }

    /// Adds minutes of one hour.
    async fn put(&self, key: String, minutes: &[&Minute]) -> Result<(), RedisFailure> {
        let mut command = cmd("HSET");
        command.arg(&key);
        for minute in minutes {
            command.arg(format!("{}:{}", minute.process, minute.number)).arg(minute.to_bytes());
        }
        let connection = self.link.connection().await?;
        connection.query::<()>(&command).await?;
        if self.expires.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(&key) {
            connection.query::<()>(cmd("EXPIRE").arg(&key).arg(TTL_SECONDS)).await?;
            *self.expires.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        }
        Ok(())
    }

    async fn hour(&self, at: i64, collector: &mut Collector) -> Result<(), RedisFailure> {
        let connection = self.link.connection().await?;
        let minutes: HashMap<Vec<u8>, Vec<u8>> =
            connection.query(cmd("HGETALL").arg(key(at))).await?;
        for bytes in minutes.values().take(MAX_FIELDS) {
            match Minute::from_bytes(bytes) {
                Ok(minute) => collector.add(&minute),
                Err(_) => collector.unreadable(),
            }
        }
        Ok(())
    }
}

/// The key of the hour in which a time lies.
fn key(at: i64) -> String {
    let at = UtcMillis::from_epoch_millis(at).timestamp();
    format!("{PREFIX}:{}", at.strftime("%Y%m%d%H"))
}

fn failed(error: impl std::fmt::Display) -> FigureStoreError {
    FigureStoreError(error.to_string())
}

#[async_trait]
impl FigureStore for RedisFigureStore {
    async fn add(&self, minutes: &[Arc<Minute>]) -> Result<(), FigureStoreError> {
        let mut hours = BTreeMap::<String, Vec<&Minute>>::new();
        for minute in minutes {
            hours.entry(key(minute.at.epoch_millis())).or_default().push(minute);
        }
        for (key, minutes) in hours {
            self.put(key, &minutes).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn read(&self, mut collector: Collector) -> Result<Collector, FigureStoreError> {
        let (from, to) = (collector.query().from(), collector.query().to());
        // Older ones have expired, and none was written for a time after tomorrow.
        let now = UtcMillis::now().epoch_millis();
        let oldest = now - (MINUTES as i64 + 24 * 60) * MINUTE;
        let first = from.epoch_millis().max(oldest).div_euclid(HOUR) * HOUR;
        let mut hour = first;
        while hour < to.epoch_millis().min(now + 24 * HOUR) {
            self.hour(hour, &mut collector).await.map_err(failed)?;
            hour += HOUR;
        }
        Ok(collector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_an_hour() {
        let at = |text: &str| text.parse::<UtcMillis>().unwrap().epoch_millis();
        let hour = "{bklit:figures}:2026112907";
        assert_eq!(key(at("2026-11-29T07:00:00.000Z")), hour);
        assert_eq!(key(at("2026-11-29T07:59:59.999Z")), hour);
        assert_eq!(key(at("2026-11-29T08:00:00.000Z")), "{bklit:figures}:2026112908");
    }
}
