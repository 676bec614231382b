//! Checks whether Bklit's Postgres has the tables and columns that are read.

use super::{Link, PostgresFailure, PostgresServer};
use bklit_wire::diagnostic::Diagnostic;

/// The tables and columns that are read.
const TABLES: [(&str, &[&str]); 3] = [
    (
        "api_token",
        &[
            "id",
            "tokenHash",
            "tokenLookup",
            "tokenPrefix",
            "allowedDomains",
            "expiresAt",
            "lastUsedAt",
        ],
    ),
    ("api_token_project", &["tokenId", "projectId"]),
    ("EventDefinition", &["id", "trackingId", "projectId"]),
];

/// Checks the server and its tables. Changes nothing.
///
/// # Errors
/// [`PostgresFailure::Unreachable`] if there is no connection.
pub async fn check(server: PostgresServer) -> Result<Vec<Diagnostic>, PostgresFailure> {
    let link = Link::new(server);
    let rows = link.query("SELECT current_setting('server_version')", &[]).await?;
    let version = rows.first().and_then(|row| row.try_get::<_, String>(0).ok());
    let mut findings = vec![Diagnostic::good(format!("Postgres {}", version.unwrap_or_default()))];
    for (table, columns) in TABLES {
        let list: Vec<_> = columns.iter().map(|column| format!("\"{column}\"")).collect();
        let statement =
            format!("SELECT {} FROM {} LIMIT 0", list.join(", "), link.server().table(table));
        findings.push(match link.query(&statement, &[]).await {
            Ok(_) => Diagnostic::good(format!("{table} can be read")),
            Err(PostgresFailure::Refused(reason)) => Diagnostic::problem(
                format!("{table} cannot be read: {reason}"),
                "check that database_url names Bklit's database and schema, and a user who may \
                 SELECT from it",
            ),
            Err(failure) => return Err(failure),
        });
    }
    findings.extend(old_tokens(&link).await?);
    Ok(findings)
}

async fn old_tokens(link: &Link) -> Result<Option<Diagnostic>, PostgresFailure> {
    let table = link.server().table("api_token");
    let statement = format!("SELECT count(*) FROM {table} WHERE \"tokenLookup\" IS NULL");
    let rows = match link.query(&statement, &[]).await {
        Ok(rows) => rows,
        // Already reported above.
        Err(PostgresFailure::Refused(_)) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let old: i64 = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0);
    Ok((old > 0).then(|| {
        Diagnostic::warning(
            format!("tokens without tokenLookup, each of which is slow to compare: {old}"),
            "replace them in Bklit's dashboard; only 1,000 of them are checked",
        )
    }))
}
