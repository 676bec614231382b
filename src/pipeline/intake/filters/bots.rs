//! Recognises bots by their user agents: a maintained list, and words that no person's browser
//! uses.

use std::sync::LazyLock;

use regex::RegexSet;

use super::Rule;

/// The list of known crawlers: categories and patterns.
const LIST: &str = include_str!("lists/crawlers.txt");

/// Words of bots that are not on the list. Cubot is a brand of phones.
const WORDS: [(Rule, &str); 2] = [
    (
        Rule::BrowserAutomation,
        "(?i)headless|webdriver|selenium|puppeteer|playwright|phantomjs|cypress",
    ),
    (Rule::Bot, r"(?i)(?:^|[^u])bot(?:[^a-z]|$)|crawler|spider(?:[^a-z]|$)"),
];

struct Known {
    patterns: RegexSet,
    /// By pattern.
    rules: Vec<Rule>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let listed = super::entries(LIST).map(|(category, pattern)| (Rule::of_bots(category), pattern));
    let (rules, patterns): (_, Vec<_>) = listed.chain(WORDS).unzip();
    // Tests make sure that the patterns are valid.
    let patterns = RegexSet::new(patterns).unwrap_or_else(|_| RegexSet::empty());
    Known { patterns, rules }
});

/// Compiles the patterns, so that the first event does not have to wait for that.
pub(super) fn prepare() {
    LazyLock::force(&KNOWN);
}

/// The rule for this user agent, if it is not a browser's.
pub fn bot(user_agent: &str) -> Option<Rule> {
    // Faster than finding out which ones match, and most user agents are browsers'.
    if !KNOWN.patterns.is_match(user_agent) {
        return None;
    }
    let found = KNOWN.patterns.matches(user_agent);
    let mut rules = found.iter().filter_map(|pattern| KNOWN.rules.get(pattern).copied());
    // A crawler may also name the library that it uses.
    let first = rules.next()?;
    match first {
        Rule::HttpLibrary => rules.find(|&rule| rule != Rule::HttpLibrary).or(Some(first)),
        rule => Some(rule),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_valid_and_its_categories_are_known() {
        assert!(KNOWN.patterns.len() > 1_000);
        assert_eq!(KNOWN.patterns.len(), KNOWN.rules.len());
        for (category, pattern) in super::super::entries(LIST) {
            assert_ne!(Rule::of_bots(category), Rule::Bot, "{category}: {pattern}");
        }
    }

    #[test]
    fn bots_are_recognised() {
        for (user_agent, rule) in [
            ("Googlebot/2.1", Rule::SearchEngine),
            (
                "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
                Rule::SearchEngine,
            ),
            ("Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", Rule::AiCrawler),
            ("facebookexternalhit/1.1", Rule::SocialPreview),
            ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", Rule::Seo),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 HeadlessChrome/120.0.0.0 Safari/537.36",
                Rule::BrowserAutomation,
            ),
            ("Mozilla/5.0 some-webdriver", Rule::BrowserAutomation),
            ("our-own-bot", Rule::Bot),
            ("NewCrawler 1", Rule::Bot),
            ("curl/8.5.0", Rule::HttpLibrary),
            ("python-requests/2.31", Rule::HttpLibrary),
            ("python-requests/2.31 our-bot", Rule::Bot),
        ] {
            assert_eq!(bot(user_agent), Some(rule), "{user_agent}");
        }
    }

    #[test]
    fn browsers_are_not_bots() {
        for user_agent in [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
             like Gecko) Version/17.0 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/120.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/120.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0",
            "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
             like Gecko) Mobile/15E148 Instagram 300.0.0.0 (iPhone14,5; iOS 17_0; en_US)",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) app/1.0 \
             Chrome/120.0.0.0 Electron/28.0.0 Safari/537.36",
            "own agent",
            "",
        ] {
            assert_eq!(bot(user_agent), None, "{user_agent}");
        }
    }
}
