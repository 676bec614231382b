//! Which limit was reached, and when to try again.

use std::time::Duration;

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Events per second of a project.
    ProjectRate,
    /// Events per day of a project.
    ProjectQuota,
    /// Events per second of a token.
    TokenRate,
    /// Events per day of a token.
    TokenQuota,
    /// A project's share of the queue.
    QueueShare,
    /// Ends of unknown sessions, without a token.
    UnknownEnds,
    /// Lookups of unknown tokens.
    UnknownTokens,
}

impl Limit {
    /// All limits.
    pub const ALL: [Self; 7] = [
        Self::ProjectRate,
        Self::ProjectQuota,
        Self::TokenRate,
        Self::TokenQuota,
        Self::QueueShare,
        Self::UnknownEnds,
        Self::UnknownTokens,
    ];

    /// Its name in metrics and log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProjectRate => "project_per_second",
            Self::ProjectQuota => "project_per_day",
            Self::TokenRate => "token_per_second",
            Self::TokenQuota => "token_per_day",
            Self::QueueShare => "queue_share",
            Self::UnknownEnds => "unknown_ends_per_second",
            Self::UnknownTokens => "unknown_tokens_per_second",
        }
    }

    /// Whether it bounds what a project or token sends, not what one address does.
    pub fn is_about_project(self) -> bool {
        !matches!(self, Self::UnknownEnds | Self::UnknownTokens)
    }

    fn what(self) -> &'static str {
        match self {
            Self::ProjectRate => "too many events per second for this project",
            Self::ProjectQuota => "the project has used up its events for today",
            Self::TokenRate => "too many events per second for this token",
            Self::TokenQuota => "the token has used up its events for today",
            Self::QueueShare => "the project fills its share of the queue",
            Self::UnknownEnds => "too many ends of unknown sessions without a token",
            Self::UnknownTokens => "too many unknown tokens from this address",
        }
    }
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} (the limit is {most}); try again in {} s", .limit.what(), .retry_after.as_secs())]
pub struct Throttled {
    /// Which one.
    pub limit: Limit,
    /// Its value: events, or for the queue the events that may wait.
    pub most: u64,
    /// When to try again, in whole seconds, at least one.
    pub retry_after: Duration,
}

impl Throttled {
    /// Rounds `wait` up.
    pub(super) fn new(limit: Limit, most: u64, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        let retry_after = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
        Self { limit, most, retry_after }
    }
}
