//! Saved queries: those in the settings, and built-in ones for either store.

use std::collections::BTreeMap;

use bklit_wire::sql::Engine;

/// A query with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedQuery {
    /// Its name.
    pub name: String,
    /// Its SQL.
    pub query: String,
    /// What it shows.
    pub help: String,
    /// Whether it is from the settings.
    pub is_own: bool,
}

/// Name, description and SQL of a query; what differs between stores is in braces.
type BuiltIn = (&'static str, &'static str, &'static str);

const BUILT_IN: [BuiltIn; 8] = [
    (
        "rate",
        "Events per minute and project, last hour",
        "SELECT minute, project_id, count(*) AS events FROM (\
         SELECT {minute} AS minute, project_id FROM page_view_event WHERE timestamp >= {hour} \
         UNION ALL \
         SELECT {minute} AS minute, project_id FROM tracked_event WHERE timestamp >= {hour}) AS e \
         GROUP BY minute, project_id ORDER BY minute DESC, events DESC, project_id",
    ),
    (
        "projects",
        "Page views and sessions by project, last day",
        "SELECT project_id, count(*) AS views, count(DISTINCT session_id) AS sessions, \
         max(timestamp) AS last_view FROM page_view_event WHERE timestamp >= {day} \
         GROUP BY project_id ORDER BY views DESC, project_id",
    ),
    (
        "pages",
        "Most viewed pages, last hour",
        "SELECT project_id, url, count(*) AS views, count(DISTINCT session_id) AS sessions \
         FROM page_view_event WHERE timestamp >= {hour} \
         GROUP BY project_id, url ORDER BY views DESC, project_id, url LIMIT 100",
    ),
    (
        "referrers",
        "Hosts that visitors came from, last day",
        "SELECT project_id, referrer_hostname, count(*) AS views FROM page_view_event \
         WHERE timestamp >= {day} AND referrer_hostname IS NOT NULL \
         GROUP BY project_id, referrer_hostname ORDER BY views DESC, referrer_hostname LIMIT 100",
    ),
    (
        "events",
        "Custom events by definition, last day",
        "SELECT project_id, event_definition_id, count(*) AS events, max(timestamp) AS last_event \
         FROM tracked_event WHERE timestamp >= {day} \
         GROUP BY project_id, event_definition_id ORDER BY events DESC, event_definition_id",
    ),
    (
        "slowest",
        "Page views that took longest to arrive, in seconds, last day",
        "SELECT {delay} AS delay, project_id, id, timestamp, created_at, url FROM page_view_event \
         WHERE timestamp >= {day} ORDER BY delay DESC, id LIMIT 100",
    ),
    (
        "sessions",
        "Latest sessions, last day",
        "SELECT started_at, project_id, session_id, duration, did_bounce, entry_page, exit_page, \
         country FROM {sessions} ORDER BY started_at DESC, session_id LIMIT 100",
    ),
    (
        "latest",
        "Latest page views, last hour",
        "SELECT timestamp, project_id, id, url, session_id, country, referrer_hostname \
         FROM page_view_event WHERE timestamp >= {hour} ORDER BY timestamp DESC, id DESC LIMIT 100",
    ),
];

/// What differs between stores, each for SQLite and for ClickHouse.
const PARTS: [(&str, &str, &str); 5] = [
    ("{hour}", "datetime('now', '-1 hour')", "now() - INTERVAL 1 HOUR"),
    ("{day}", "datetime('now', '-1 day')", "now() - INTERVAL 1 DAY"),
    ("{minute}", "strftime('%Y-%m-%d %H:%M', timestamp)", "toStartOfMinute(timestamp)"),
    (
        "{delay}",
        "unixepoch(created_at) - unixepoch(timestamp)",
        "dateDiff('second', timestamp, created_at)",
    ),
    (
        "{sessions}",
        "tracked_session WHERE started_at >= datetime('now', '-1 day')",
        // Of each session's versions, the latest counts.
        "(SELECT * FROM tracked_session WHERE started_at >= now() - INTERVAL 1 DAY \
         ORDER BY updated_at DESC LIMIT 1 BY project_id, session_id) AS s",
    ),
];

/// All saved queries: those of the settings, then the built-in ones with other names.
pub fn saved(engine: Engine, own: &BTreeMap<String, String>) -> Vec<SavedQuery> {
    let is_free = |name: &str| !own.contains_key(name);
    let built_in = BUILT_IN.into_iter().filter(|(name, ..)| is_free(name));
    let built_in = built_in.map(|(name, help, template)| SavedQuery {
        name: name.to_owned(),
        query: PARTS.into_iter().fold(template.to_owned(), |query, (part, sqlite, clickhouse)| {
            query.replace(part, if engine == Engine::Sqlite { sqlite } else { clickhouse })
        }),
        help: help.to_owned(),
        is_own: false,
    });
    let own = own.iter().map(|(name, query)| SavedQuery {
        name: name.clone(),
        query: query.clone(),
        help: query.split_whitespace().collect::<Vec<_>>().join(" "),
        is_own: true,
    });
    own.chain(built_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_queries_come_first_and_replace_built_in_ones() {
        let own = BTreeMap::from([("pages".to_owned(), "SELECT 1 -- one\n + 1".to_owned())]);
        for engine in [Engine::Sqlite, Engine::Clickhouse] {
            let all = saved(engine, &own);
            assert_eq!(all.len(), BUILT_IN.len());
            assert_eq!((&*all[0].name, &all[0].query), ("pages", &own["pages"]));
            assert_eq!(all[0].help, "SELECT 1 -- one + 1");
            assert!(all.iter().skip(1).all(|one| !one.is_own && one.name != "pages"));
            assert!(all.iter().all(|one| !one.query.contains(['{', '}'])), "{all:?}");
        }
    }
}
