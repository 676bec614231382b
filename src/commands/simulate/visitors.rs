//! Generates the traffic: visitors, what they view, and when they act next. Deterministic: the same
//! seed and the same times give the same requests.
//!
//! Each due request goes to the visitor who has been ready longest; if none is ready, a new one
//! arrives. So visitors keep a human pace at any rate.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::catalog::{
    AGENTS, Agent, CAMPAIGNS, EVENTS, LANGUAGES, PAGES, Page, SITE, SOURCES, Source,
};
use super::mistakes;
use bklit_wire::event::EventKind;
use bklit_wire::time::UtcMillis;

/// The most visitors at a time, to bound memory. Beyond that, the next visitor acts early.
const MAX_VISITORS: usize = 100_000;
/// The most pages of a visit.
const MAX_PAGES: u32 = 20;
/// The share of visits that end with a session end; the others just stop.
const SENDS_SESSION_END: f64 = 0.8;
/// The share of visits with one page view only.
const BOUNCES: f64 = 0.4;
/// The share of page views that are followed by a custom event.
const ACTS: f64 = 0.3;

/// A request to send, and the expected response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The path of the route.
    pub path: &'static str,
    /// The header `Content-Type`.
    pub content_type: &'static str,
    /// The header `User-Agent`.
    pub user_agent: &'static str,
    /// Which token it is sent with.
    pub token: TokenChoice,
    /// The body.
    pub body: Vec<u8>,
    /// The expected response.
    pub expects: Expected,
}

/// Which token a request is sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenChoice {
    /// The given one.
    Given,
    /// None, as with `navigator.sendBeacon`.
    None,
    /// This wrong one.
    Wrong(String),
}

/// The expected response to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// 200, as an event of this kind.
    Accepted(EventKind),
    /// Refused with this status.
    Refused(u16),
}

/// What traffic to generate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The project of all events.
    pub project: String,
    /// Percentage of invalid requests.
    pub bad_percent: u8,
    /// When the traffic starts; timestamps count from here.
    pub start: UtcMillis,
    /// The seed of all random choices.
    pub seed: u64,
}

/// The generated traffic.
pub struct Traffic {
    plan: Plan,
    rng: Rng,
    /// Cumulative weights of the pages, by Zipf's law.
    page_weights: Vec<f64>,
    /// Visitors by the time they act next; the number orders equal times.
    waiting: BinaryHeap<Reverse<(Duration, u64)>>,
    visitors: HashMap<u64, Visitor>,
    most_visitors: usize,
    arrived: u64,
}

struct Visitor {
    session: String,
    agent: &'static Agent,
    language: &'static str,
    source: &'static Source,
    is_new: bool,
    landing: Option<&'static Page>,
    page: &'static Page,
    pages_left: u32,
    next: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    View,
    Act,
    Leave,
}

impl Traffic {
    /// Traffic for this plan.
    pub fn new(plan: Plan) -> Self {
        let mut sum = 0.0;
        let page_weights = (1..=PAGES.len())
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        Self {
            rng: Rng::with_seed(plan.seed),
            plan,
            page_weights,
            waiting: BinaryHeap::new(),
            visitors: HashMap::new(),
            most_visitors: MAX_VISITORS,
            arrived: 0,
        }
    }

    /// The request that is due `at` this time after the start. Times must not decrease.
    pub fn next(&mut self, at: Duration) -> Planned {
        if self.rng.u8(0..100) < self.plan.bad_percent {
            let timestamp = self.moment(at);
            let agent = choose(&mut self.rng, AGENTS, |agent| agent.weight);
            let page = self.page();
            let body = json!({
                "url": format!("{SITE}{}", page.path),
                "projectId": self.plan.project,
                "timestamp": timestamp.to_string(),
                "title": page.title,
            });
            return mistakes::spoil(&mut self.rng, body, agent.name);
        }
        let ready = self.waiting.peek().is_some_and(|Reverse((when, _))| *when <= at);
        let number = if ready || self.waiting.len() >= self.most_visitors {
            self.waiting.pop().map(|Reverse((_, number))| number)
        } else {
            None
        };
        let (number, mut visitor) = number
            .and_then(|number| Some((number, self.visitors.remove(&number)?)))
            .unwrap_or_else(|| self.arrive());
        let step = visitor.next;
        let planned = match step {
            Step::View => self.view(&mut visitor, at),
            Step::Act => self.act(&visitor, at),
            Step::Leave => self.leave(&visitor, at),
        };
        if let Some((next, pause)) = self.decide(&visitor, step) {
            visitor.next = next;
            self.waiting.push(Reverse((at + pause, number)));
            self.visitors.insert(number, visitor);
        }
        planned
    }

    fn moment(&self, at: Duration) -> UtcMillis {
        let passed = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        UtcMillis::from_epoch_millis(self.plan.start.epoch_millis().saturating_add(passed))
    }

    fn page(&mut self) -> &'static Page {
        let sum = self.page_weights.last().copied().unwrap_or_default();
        let at = self.rng.f64() * sum;
        let index = self.page_weights.partition_point(|&weight| weight <= at);
        &PAGES[index.min(PAGES.len() - 1)]
    }

    fn arrive(&mut self) -> (u64, Visitor) {
        let number = self.arrived;
        self.arrived += 1;
        let agent = choose(&mut self.rng, AGENTS, |agent| agent.weight);
        let mut pages_left = 1;
        if self.rng.f64() >= BOUNCES {
            pages_left += 1;
            while pages_left < MAX_PAGES && self.rng.f64() < 0.65 {
                pages_left += 1;
            }
        }
        let visitor = Visitor {
            // The start distinguishes runs with the same seed.
            session: format!("sim-{:x}-{:08x}", self.plan.start.epoch_millis(), number),
            agent,
            language: choose(&mut self.rng, LANGUAGES, |language| language.1).0,
            source: choose(&mut self.rng, SOURCES, |source| source.weight),
            is_new: self.rng.f64() < 0.6,
            landing: None,
            page: self.page(),
            pages_left,
            next: Step::View,
        };
        (number, visitor)
    }

    fn view(&mut self, visitor: &mut Visitor, at: Duration) -> Planned {
        let previous = visitor.landing.map(|_| visitor.page);
        if previous.is_some() {
            visitor.page = self.page();
        }
        let landing = *visitor.landing.get_or_insert(visitor.page);
        visitor.pages_left -= 1;
        let url = format!("{SITE}{}", visitor.page.path);
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put("projectId", self.plan.project.clone().into());
        put("timestamp", self.moment(at).to_string().into());
        put("sessionId", visitor.session.clone().into());
        put("title", visitor.page.title.into());
        put("userAgent", visitor.agent.name.into());
        put("language", visitor.language.into());
        put("isNewVisitor", visitor.is_new.into());
        put("landingPage", format!("{SITE}{}", landing.path).into());
        put("canonicalUrl", url.clone().into());
        let query = match previous {
            Some(previous) => {
                put("referrer", format!("{SITE}{}", previous.path).into());
                put("referrerType", "internal".into());
                String::new()
            }
            None => self.came_from(visitor.source, &mut body),
        };
        body.insert("url".to_owned(), with_query(url, &query).into());
        self.event("/track", EventKind::Pageview, visitor, &Value::Object(body))
    }

    /// Adds the fields about the source to a visit's first page view; returns the query for its URL.
    fn came_from(&mut self, source: &Source, body: &mut Map<String, Value>) -> String {
        let mut put = |name: &str, value: String| body.insert(name.to_owned(), value.into());
        put("referrerType", source.kind.to_owned());
        if let Ok(referrer) = url::Url::parse(source.referrer) {
            put("referrer", source.referrer.to_owned());
            put("referrerPath", referrer.path().to_owned());
            put("referrerHostname", referrer.host_str().unwrap_or_default().to_owned());
        }
        let Some((utm_source, medium)) = source.utm else { return String::new() };
        let campaign = CAMPAIGNS[self.rng.usize(..CAMPAIGNS.len())];
        put("utmSource", utm_source.to_owned());
        put("utmMedium", medium.to_owned());
        put("utmCampaign", campaign.to_owned());
        let mut query =
            format!("utm_source={utm_source}&utm_medium={medium}&utm_campaign={campaign}");
        if let Some(field) = source.click_id {
            let id = format!("{:016x}", self.rng.u64(..));
            let parameter = if field == "liFatId" { "li_fat_id" } else { field };
            query.push_str(&format!("&{parameter}={id}"));
            put(field, id);
        }
        query
    }

    fn act(&mut self, visitor: &Visitor, at: Duration) -> Planned {
        let (tracking_id, event_type) = EVENTS[self.rng.usize(..EVENTS.len())];
        let mut metadata = json!({
            "page": visitor.page.path,
            "x": self.rng.u32(0..1920),
            "y": self.rng.u32(0..1080),
        });
        match event_type {
            "purchase" => {
                metadata["order"] = json!({
                    "value": f64::from(self.rng.u32(900..49_900)) / 100.0,
                    "currency": "EUR",
                    "items": self.rng.u32(1..5),
                });
            }
            "scroll" => metadata["depth"] = json!([25, 50, 75, 100][self.rng.usize(..4)]),
            _ => metadata["label"] = visitor.page.title.into(),
        }
        let body = json!({
            "projectId": self.plan.project,
            "timestamp": self.moment(at).to_string(),
            "sessionId": visitor.session,
            "trackingId": tracking_id,
            "eventType": event_type,
            "metadata": metadata,
        });
        self.event("/track-event", EventKind::Event, visitor, &body)
    }

    fn leave(&mut self, visitor: &Visitor, at: Duration) -> Planned {
        let reason = if self.rng.f64() < 0.9 { "closed" } else { "manual" };
        let body = json!({
            "projectId": self.plan.project,
            "timestamp": self.moment(at).to_string(),
            "sessionId": visitor.session,
            "reason": reason,
        });
        self.event("/session-end", EventKind::SessionEnd, visitor, &body)
    }

    fn event(
        &self,
        path: &'static str,
        kind: EventKind,
        visitor: &Visitor,
        body: &Value,
    ) -> Planned {
        // Browsers send session ends with `navigator.sendBeacon`: plain text and no token.
        let beacon = kind == EventKind::SessionEnd;
        Planned {
            path,
            content_type: if beacon { "text/plain;charset=UTF-8" } else { "application/json" },
            user_agent: visitor.agent.name,
            token: if beacon { TokenChoice::None } else { TokenChoice::Given },
            body: body.to_string().into_bytes(),
            expects: Expected::Accepted(kind),
        }
    }

    /// What the visitor does after `done`, and how long that takes; `None` when the visit has ended.
    fn decide(&mut self, visitor: &Visitor, done: Step) -> Option<(Step, Duration)> {
        if done == Step::Leave {
            return None;
        }
        if visitor.agent.bot {
            let pause = self.pause(0.1, 0.5);
            return (visitor.pages_left > 0).then_some((Step::View, pause));
        }
        if done == Step::View && self.rng.f64() < ACTS {
            return Some((Step::Act, self.pause(0.3, 1.5)));
        }
        if visitor.pages_left > 0 {
            return Some((Step::View, self.pause(0.5, 3.0)));
        }
        (self.rng.f64() < SENDS_SESSION_END).then(|| (Step::Leave, self.pause(0.5, 3.0)))
    }

    /// An exponentially distributed pause: `least` seconds plus `mean` on average.
    fn pause(&mut self, least: f64, mean: f64) -> Duration {
        let more = -mean * (1.0 - self.rng.f64()).ln();
        Duration::from_secs_f64((least + more).min(120.0))
    }
}

/// One of `options`, chosen by weight.
fn choose<T>(rng: &mut Rng, options: &'static [T], weight: impl Fn(&T) -> u32) -> &'static T {
    let mut at = rng.u32(0..options.iter().map(&weight).sum());
    for option in options {
        let weight = weight(option);
        if at < weight {
            return option;
        }
        at -= weight;
    }
    &options[0]
}

fn with_query(url: String, query: &str) -> String {
    match (query.is_empty(), url.contains('?')) {
        (true, _) => url,
        (false, true) => format!("{url}&{query}"),
        (false, false) => format!("{url}?{query}"),
    }
}

#[cfg(test)]
mod tests;
