//! A drain without any guarantee: it removes events from the list, parses them and inserts them. A
//! crash loses a batch; nothing is checked, and sessions are not followed.

use std::time::{Duration, Instant};

use bklit_wire::time::UtcMillis;
use redis::{AsyncConnectionConfig, Client};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cpu::Cpu;
use crate::raw::{self, CustomEvent, PageView};
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Custom {
    tracking_id: String,
    event_type: String,
    timestamp: UtcMillis,
    session_id: Option<String>,
    metadata: serde_json::Map<String, serde_json::Value>,
}

enum Parsed {
    View(Box<PageView>),
    Custom(CustomEvent),
    /// The end of a session.
    Other,
}

fn seconds(moment: UtcMillis) -> u32 {
    u32::try_from(moment.epoch_seconds()).unwrap()
}

fn parse(item: &[u8]) -> Parsed {
    let item: Item<'_> = serde_json::from_slice(item).unwrap();
    match item.r#type {
        "pageview" => {
            let payload: Payload = serde_json::from_str(item.payload.get()).unwrap();
            let timestamp = seconds(payload.timestamp);
            Parsed::View(Box::new(PageView {
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
            }))
        }
        "event" => {
            let mut custom: Custom = serde_json::from_str(item.payload.get()).unwrap();
            custom.metadata.insert("eventType".to_owned(), custom.event_type.into());
            let timestamp = seconds(custom.timestamp);
            Parsed::Custom(CustomEvent {
                id: item.id,
                timestamp,
                metadata: Some(serde_json::to_string(&custom.metadata).unwrap()),
                created_at: timestamp,
                event_definition_id: custom.tracking_id,
                project_id: item.project_id,
                session_id: custom.session_id,
            })
        }
        _ => Parsed::Other,
    }
}

/// Moves the list into new tables; the next batch is fetched while one is inserted.
pub fn drain(redis: &RedisServer, server: &ClickHouse, batch: usize) -> (Duration, Cpu) {
    let [page_views, custom_events] = raw::create(server, "careless");
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
            let mut events = Vec::new();
            let mut insert = client.insert::<PageView>(&page_views).await.unwrap();
            for item in items {
                match parse(&item) {
                    Parsed::View(view) => insert.write(&view).await.unwrap(),
                    Parsed::Custom(event) => events.push(event),
                    Parsed::Other => {}
                }
            }
            insert.end().await.unwrap();
            raw::copy(&client, &custom_events, &events, batch).await;
        }
        fetching.await.unwrap();
        (began.elapsed(), cpu.since())
    })
}
