//! Bklit's Postgres: tokens, event definitions, and outages.

mod daemon;
mod definitions;
mod tokens;

use std::time::Duration;

use bklit_adapters::postgres::{PostgresOptions, PostgresServer};

/// The tables as created by Prisma, reduced to the relevant columns.
pub const SCHEMA: &str = "
    CREATE TABLE api_token (
        \"id\" text PRIMARY KEY, \"name\" text NOT NULL, \"description\" text,
        \"tokenHash\" text NOT NULL, \"tokenLookup\" text UNIQUE, \"tokenPrefix\" text NOT NULL,
        \"organizationId\" text NOT NULL, \"allowedDomains\" text[],
        \"expiresAt\" timestamp(3), \"lastUsedAt\" timestamp(3),
        \"createdAt\" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TABLE api_token_project (
        \"id\" text PRIMARY KEY, \"tokenId\" text NOT NULL REFERENCES api_token(\"id\") ON DELETE CASCADE,
        \"projectId\" text NOT NULL
    );
    CREATE TABLE \"EventDefinition\" (
        \"id\" text PRIMARY KEY, \"trackingId\" text NOT NULL, \"projectId\" text NOT NULL,
        \"name\" text NOT NULL, UNIQUE (\"projectId\", \"trackingId\")
    );";

/// An old token and the hash that Node's `crypto.scryptSync(token, salt, 64)` makes of it.
pub const OLD: (&str, &str) = (
    "bk_live_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "9f86d081884c7d659a2feaa0c55ad015:5a524ceccb2546de00adaf7c796a34e4a38b6110c34b0fabb7a7f485ef6b\
     4532a9b26aa77953c1f5cc477c4436d8e4f621ee936b39052e3633d3f75d467fd24e",
);
/// The same with a non-ASCII salt.
pub const OLDER: (&str, &str) = (
    "bk_live_fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210",
    "sälzé:e119af0d27738c82a6909f2df270f687284d7d6ab56021ea1d5b2ee8a1bd6c8cdfcf8667146775e35116df67\
     407480b8416fa9e7e236a8a999ad2c0d65f47198",
);

/// A hash that no token has.
pub fn stray_hash(n: u32) -> String {
    format!("salt{n}:{n:0128x}")
}

/// The statement that adds a token of Bklit for the project `p`; `hash` as stored, with or without
/// its `lookup`.
pub fn insert_token(id: &str, hash: &str, lookup: Option<&str>) -> String {
    let lookup = lookup.map_or("NULL".to_owned(), |lookup| format!("'{lookup}'"));
    format!(
        "INSERT INTO api_token (\"id\", \"name\", \"tokenHash\", \"tokenLookup\", \"tokenPrefix\",
         \"organizationId\") VALUES ('{id}', 'n', '{hash}', {lookup}, 'bk_live_', 'o');
         INSERT INTO api_token_project VALUES ('{id}-p', '{id}', 'p');"
    )
}

/// The adapters' server options.
pub fn server_at(url: &str) -> PostgresServer {
    PostgresServer::new(&PostgresOptions {
        url: url.to_owned(),
        root_certificates: None,
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(10),
    })
    .unwrap()
}
