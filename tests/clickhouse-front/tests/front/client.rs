//! Through the official client.

use clickhouse::{Client, Compression};

use crate::server::{CREATE, Event, Server, ids, insert};

fn rows() -> Vec<Event> {
    // Empty lines, semicolons and SQL inside values must stay values; the length of the first one
    // is a line feed in RowBinary.
    let texts =
        ["0123456789", "\n\n;SELECT 1;\n\n", "'\"`\\--/*", "", "ä😀\0", &"x".repeat(40_000)];
    let mut rows: Vec<_> = texts.into_iter().map(Event::new).collect();
    rows[1].country = Some("DE".into());
    rows[2].width = None;
    rows[3].mobile = false;
    rows[4].at = u32::MAX;
    rows[5].score = -0.125;
    rows
}

async fn round_trip(client: &Client) {
    client.query("TRUNCATE TABLE event").execute().await.unwrap();
    let mut expected = rows();
    insert(client, "", &expected).await.unwrap();
    let mut stored: Vec<Event> =
        client.query("SELECT ?fields FROM event").fetch_all().await.unwrap();
    stored.sort_by(|a, b| a.id.cmp(&b.id));
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn rows_come_back_as_they_were_in_every_mode() {
    let server = Server::start();
    server.client().query(CREATE).execute().await.unwrap();
    for compression in [Compression::None, Compression::Lz4] {
        for validation in [true, false] {
            let client = server.client().with_compression(compression).with_validation(validation);
            round_trip(&client).await;
        }
    }
}

#[tokio::test]
async fn random_bytes_are_stored_unchanged() {
    #[derive(clickhouse::Row, serde::Serialize)]
    struct Blob<'a> {
        at: u32,
        #[serde(with = "bytes_as_string")]
        data: &'a [u8],
    }
    mod bytes_as_string {
        pub fn serialize<S: serde::Serializer>(data: &&[u8], to: S) -> Result<S::Ok, S::Error> {
            // RowBinary's String is any bytes.
            to.serialize_bytes(data)
        }
    }
    let server = Server::start();
    let client = server.client().with_validation(false);
    let create = "CREATE TABLE blob (at UInt32, data String) ENGINE = MergeTree ORDER BY at";
    client.query(create).execute().await.unwrap();
    // Two thousand blobs contain every pair of bytes, so one that ended the data would be noticed.
    let mut seed = 1_u64;
    let mut byte = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    let blobs: Vec<Vec<u8>> = (0..2_000).map(|_| (0..100).map(|_| byte()).collect()).collect();
    let mut insert = client.insert::<Blob<'_>>("blob").await.unwrap();
    for (at, data) in (0..).zip(&blobs) {
        insert.write(&Blob { at, data }).await.unwrap();
    }
    insert.end().await.unwrap();
    let hexes: Vec<String> =
        client.query("SELECT hex(data) FROM blob ORDER BY at").fetch_all().await.unwrap();
    let expected: Vec<String> =
        blobs.iter().map(|blob| blob.iter().map(|byte| format!("{byte:02X}")).collect()).collect();
    assert_eq!(hexes, expected);
}

async fn dropped(client: &Client) -> u64 {
    let sql = "SELECT sum(value) FROM system.events WHERE event = 'DuplicatedInsertedBlocks'";
    client.query(sql).fetch_one().await.unwrap()
}

#[tokio::test]
async fn a_token_stores_once_where_the_table_has_a_window() {
    let server = Server::start();
    let client = server.client();
    client.query(CREATE).execute().await.unwrap();
    insert(&client, "b1:event:202311", &[Event::new("a")]).await.unwrap();
    assert_eq!(dropped(&client).await, 0);
    insert(&client, "b1:event:202311", &[Event::new("a")]).await.unwrap();
    assert_ne!(dropped(&client).await, 0, "the dedup is seen");
    insert(&client, "b2:event:202311", &[Event::new("b")]).await.unwrap();
    assert_eq!(ids(&client).await, ["a", "b"]);
    let off = "ALTER TABLE event MODIFY SETTING non_replicated_deduplication_window = 0";
    client.query(off).execute().await.unwrap();
    insert(&client, "b2:event:202311", &[Event::new("b")]).await.unwrap();
    assert_eq!(ids(&client).await, ["a", "b", "b"], "the negative control");
}

#[tokio::test]
async fn databases_settings_binds_and_parameters() {
    let server = Server::start();
    server.client().query("CREATE DATABASE other").execute().await.unwrap();
    let client = server.client().with_database("other").with_setting("max_threads", "3");
    client.query(CREATE).execute().await.unwrap();
    insert(&client, "", &[Event::new("it's"), Event::new("b")]).await.unwrap();
    let found: (String, u64, String) = client
        .query("SELECT currentDatabase(), toUInt64(getSetting('max_threads')), id FROM event WHERE id = ?")
        .bind("it's")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(found, ("other".into(), 3, "it's".into()));
    for text in ["it's", "tab\tline\nback\\slash", "ä"] {
        let echo: String =
            client.query("SELECT {text:String}").param("text", text).fetch_one().await.unwrap();
        assert_eq!(echo, text);
    }
    let threads: u64 = server
        .client()
        .query("SELECT toUInt64(getSetting('max_threads'))")
        .fetch_one()
        .await
        .unwrap();
    assert_ne!(threads, 3, "settings don't outlive their request");
}

#[tokio::test]
async fn errors_carry_the_code_and_the_reason() {
    let server = Server::start();
    let client = server.client();
    let unknown = client.query("SELECT * FROM nix").fetch_all::<u8>().await.unwrap_err();
    assert!(unknown.to_string().contains("Code: 60."), "{unknown}");
    let nowhere = server.client().with_database("nix");
    let nowhere = nowhere.query("SELECT 1").execute().await.unwrap_err();
    assert!(nowhere.to_string().contains("Code: 81."), "{nowhere}");
    let setting = server.client().with_setting("nix", "1");
    let setting = setting.query("SELECT 1").execute().await.unwrap_err();
    assert!(setting.to_string().contains("Code: 115."), "{setting}");
    client.query(CREATE).execute().await.unwrap();
    let constraint = "ALTER TABLE event ADD CONSTRAINT short CHECK length(id) < 3";
    client.query(constraint).execute().await.unwrap();
    let rows = [Event::new("ok"), Event::new("too long")];
    let refused = insert(&client, "", &rows).await.unwrap_err();
    assert!(refused.to_string().contains("Code: 469."), "{refused}");
    assert!(ids(&client).await.is_empty(), "nothing of a refused insert is stored");
}

#[tokio::test]
async fn sessions_work_in_parallel() {
    let server = Server::start();
    let started = std::time::Instant::now();
    let sleeps: Vec<_> = (0..8)
        .map(|_| {
            let client = server.client();
            tokio::spawn(async move { client.query("SELECT sleep(1)").execute().await })
        })
        .collect();
    for sleep in sleeps {
        sleep.await.unwrap().unwrap();
    }
    assert!(started.elapsed().as_secs() < 6, "eight seconds of sleep took {:?}", started.elapsed());
}
