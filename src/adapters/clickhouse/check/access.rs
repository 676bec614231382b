//! What the user may do: settings that are not allowed, and missing permissions.

use crate::clickhouse::idle_sessions::ACTIVITY;
use crate::clickhouse::session_state::STATE;
use crate::clickhouse::settings::{CONSISTENT, TOKEN};
use crate::clickhouse::table_schema::{ServerColumn, is_computed};
use crate::clickhouse::{ClickHouseStore, sql};
use bklit_pipeline::store::StoreError;
use bklit_wire::diagnostic::Diagnostic;

/// The codes of a statement that the user may not run, as errors name them.
const DENIED: [&str; 2] = ["(ACCESS_DENIED)", "(READONLY)"];

/// The settings that the user may not change, and what that means.
pub(super) async fn settings(store: &ClickHouseStore) -> Result<Vec<Diagnostic>, StoreError> {
    if let Err(error) = store.connection.probe_all().await {
        let advice = "remove the constraint from the user's settings profile";
        return Ok(vec![Diagnostic::problem(error.to_string(), advice)]);
    }
    let known = store.connection.not_allowed.known().clone();
    Ok(known.into_iter().map(|setting| finding(store, setting)).collect())
}

fn finding(store: &ClickHouseStore, setting: &str) -> Diagnostic {
    let what = format!("the user may not change the setting {setting}");
    let advice = format!("remove the constraint on {setting} from the user's settings profile");
    match setting {
        TOKEN if !store.check_ids => {
            Diagnostic::problem(format!("{what}: repeated inserts are stored twice"), advice)
        }
        TOKEN => {
            let what = format!("{what}: an insert that arrives late may be stored twice");
            Diagnostic::warning(what, advice)
        }
        "async_insert" => {
            let what = format!("{what}: inserts may not be deduplicated by their token");
            Diagnostic::warning(what, advice)
        }
        CONSISTENT if store.connection.is_replicated.load(std::sync::atomic::Ordering::Relaxed) => {
            Diagnostic::warning(format!("{what}: a replica that is behind may be read"), advice)
        }
        _ => Diagnostic::good(format!("{what}; it is not needed")),
    }
}

/// Whether the user may write to the tables and read them, found out by an insert without rows.
pub(super) async fn permissions(
    store: &ClickHouseStore,
    table: &str,
    columns: &[ServerColumn],
) -> Option<Diagnostic> {
    let columns = columns.iter().filter(|column| !is_computed(column));
    let columns: Vec<_> = columns.map(|column| sql::name(&column.name)).collect();
    if columns.is_empty() {
        return None;
    }
    let columns = columns.join(", ");
    let insert = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE 0");
    let connection = &store.connection;
    let error = connection.execute(connection.statement(&insert)).await.err()?;
    let reason = error.to_string();
    if !DENIED.iter().any(|code| reason.contains(code)) {
        // Something else is wrong, for example with a view, and found by its own check.
        return None;
    }
    let database = sql::name(&connection.database);
    let advice = format!(
        "use a user that is not read-only, and `GRANT SELECT, INSERT ON {database}.* TO` that user"
    );
    let what = format!("the user may not read and insert into {table}: {reason}");
    Some(Diagnostic::problem(what, advice))
}

/// The tables besides those of the schema.
pub(super) const OWN_TABLES: [&str; 2] = [STATE, ACTIVITY];
