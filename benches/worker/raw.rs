//! Inserts the same rows without a worker: with the client library, from memory, batch by batch over
//! one connection.

use std::time::{Duration, Instant};

use clickhouse::{Client, Row, RowOwned, RowWrite};
use serde::{Deserialize, Serialize};

use crate::cpu::Cpu;
use crate::support::servers::ClickHouse;

pub const PAGE_VIEWS: &str = "page_view_event";
pub const CUSTOM_EVENTS: &str = "tracked_event";

/// A row of `tracked_event`.
#[derive(Row, Serialize, Deserialize)]
pub struct CustomEvent {
    pub id: String,
    pub timestamp: u32,
    pub metadata: Option<String>,
    pub created_at: u32,
    pub event_definition_id: String,
    pub project_id: String,
    pub session_id: Option<String>,
}

/// A row of `page_view_event`.
#[derive(Row, Default, Serialize, Deserialize)]
pub struct PageView {
    pub id: String,
    pub url: String,
    pub timestamp: u32,
    pub created_at: u32,
    pub city: Option<String>,
    pub country: Option<String>,
    pub country_code: Option<String>,
    pub ip: Option<String>,
    pub isp: Option<String>,
    pub lat: Option<f64>,
    pub lon: Option<f64>,
    pub mobile: Option<bool>,
    pub region: Option<String>,
    pub region_name: Option<String>,
    pub timezone: Option<String>,
    pub zip: Option<String>,
    pub user_agent: Option<String>,
    pub session_id: Option<String>,
    pub project_id: String,
    pub referrer: Option<String>,
    pub utm_campaign: Option<String>,
    pub utm_content: Option<String>,
    pub utm_medium: Option<String>,
    pub utm_source: Option<String>,
    pub utm_term: Option<String>,
    pub title: Option<String>,
    pub description: Option<String>,
    pub og_image: Option<String>,
    pub og_title: Option<String>,
    pub favicon: Option<String>,
    pub canonical_url: Option<String>,
    pub language: Option<String>,
    pub robots: Option<String>,
    pub referrer_hostname: Option<String>,
    pub referrer_path: Option<String>,
    pub referrer_type: Option<String>,
    pub utm_id: Option<String>,
    pub gclid: Option<String>,
    pub fbclid: Option<String>,
    pub msclkid: Option<String>,
    pub ttclid: Option<String>,
    pub li_fat_id: Option<String>,
    pub twclid: Option<String>,
    pub is_new_visitor: bool,
    pub landing_page: Option<String>,
}

/// With the default settings: compression and a check of each row's types. Asynchronous inserts would
/// only delay large ones.
pub fn client(server: &ClickHouse) -> Client {
    Client::default()
        .with_url(server.url())
        .with_database("analytics")
        .with_setting("async_insert", "0")
}

/// Copies the rows of both tables to new ones with the same columns, each in `batches` inserts.
pub fn insert(server: &ClickHouse, batches: usize) -> (Duration, Cpu) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let tables = create(server, "raw");
    let measured = runtime.block_on(async {
        let client = client(server);
        let views: Vec<PageView> = all(&client, PAGE_VIEWS).await;
        let events: Vec<CustomEvent> = all(&client, CUSTOM_EVENTS).await;
        let (cpu, began) = (Cpu::now(), Instant::now());
        copy(&client, &tables[0], &views, views.len().div_ceil(batches)).await;
        copy(&client, &tables[1], &events, events.len().div_ceil(batches)).await;
        (began.elapsed(), cpu.since())
    });
    for (copy, of) in tables.iter().zip([PAGE_VIEWS, CUSTOM_EVENTS]) {
        let count = |table: &str| server.query(&format!("SELECT count() FROM analytics.{table}"));
        assert_eq!(count(copy), count(of));
    }
    measured
}

/// Creates empty copies of both tables; returns their names.
pub fn create(server: &ClickHouse, name: &str) -> [String; 2] {
    [PAGE_VIEWS, CUSTOM_EVENTS].map(|table| {
        let copy = format!("{name}_{table}");
        server.query(&format!("CREATE TABLE analytics.{copy} AS analytics.{table}"));
        copy
    })
}

async fn all<R: RowOwned + clickhouse::RowRead>(client: &Client, table: &str) -> Vec<R> {
    let query = format!("SELECT ?fields FROM {table} ORDER BY id");
    client.query(&query).fetch_all().await.unwrap()
}

/// Inserts rows into a table, in inserts of `size` rows.
pub async fn copy<R: RowOwned + RowWrite>(client: &Client, table: &str, rows: &[R], size: usize) {
    for rows in rows.chunks(size.max(1)) {
        let mut insert = client.insert::<R>(table).await.unwrap();
        for row in rows {
            insert.write(row).await.unwrap();
        }
        insert.end().await.unwrap();
    }
}
