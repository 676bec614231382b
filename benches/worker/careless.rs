//! A drain without any guarantee: it removes events from the list, parses them and inserts them. A
//! crash loses a batch; nothing is checked, and sessions are not followed.

use std::time::{Duration, Instant};

use bklit_wire::time::UtcMillis;
use redis::{AsyncConnectionConfig, Client};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cpu::Cpu;
use crate::raw::{self, PageView};
use crate::support::servers::{ClickHouse, RedisServer};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    id: String,
    r#type: &'a str,
    #[serde(borrow)]
    payload: &'a RawValue,
    project_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    url: String,
    timestamp: UtcMillis,
    session_id: Option<String>,
    user_agent: Option<String>,
    referrer: Option<String>,
    title: Option<String>,
    language: Option<String>,
    utm_source: Option<String>,
    landing_page: Option<String>,
    is_new_visitor: bool,
}

fn row(item: &[u8]) -> Option<PageView> {
    let item: Item<'_> = serde_json::from_slice(item).unwrap();
    if item.r#type != "pageview" {
        return None;
    }
    let payload: Payload = serde_json::from_str(item.payload.get()).unwrap();
    let timestamp = u32::try_from(payload.timestamp.epoch_seconds()).unwrap();
    Some(PageView {
        id: item.id,
        project_id: item.project_id,
        url: payload.url,
        timestamp,
        created_at: timestamp,
        session_id: payload.session_id,
        user_agent: payload.user_agent,
        referrer: payload.referrer,
        title: payload.title,
        language: payload.language,
        utm_source: payload.utm_source,
        landing_page: payload.landing_page,
        is_new_visitor: payload.is_new_visitor,
        ..PageView::default()
    })
}

/// Moves the list into a new table like `table`; the next batch is fetched while one is inserted.
pub fn drain(
    redis: &RedisServer,
    server: &ClickHouse,
    table: &str,
    batch: usize,
) -> (Duration, Cpu) {
    server.query(&format!("CREATE TABLE analytics.careless AS {table}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let redis = Client::open(redis.url()).unwrap();
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        let mut redis = redis.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let client = raw::client(server);
        let (cpu, began) = (Cpu::now(), Instant::now());
        let (batches, mut received) = tokio::sync::mpsc::channel::<Vec<Vec<u8>>>(1);
        let fetching = tokio::spawn(async move {
            loop {
                let mut pop = redis::cmd("RPOP");
                let items: Option<Vec<Vec<u8>>> =
                    pop.arg("analytics:queue").arg(batch).query_async(&mut redis).await.unwrap();
                let Some(items) = items else { break };
                batches.send(items).await.unwrap();
            }
        });
        while let Some(items) = received.recv().await {
            let mut insert = client.insert::<PageView>("careless").await.unwrap();
            for row in items.iter().filter_map(|item| row(item)) {
                insert.write(&row).await.unwrap();
            }
            insert.end().await.unwrap();
        }
        fetching.await.unwrap();
        (began.elapsed(), cpu.since())
    })
}
