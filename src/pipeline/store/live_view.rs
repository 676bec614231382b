//! Builds the live view (see [`bklit_wire::live_view`]) from the store, in SQL that all stores
//! understand.

use std::time::Duration;

use bklit_wire::live_view::{ACTIVE_MINUTES, LastEvent, LiveProject, LiveView, MINUTES, TopPage};
use bklit_wire::time::UtcMillis;
use serde_json::Value;

use super::{Dialect, QueryLimits, QueryResult, Store, StoreError};
use crate::presence::Presence;

/// The error of a process that only accepts events.
pub const NO_STORE: &str = "this process has no store: it runs without the role worker";
/// The most projects shown, the busiest first.
const MOST_PROJECTS: usize = 100;
/// The most pages shown, the most viewed first.
const MOST_PAGES: usize = 50;
/// The most events shown, the newest first.
const MOST_EVENTS: usize = 50;
/// How long each query may run.
const QUERY_TIME: Duration = Duration::from_secs(2);

/// The live view at `now`. Visitors are counted by `presence` where there is one, else from the
/// stored events.
///
/// # Errors
/// Those of the store.
pub async fn live_view(
    store: &dyn Store,
    presence: Option<&dyn Presence>,
    now: UtcMillis,
) -> Result<LiveView, StoreError> {
    // The current minute is the last one.
    let minute = now.epoch_seconds().div_euclid(60);
    let first = minute - MINUTES as i64 + 1;
    let dialect = store.dialect();
    // Events of visitors whose clocks are fast are not shown before their time has come.
    let until = (dialect.moment)((minute + 1) * 60);
    let from =
        |moment: i64| format!("timestamp >= {} AND timestamp < {until}", (dialect.moment)(moment));
    let recent = from(first * 60);
    let mut view = LiveView::default();
    let counts = query(store, &counts(dialect, &recent), MOST_PROJECTS * MINUTES * 2).await?;
    take_counts(&mut view, &counts, first);
    let active = from(now.epoch_seconds() - ACTIVE_MINUTES * 60);
    take_visitors(&mut view, &query(store, &visitors(&active), MOST_PROJECTS).await?);
    view.projects.sort_by(|a, b| {
        let key = |p: &LiveProject| (p.visitors, p.page_views.iter().sum::<u64>());
        key(b).cmp(&key(a)).then_with(|| a.project_id.cmp(&b.project_id))
    });
    if view.projects.len() > MOST_PROJECTS {
        view.projects.truncate(MOST_PROJECTS);
        view.truncated = true;
    }
    if let Some(presence) = presence {
        for project in &mut view.projects {
            // If presence is unavailable, the numbers from the store remain.
            let Ok(active) = presence.count(&project.project_id).await else { break };
            project.visitors = active;
        }
    }
    take_pages(&mut view, &query(store, &top_pages(&recent), MOST_PAGES).await?);
    take_last(&mut view, &query(store, &last_events(dialect, &recent), MOST_EVENTS).await?);
    Ok(view)
}

/// The visitors of each project, where no store is known.
///
/// # Errors
/// Why they are not known, for the operator.
pub async fn visitors_only(presence: &dyn Presence) -> Result<LiveView, String> {
    let mut view = LiveView::default();
    let found = presence.projects(MOST_PROJECTS + 1).await?;
    view.truncated = found.len() > MOST_PROJECTS;
    for id in found.iter().take(MOST_PROJECTS) {
        let visitors = presence.count(id).await?;
        if visitors > 0 {
            project(&mut view, id).visitors = visitors;
        }
    }
    view.projects.sort_by_key(|project| std::cmp::Reverse(project.visitors));
    Ok(view)
}

fn project<'a>(view: &'a mut LiveView, id: &str) -> &'a mut LiveProject {
    let place = view.projects.iter().position(|project| project.project_id == id);
    let place = place.unwrap_or_else(|| {
        let (page_views, events) = (vec![0; MINUTES], vec![0; MINUTES]);
        let project_id = id.to_owned();
        view.projects.push(LiveProject { project_id, visitors: 0, page_views, events });
        view.projects.len() - 1
    });
    &mut view.projects[place]
}

fn take_counts(view: &mut LiveView, counted: &QueryResult, first: i64) {
    for row in &counted.rows {
        let [name, minute, kind, count] = row.as_slice() else { continue };
        let place = usize::try_from(seconds(minute).div_euclid(60) - first);
        let Some(place) = place.ok().filter(|&place| place < MINUTES) else { continue };
        let project = project(view, &text(name));
        let counts =
            if text(kind) == "event" { &mut project.events } else { &mut project.page_views };
        counts[place] += number(count);
    }
    view.truncated |= counted.truncated;
}

fn take_visitors(view: &mut LiveView, counted: &QueryResult) {
    for row in &counted.rows {
        let [name, visitors] = row.as_slice() else { continue };
        project(view, &text(name)).visitors = number(visitors);
    }
}

fn take_pages(view: &mut LiveView, pages: &QueryResult) {
    let pages = pages.rows.iter().filter_map(|row| {
        let [project, url, views] = row.as_slice() else { return None };
        Some(TopPage { project_id: text(project), url: text(url), views: number(views) })
    });
    view.top_pages = pages.collect();
}

fn take_last(view: &mut LiveView, events: &QueryResult) {
    let events = events.rows.iter().filter_map(|row| {
        let [id, at, project, kind, what] = row.as_slice() else { return None };
        let at = Some(UtcMillis::from_epoch_millis(seconds(at).saturating_mul(1000)));
        let (event_id, project_id) = (text(id), text(project));
        Some(LastEvent { event_id, at, project_id, r#type: text(kind), what: text(what) })
    });
    view.last_events = events.collect();
}

async fn query(store: &dyn Store, sql: &str, rows: usize) -> Result<QueryResult, StoreError> {
    store.query(sql, QueryLimits::new(rows, QUERY_TIME)).await
}

fn counts(dialect: &Dialect, recent: &str) -> String {
    let at = (dialect.seconds)("timestamp");
    let part = |table: &str, kind: &str| {
        format!(
            "SELECT project_id AS project, {at} - {at} % 60 AS minute, \
             '{kind}' AS kind, count(*) AS n FROM {table} WHERE {recent} \
             GROUP BY project, minute"
        )
    };
    format!("{} UNION ALL {}", part("page_view_event", "pageview"), part("tracked_event", "event"))
}

fn visitors(active: &str) -> String {
    let part = |table: &str| {
        format!(
            "SELECT project_id AS project, session_id AS session FROM {table} \
             WHERE {active} AND session_id IS NOT NULL"
        )
    };
    format!(
        "SELECT project, count(DISTINCT session) AS n FROM ({} UNION ALL {}) AS seen \
         GROUP BY project ORDER BY n DESC, project LIMIT {MOST_PROJECTS}",
        part("page_view_event"),
        part("tracked_event")
    )
}

fn top_pages(recent: &str) -> String {
    format!(
        "SELECT project_id AS project, url, count(*) AS n FROM page_view_event \
         WHERE {recent} GROUP BY project, url ORDER BY n DESC, project, url \
         LIMIT {MOST_PAGES}"
    )
}

fn last_events(dialect: &Dialect, recent: &str) -> String {
    let at = (dialect.seconds)("timestamp");
    let part = |table: &str, kind: &str, what: &str| {
        format!(
            "SELECT id, {at} AS at, project_id AS project, '{kind}' AS kind, \
             {what} AS what FROM {table} WHERE {recent}"
        )
    };
    format!(
        "SELECT id, at, project, kind, what FROM ({} UNION ALL {}) AS events \
         ORDER BY at DESC, id DESC LIMIT {MOST_EVENTS}",
        part("page_view_event", "pageview", "url"),
        part("tracked_event", "event", "event_definition_id")
    )
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn seconds(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

/// Reads an integer: ClickHouse returns large ones as text.
fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}
