//! Settings that are sent with statements, and those of them that a user may not change.
//!
//! An administrator can lock settings of a user (a profile with constraints, `readonly`), and older
//! servers do not know all settings. A statement that is refused for one of these is repeated
//! without it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use ::clickhouse::error::Error;

use super::errors::{self, words};

/// The code READONLY.
const IS_READ_ONLY: i32 = 164;

/// SETTING_CONSTRAINT_VIOLATION and UNKNOWN_SETTING.
const NOT_ALLOWED: [i32; 2] = [452, 115];

/// The token of an insert.
pub(super) const TOKEN: &str = "insert_deduplication_token";

/// Makes the server confirm inserts before it stores them.
pub(super) const ASYNC: &str = "async_insert";

/// Makes an insert succeed although a materialized view fails.
pub(super) const IGNORE_VIEWS: &str = "materialized_views_ignore_errors";

/// Makes reads from a replica wait until it has everything that was written before.
pub(super) const CONSISTENT: &str = "select_sequential_consistency";

/// Makes the server refuse statements that write.
pub(super) const READ_ONLY: &str = "readonly";

/// Makes an insert into a distributed table wait until all servers have stored their rows.
pub(super) const WAIT_FOR_SHARDS: &str = "distributed_foreground_insert";

/// Makes the server merge the rows of an insert that have the same key before it stores them.
pub(super) const MERGE_ROWS: &str = "optimize_on_insert";

/// How subqueries on distributed tables are carried out.
pub(super) const LOCAL_SUBQUERIES: &str = "distributed_product_mode";

/// Settings without which events could be lost or queries fail, so that a server that refuses them
/// is not used.
const NEEDED: &[&str] = &[WAIT_FOR_SHARDS, LOCAL_SUBQUERIES];

/// Names and values of settings.
pub(super) type Values = Vec<(&'static str, String)>;

/// Whether a statement may have failed because of a setting.
pub(super) fn is_about_settings(error: &Error) -> bool {
    errors::code(error).is_some_and(|code| code == IS_READ_ONLY || NOT_ALLOWED.contains(&code))
}

/// The settings that turned out not to be allowed.
#[derive(Default)]
pub(super) struct NotAllowed(Mutex<BTreeSet<&'static str>>);

impl NotAllowed {
    /// Whether a setting turned out not to be allowed.
    pub(super) fn contains(&self, setting: &str) -> bool {
        self.known().contains(setting)
    }

    /// Removes the settings that are not allowed.
    pub(super) fn without(&self, mut settings: Values) -> Values {
        let known = self.known();
        settings.retain(|(name, _)| !known.contains(name));
        settings
    }

    /// Whether the statement failed because of one of these settings and should be repeated without
    /// it.
    pub(super) fn learn(&self, error: &Error, sent: &Values) -> bool {
        let Error::BadResponse(reason) = error else { return false };
        if !is_about_settings(error) {
            return false;
        }
        let code = errors::code(error);
        // A user who may not change this one cannot write anyway; any other reason not to send it
        // would let a query write.
        let needed =
            |name: &&str| NEEDED.contains(name) || *name == READ_ONLY && code != Some(IS_READ_ONLY);
        let named = |name: &&'static str| words(reason).any(|word| word == *name);
        let mut names = sent.iter().map(|(name, _)| *name);
        let Some(name) = names.find(named).filter(|name| !needed(name)) else {
            return false;
        };
        if self.known().insert(name) {
            tracing::warn!(
                setting = name,
                "ClickHouse does not allow a setting; continuing without it"
            );
        }
        true
    }

    /// The settings that are not allowed.
    pub(super) fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_refused_is_not_sent_again() {
        let settings = || {
            vec![
                ("max_execution_time", "30".to_owned()),
                ("max_query_size", "1".to_owned()),
                ("distributed_foreground_insert", "1".to_owned()),
            ]
        };
        let not_allowed = NotAllowed::default();
        let learn = |reason: &str| {
            let error = Error::BadResponse(reason.to_owned());
            not_allowed.learn(&error, &not_allowed.without(settings()))
        };
        assert!(!learn("Code: 60. DB::Exception: Table max_query_size does not exist"));
        assert!(!learn("Code: 452. DB::Exception: Setting other should not be changed."));
        assert!(!learn(
            "Code: 452. DB::Exception: Setting distributed_foreground_insert should not be changed."
        ));
        assert_eq!(not_allowed.without(settings()).len(), 3);
        assert!(learn("Code: 452. DB::Exception: Setting max_query_size should not be changed."));
        assert!(learn(
            "Code: 164. DB::Exception: Cannot modify 'max_execution_time' setting in readonly mode."
        ));
        assert!(!learn("Code: 452. DB::Exception: Setting max_query_size should not be changed."));
        assert_eq!(not_allowed.without(settings()).len(), 1);
    }

    #[test]
    fn a_query_stays_read_only() {
        let sent = vec![(READ_ONLY, "1".to_owned())];
        let learned = |reason: &str| {
            NotAllowed::default().learn(&Error::BadResponse(reason.to_owned()), &sent)
        };
        assert!(!learned("Code: 452. DB::Exception: Setting readonly should not be changed."));
        assert!(!learned("Code: 115. DB::Exception: Unknown setting 'readonly'."));
        assert!(learned(
            "Code: 164. DB::Exception: Cannot modify 'readonly' setting in readonly mode."
        ));
    }
}
