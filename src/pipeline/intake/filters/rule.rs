//! The rules of the filters, and what is done with an event that one applies to.

use serde::{Deserialize, Serialize};

/// What is done with an event that a rule applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is accepted, and counted in the metrics.
    Keep,
    /// It is accepted, and the line about it names the rule.
    Mark,
    /// It is not queued. Its sender gets the same answer as for others.
    Drop,
}

impl Action {
    /// The name in settings and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Mark => "mark",
            Self::Drop => "drop",
        }
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])+ $rule:ident = $name:literal),+ $(,)?) => {
        /// Why an event is not a visit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rule { $($(#[$doc])+ $rule),+ }

        impl Rule {
            /// All rules.
            pub const ALL: &[Self] = &[$(Self::$rule),+];

            /// The name in lines and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$rule => $name),+ }
            }
        }
    };
}

rules! {
    /// A crawler of a search engine.
    SearchEngine = "search-engine",
    /// A crawler of an AI service.
    AiCrawler = "ai-crawler",
    /// A service that shows previews of links.
    SocialPreview = "social-preview",
    /// A crawler for search engine optimisation.
    Seo = "seo",
    /// A service that checks whether sites work.
    Monitoring = "monitoring",
    /// A scanner for vulnerabilities.
    Scanner = "scanner",
    /// A crawler of an advertising network.
    Advertising = "advertising",
    /// A reader of feeds.
    FeedReader = "feed-reader",
    /// An archive of the web.
    Archiver = "archiver",
    /// A crawler of a research project.
    Academic = "academic",
    /// A browser that a program controls.
    BrowserAutomation = "browser-automation",
    /// A bot that is not on the list.
    Bot = "bot",
    /// A page that is prefetched or prerendered: nobody has seen it yet.
    Prefetch = "prefetch",
    /// A program that uses an HTTP library.
    HttpLibrary = "http-library",
    /// A request without a user agent.
    NoUserAgent = "no-user-agent",
    /// A visitor in an excluded network.
    Network = "network",
    /// A page of an excluded host.
    Host = "host",
    /// A page with an excluded path.
    Path = "path",
    /// Referrer spam.
    Referrer = "referrer",
    /// The visitor sends Do Not Track.
    DoNotTrack = "do-not-track",
    /// The visitor sends Global Privacy Control.
    GlobalPrivacyControl = "global-privacy-control",
}

impl Rule {
    /// The rule for a category of the list of crawlers.
    pub(super) fn of_bots(category: &str) -> Self {
        let named = Self::ALL.iter().find(|rule| rule.as_str() == category);
        named.copied().unwrap_or(Self::Bot)
    }
}

/// The rule that applies to an event, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule.
    pub rule: Rule,
    /// What to do.
    pub action: Action,
}
