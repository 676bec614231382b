//! Inserts the same rows without a worker: with the client library, from memory, batch by batch over
//! one connection.

use std::time::{Duration, Instant};

use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

use crate::cpu::Cpu;
use crate::support::servers::ClickHouse;

/// A row of `page_view_event`.
#[derive(Row, Serialize, Deserialize)]
struct PageView {
    id: String,
    url: String,
    timestamp: u32,
    created_at: u32,
    city: Option<String>,
    country: Option<String>,
    country_code: Option<String>,
    ip: Option<String>,
    isp: Option<String>,
    lat: Option<f64>,
    lon: Option<f64>,
    mobile: Option<bool>,
    region: Option<String>,
    region_name: Option<String>,
    timezone: Option<String>,
    zip: Option<String>,
    user_agent: Option<String>,
    session_id: Option<String>,
    project_id: String,
    referrer: Option<String>,
    utm_campaign: Option<String>,
    utm_content: Option<String>,
    utm_medium: Option<String>,
    utm_source: Option<String>,
    utm_term: Option<String>,
    title: Option<String>,
    description: Option<String>,
    og_image: Option<String>,
    og_title: Option<String>,
    favicon: Option<String>,
    canonical_url: Option<String>,
    language: Option<String>,
    robots: Option<String>,
    referrer_hostname: Option<String>,
    referrer_path: Option<String>,
    referrer_type: Option<String>,
    utm_id: Option<String>,
    gclid: Option<String>,
    fbclid: Option<String>,
    msclkid: Option<String>,
    ttclid: Option<String>,
    li_fat_id: Option<String>,
    twclid: Option<String>,
    is_new_visitor: bool,
    landing_page: Option<String>,
}

/// Copies the rows of `table` to a new table with the same columns, in inserts of `batch` rows.
pub fn insert(server: &ClickHouse, table: &str, events: usize, batch: usize) -> (Duration, Cpu) {
    server.query(&format!("CREATE TABLE analytics.raw AS {table}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let measured = runtime.block_on(async {
        // The default settings: compression and a check of each row's types. Asynchronous inserts
        // would only delay large ones.
        let client = Client::default()
            .with_url(server.url())
            .with_database("analytics")
            .with_setting("async_insert", "0");
        let query = format!("SELECT ?fields FROM {table} ORDER BY id");
        let rows: Vec<PageView> = client.query(&query).fetch_all().await.unwrap();
        assert_eq!(rows.len(), events);
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
    assert_eq!(server.query("SELECT count() FROM analytics.raw"), events.to_string());
    measured
}
