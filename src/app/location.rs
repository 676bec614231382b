//! The location database: read at the start, followed while the pipeline runs, and checked by `doctor`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{Result, WrapErr};

use super::lifecycle::Supervisor;
use crate::config::Settings;
use bklit_pipeline::intake::visitor::{
    DatabaseError, Edition, LocationDatabase, LocationHeaders, Seen, Visitors, examine,
};
use bklit_pipeline::telemetry::Telemetry;
use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::time::UtcMillis;

/// The age above which a database is out of date. Publishers update theirs weekly or monthly.
const STALE: Duration = Duration::from_secs(60 * 24 * 3600);
const DAY_MILLIS: i64 = 24 * 3600 * 1000;

/// Identifies who sends events, with the configured database.
pub(super) async fn visitors(
    settings: &Settings,
    log: &Arc<Telemetry>,
    supervisor: &mut Supervisor,
) -> Result<Visitors> {
    let database = open(settings, log, supervisor).await?;
    Ok(settings.http.visitors(&settings.privacy, database))
}

/// Opens the configured database, if the process accepts events, and watches its file. One that
/// cannot be read is reported and does not prevent the start: it may be updated later.
async fn open(
    settings: &Settings,
    log: &Arc<Telemetry>,
    supervisor: &mut Supervisor,
) -> Result<Option<Arc<LocationDatabase>>> {
    let path = settings.geo.database.as_ref().filter(|_| settings.roles.accept_events());
    let Some(path) = path else { return Ok(None) };
    let database = Arc::new(LocationDatabase::new(path.clone()));
    let reading = Arc::clone(&database);
    let (check, seen) = tokio::task::spawn_blocking(move || {
        let mut seen = Seen::default();
        (reading.check(&mut seen), seen)
    })
    .await
    .wrap_err("cannot read the location database")?;
    database.report(&check, log);
    let (watched, log) = (Arc::clone(&database), Arc::clone(log));
    supervisor.spawn("watch on the location database", |stop| async move {
        watched.watch(seen, log, stop).await;
        Ok(())
    });
    Ok(Some(database))
}

/// What `doctor` says about locations.
pub(super) async fn check(settings: &Settings) -> Vec<Diagnostic> {
    let headers = settings.http.location_headers != LocationHeaders::None;
    let proxies = !settings.http.trusted_proxies.is_empty();
    let Some(path) = settings.geo.database.clone() else {
        return vec![match (headers, proxies) {
            (true, true) => {
                Diagnostic::good("visitors are located by the headers in http.location_headers")
            }
            (true, false) => Diagnostic::warning(
                "http.location_headers has no effect without http.trusted_proxies: page views are \
                 stored without a country",
                "set http.trusted_proxies to the networks of the CDN",
            ),
            (false, _) => Diagnostic::warning(
                "locations are not configured: page views are stored without a country",
                "set geo.database to an MMDB file, or http.location_headers behind a CDN",
            ),
        }];
    };
    let reading = path.clone();
    let found = tokio::task::spawn_blocking(move || examine(&reading)).await;
    vec![match found {
        Ok(found) => of_database(&path, found, UtcMillis::now()),
        Err(error) => Diagnostic::problem(format!("cannot check {}: {error}", path.display()), ""),
    }]
}

fn of_database(path: &Path, found: Result<Edition, DatabaseError>, now: UtcMillis) -> Diagnostic {
    let path = path.display();
    let Edition { name, built } = match found {
        Ok(edition) => edition,
        Err(error) => {
            return Diagnostic::problem(
                format!("{path}: {error}; page views are stored without a country"),
                "download the file again, or correct geo.database",
            );
        }
    };
    let days = (now.epoch_millis().saturating_sub(built.epoch_millis()) / DAY_MILLIS).max(0);
    let what = format!("{path} ({name}) was built {days} days ago, at {}", built.to_date_time());
    if days > (STALE.as_millis() as i64) / DAY_MILLIS {
        return Diagnostic::warning(what, "download a newer one; a running pipeline notices it");
    }
    Diagnostic::good(what)
}
