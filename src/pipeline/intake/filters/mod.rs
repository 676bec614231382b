//! Which events are dropped or marked because they are not visits: those of bots, excluded ones, and
//! those of visitors who do not want to be counted.
//!
//! - `bots`: user agents of bots
//! - `referrers`: the type of a referrer, and referrer spam
//! - `rule`: the rules, and what is done with an event that one applies to
//! - `settings`: the settings of the filters

mod bots;
mod referrers;
mod rule;
mod settings;

use std::borrow::Cow;
use std::net::IpAddr;

use bklit_wire::event::Payload;
use hyper::HeaderMap;
use hyper::header::{HeaderName, REFERER, USER_AGENT};

use super::enrich::{has_any, header};
use super::globs::Globs;
use super::known_texts::KnownTexts;
use super::page::Page;
use super::{PrivacySettings, Sender};

pub use bots::bot;
use referrers::Spammers;
pub use referrers::referrer_type;
pub use rule::{Action, Rule, Verdict};
pub use settings::FilterSettings;

/// Headers that state the purpose of a browser's request.
pub static PURPOSE_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

/// The entries of a list: two columns with a tab between them, after a comment.
fn entries(list: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'))
}

/// Decides which events to drop or mark.
#[derive(Default)]
pub struct Filters {
    settings: FilterSettings,
    privacy: PrivacySettings,
    spammers: Spammers,
    /// Classifications of recent user agents.
    bots: KnownTexts,
}

/// An event to decide about, completed.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    payload: &'a Payload,
    /// The page's address, of a page view.
    page: Option<&'a Page>,
    headers: &'a HeaderMap,
    ip: IpAddr,
}

impl<'a> Seen<'a> {
    pub(super) fn new(payload: &'a Payload, page: Option<&'a Page>, sender: Sender<'a>) -> Self {
        Self { payload, page, headers: sender.headers, ip: sender.visitor.ip() }
    }

    /// The user agent; the page view's own counts, because a server may send those of others.
    fn user_agent(&self) -> Option<Cow<'a, str>> {
        match self.payload {
            Payload::Pageview(view) => view.user_agent.as_deref().map(Cow::Borrowed),
            _ => header(self.headers, USER_AGENT),
        }
    }

    /// The page's address; of other events, what the browser sent about it.
    fn page(&self) -> Option<Cow<'a, Page>> {
        let from_header = || Page::parse(&header(self.headers, REFERER)?);
        self.page.map(Cow::Borrowed).or_else(|| from_header().map(Cow::Owned))
    }

    fn says(&self, name: &str, value: &str) -> bool {
        header(self.headers, name).as_deref() == Some(value)
    }
}

impl Filters {
    /// Filters with these settings; `more_referrers` are the lines of the file with more hosts that
    /// send spam.
    pub fn new(
        settings: FilterSettings,
        privacy: PrivacySettings,
        more_referrers: Option<&str>,
    ) -> Self {
        bots::prepare();
        referrers::prepare();
        let mut spammers = Spammers::default();
        settings.referrers.iter().for_each(|host| spammers.add(host));
        spammers.add(more_referrers.unwrap_or_default());
        Self { settings, privacy, spammers, bots: KnownTexts::default() }
    }

    /// Parameters that are removed from addresses.
    pub(super) fn stripped_parameters(&self) -> &Globs {
        &self.privacy.strip_query
    }

    /// The rule that applies to an event, with what to do. If there are several, the one with the
    /// strictest action.
    pub(super) fn check(&self, event: Seen<'_>) -> Option<Verdict> {
        let rules = [self.refusal(event), self.exclusion(event), bot_rule(event, &self.bots)];
        let verdicts = rules.into_iter().flatten().map(|rule| self.verdict(rule));
        verdicts.reduce(|strictest, next| match next.action > strictest.action {
            true => next,
            false => strictest,
        })
    }

    fn verdict(&self, rule: Rule) -> Verdict {
        let action = match rule {
            Rule::DoNotTrack | Rule::GlobalPrivacyControl => Action::Drop,
            Rule::Network | Rule::Host | Rule::Path | Rule::Referrer => self.settings.excluded,
            Rule::HttpLibrary | Rule::NoUserAgent => self.settings.programs,
            _ => self.settings.bots,
        };
        Verdict { rule, action }
    }

    /// Whether the visitor does not want to be counted.
    fn refusal(&self, event: Seen<'_>) -> Option<Rule> {
        if self.privacy.do_not_track && event.says("dnt", "1") {
            return Some(Rule::DoNotTrack);
        }
        let is_honoured = self.privacy.global_privacy_control;
        (is_honoured && event.says("sec-gpc", "1")).then_some(Rule::GlobalPrivacyControl)
    }

    fn exclusion(&self, event: Seen<'_>) -> Option<Rule> {
        let FilterSettings { networks, hosts, paths, .. } = &self.settings;
        if !networks.is_empty() && networks.contains(event.ip) {
            return Some(Rule::Network);
        }
        if (!hosts.is_empty() || !paths.is_empty())
            && let Some(page) = event.page()
        {
            if page.host().is_some_and(|host| hosts.has(host)) {
                return Some(Rule::Host);
            }
            if paths.has(page.path()) {
                return Some(Rule::Path);
            }
        }
        let Payload::Pageview(view) = event.payload else { return None };
        self.spammers.sent(view).then_some(Rule::Referrer)
    }
}

/// Whether an event is not a person's; `bots` remembers what user agents mean.
fn bot_rule(event: Seen<'_>, bots: &KnownTexts) -> Option<Rule> {
    if has_any(event.headers, &PURPOSE_HEADERS) {
        let mut purposes = PURPOSE_HEADERS.iter().filter_map(|name| header(event.headers, name));
        // Browsers send `prefetch` and `prefetch;prerender`, old ones also `preview`.
        if purposes.any(|value| value.starts_with("prefetch") || value == "preview") {
            return Some(Rule::Prefetch);
        }
    }
    match event.user_agent().as_deref().map(str::trim) {
        None | Some("") => Some(Rule::NoUserAgent),
        Some(user_agent) => {
            let place = |rule| Rule::ALL.iter().position(|known| *known == rule);
            let read = |text: &str| {
                let place = bot(text).and_then(place).map(|place| place + 1);
                place.and_then(|place| u8::try_from(place).ok()).unwrap_or(0)
            };
            let meaning = usize::from(bots.meaning(user_agent, read));
            meaning.checked_sub(1).and_then(|place| Rule::ALL.get(place)).copied()
        }
    }
}
