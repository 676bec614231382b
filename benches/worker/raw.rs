//! Inserts the same rows without a worker: with the client library, from memory, batch by batch over
//! one connection.

use std::time::{Duration, Instant};

use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

use crate::cpu::Cpu;
use crate::support::servers::ClickHouse;

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

/// Copies the rows of `table` to a new table with the same columns, in inserts of `batch` rows.
pub fn insert(server: &ClickHouse, table: &str, batch: usize) -> (Duration, Cpu) {
    server.query(&format!("CREATE TABLE analytics.raw AS {table}"));
    let events = server.query(&format!("SELECT count() FROM {table}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let measured = runtime.block_on(async {
        let client = client(server);
        let query = format!("SELECT ?fields FROM {table} ORDER BY id");
        let rows: Vec<PageView> = client.query(&query).fetch_all().await.unwrap();
        assert_eq!(rows.len().to_string(), events);
        let (cpu, began) = (Cpu::now(), Instant::now());
        for rows in rows.chunks(batch) {
            let mut insert = client.insert::<PageView>("raw").await.unwrap();
            for row in rows {
                insert.write(row).await.unwrap();
            }
            insert.end().await.unwrap();
        }
        (began.elapsed(), cpu.since())
    });
    assert_eq!(server.query("SELECT count() FROM analytics.raw"), events);
    measured
}
