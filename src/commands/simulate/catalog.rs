//! The pages of the simulated web site, and the browsers, sources and events of its visitors.

/// The simulated site's address, without a path.
pub const SITE: &str = "https://www.example.com";

/// A page of the site.
pub struct Page {
    /// Its path.
    pub path: &'static str,
    /// Its title.
    pub title: &'static str,
}

const fn page(path: &'static str, title: &'static str) -> Page {
    Page { path, title }
}

/// The pages, the most viewed first.
pub const PAGES: &[Page] = &[
    page("/", "Example — analytics you can read"),
    page("/pricing", "Pricing"),
    page("/docs", "Documentation"),
    page("/docs/getting-started", "Getting started"),
    page("/blog", "Blog"),
    page("/features", "Features"),
    page("/docs/install", "Install"),
    page("/signup", "Create an account"),
    page("/login", "Log in"),
    page("/docs/sdk/browser", "Browser SDK"),
    page("/blog/one-binary", "Why we ship one binary"),
    page("/blog/queue-before-database", "A queue before the database"),
    page("/docs/events", "Custom events"),
    page("/changelog", "Changelog"),
    page("/about", "About us"),
    page("/docs/api", "HTTP API"),
    page("/customers", "Customers"),
    page("/docs/sessions", "Sessions and bounces"),
    page("/blog/cookieless", "Counting visitors without cookies"),
    page("/features/live", "Live view"),
    page("/features/funnels", "Funnels"),
    page("/features/export", "Export"),
    page("/docs/self-hosting", "Self-hosting"),
    page("/docs/self-hosting/backup", "Backup and restore"),
    page("/docs/privacy", "Privacy"),
    page("/compare", "Compare"),
    page("/contact", "Contact"),
    page("/careers", "Careers"),
    page("/search?q=retention", "Search: retention"),
    page("/search?q=caf%C3%A9%20%26%20bar", "Search: café & bar"),
    page("/de/preise", "Preise"),
    page("/fr/tarifs", "Tarifs"),
    page("/es/precios", "Precios"),
    page("/ja/docs", "ドキュメント"),
    page("/ar/about", "من نحن"),
    page("/blog/2024-in-review", "2024 in review"),
    page("/blog/incident-report", "Incident report: eleven slow minutes"),
    page("/docs/faq", "Questions and answers"),
    page("/status", "Status"),
    page("/legal/terms", "Terms"),
    page("/legal/imprint", "Imprint"),
    page("/press", "Press"),
];

/// A browser or a bot, and its share of the visitors.
pub struct Agent {
    /// Its `User-Agent`.
    pub name: &'static str,
    /// Its share among all visitors.
    pub weight: u32,
    /// Whether it is a bot, which views pages fast and does nothing else.
    pub bot: bool,
}

const fn browser(weight: u32, name: &'static str) -> Agent {
    Agent { name, weight, bot: false }
}

const fn bot(weight: u32, name: &'static str) -> Agent {
    Agent { name, weight, bot: true }
}

/// Browsers and bots.
pub const AGENTS: &[Agent] = &[
    browser(
        28,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    ),
    browser(
        8,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
    ),
    browser(
        9,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    ),
    browser(
        6,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    ),
    browser(4, "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"),
    browser(3, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0"),
    browser(
        18,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    ),
    browser(
        16,
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
    ),
    browser(3, "Mozilla/5.0 (Android 15; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0"),
    browser(
        2,
        "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    ),
    // Not those of known crawlers: their events are dropped, and all that is accepted is to be stored.
    bot(2, "python-requests/2.32.3"),
    bot(1, "okhttp/4.12.0"),
    bot(1, "curl/8.11.0"),
];

/// Where visitors come from.
pub struct Source {
    /// The page that linked here; empty for none.
    pub referrer: &'static str,
    /// Bklit's name for the kind.
    pub kind: &'static str,
    /// `utm_source` and `utm_medium`, when it is a campaign.
    pub utm: Option<(&'static str, &'static str)>,
    /// The field of the click id that it adds.
    pub click_id: Option<&'static str>,
    /// Its share among all visits.
    pub weight: u32,
}

const fn source(weight: u32, referrer: &'static str, kind: &'static str) -> Source {
    Source { referrer, kind, utm: None, click_id: None, weight }
}

const fn campaign(
    weight: u32,
    referrer: &'static str,
    kind: &'static str,
    utm: (&'static str, &'static str),
    click_id: Option<&'static str>,
) -> Source {
    Source { referrer, kind, utm: Some(utm), click_id, weight }
}

/// Search engines, social networks, newsletters, and direct visits.
pub const SOURCES: &[Source] = &[
    source(36, "", "direct"),
    source(24, "https://www.google.com/", "organic"),
    source(4, "https://www.bing.com/", "organic"),
    source(3, "https://duckduckgo.com/", "organic"),
    source(4, "https://news.ycombinator.com/item?id=42424242", "referral"),
    source(4, "https://github.com/", "referral"),
    source(2, "https://t.co/x7Gh2", "social"),
    campaign(6, "https://www.google.com/", "paid", ("google", "cpc"), Some("gclid")),
    campaign(4, "https://www.facebook.com/", "paid", ("facebook", "paid_social"), Some("fbclid")),
    campaign(2, "https://www.bing.com/", "paid", ("bing", "cpc"), Some("msclkid")),
    campaign(1, "https://www.tiktok.com/", "paid", ("tiktok", "paid_social"), Some("ttclid")),
    campaign(
        1,
        "https://www.linkedin.com/feed/",
        "paid",
        ("linkedin", "paid_social"),
        Some("liFatId"),
    ),
    campaign(1, "https://x.com/", "paid", ("x", "paid_social"), Some("twclid")),
    campaign(6, "", "email", ("newsletter", "email"), None),
];

/// Campaigns' names.
pub const CAMPAIGNS: &[&str] = &["autumn-launch", "black-friday", "docs-retarget", "brand"];

/// Languages and their shares.
pub const LANGUAGES: &[(&str, u32)] = &[
    ("en-US", 46),
    ("en-GB", 11),
    ("de-DE", 10),
    ("fr-FR", 7),
    ("es-ES", 6),
    ("pt-BR", 5),
    ("ja-JP", 4),
    ("nl-NL", 3),
    ("pl-PL", 2),
    ("zh-CN", 2),
    ("ar-EG", 1),
];

/// Custom events: tracking id and event type.
pub const EVENTS: &[(&str, &str)] = &[
    ("cta-signup", "click"),
    ("nav-menu", "click"),
    ("docs-copy-code", "click"),
    ("pricing-toggle", "click"),
    ("scroll-depth", "scroll"),
    ("newsletter-form", "submit"),
    ("video-intro", "play"),
    ("checkout", "purchase"),
];
