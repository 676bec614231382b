//! The tracker: what it stores in the browser, and when it may.

use serde_json::json;

use super::Shop;

/// The keys in both storages.
const KEYS: &str = "Object.keys(localStorage).concat(Object.keys(sessionStorage)).sort().join()";

#[test]
fn events_wait_while_the_browser_is_offline() {
    let mut shop = Shop::with("");
    shop.visit("/");
    shop.stores(&["/"], &[]);
    shop.tab.set_offline(true);
    shop.tab.eval("bklit.track('one')");
    shop.tab.set_offline(false);
    shop.stores(&["/"], &["one"]);
}

#[test]
fn waiting_events_are_bounded_and_sent_at_the_next_visit() {
    let mut shop = Shop::with("");
    shop.visit("/");
    shop.stores(&["/"], &[]);
    shop.tab.eval("window.fetch = () => Promise.reject(new TypeError('unreachable'))");
    shop.tab.eval("for (let n = 1; n <= 120; n++) bklit.track('event', { n })");
    let waiting = "Object.keys(localStorage).filter((key) => key.startsWith('bklit_queue')).length";
    assert_eq!(shop.tab.eval(waiting), 100);
    shop.tab.reopen();
    shop.visit("/");
    shop.stores(&["/", "/"], &["event"; 100]);
    let numbers = shop.list(
        "SELECT json_extract(metadata, '$.n') AS x FROM tracked_event ORDER BY CAST(x AS INTEGER)",
    );
    assert_eq!(numbers, (21..=120).collect::<Vec<_>>());
    shop.tab.until(&format!("{waiting} === 0"));
}

#[test]
fn events_too_old_to_be_recognised_as_repeated_are_not_sent() {
    let mut shop = Shop::with("");
    shop.visit("/");
    shop.stores(&["/"], &[]);
    let body = json!({ "projectId": "default", "trackingId": "old", "eventType": "custom" });
    shop.tab.eval(&format!(
        "for (const [name, age] of [['kept', 23], ['dropped', 25]])
             localStorage.setItem('bklit_queue_default_' + (Date.now() - age * 3600e3).toString(36),
                 '/track-event\\n' + JSON.stringify({{ ...{body}, trackingId: name }}))"
    ));
    shop.visit("/cart");
    shop.stores(&["/", "/cart"], &["kept"]);
    shop.tab.until("Object.keys(localStorage).every((key) => !key.startsWith('bklit_queue'))");
}

#[test]
fn where_consent_is_required_nothing_is_kept_or_sent_without_it() {
    let mut shop = Shop::with("data-consent=required");
    shop.visit("/");
    shop.tab.eval("bklit.track('early'), bklit.pageview()");
    assert!(!shop.has_sent());
    assert_eq!(shop.tab.eval(KEYS), "");
    shop.tab.eval("bklit.consent(true)");
    shop.stores(&["/"], &[]);
    shop.visit("/cart");
    shop.stores(&["/", "/cart"], &[]);
    shop.tab.eval("bklit.consent(false)");
    assert_eq!(shop.tab.eval(KEYS), "bklit_consent");
    shop.tab.eval("bklit.track('late')");
    shop.visit("/");
    assert!(!shop.has_sent());
    assert_eq!(shop.tab.eval(KEYS), "bklit_consent");
    shop.tab.eval("bklit.consent(true)");
    shop.stores(&["/", "/cart", "/"], &[]);
}

#[test]
fn a_browser_that_asks_not_to_be_tracked_is_not() {
    for (property, value) in [("doNotTrack", "'1'"), ("globalPrivacyControl", "true")] {
        let mut shop = Shop::with("");
        shop.tab.before_each_page(&format!(
            "Object.defineProperty(Navigator.prototype, '{property}', {{ get: () => {value} }})"
        ));
        shop.visit("/");
        shop.tab.eval("bklit.track('signup'), bklit.pageview(), bklit.endSession()");
        shop.tab.click("#buy");
        assert!(!shop.has_sent(), "{property}");
        assert_eq!(shop.tab.eval(KEYS), "", "{property}");
    }
}

#[test]
fn a_browser_that_blocks_storage_is_tracked_within_a_page() {
    let mut shop = Shop::with("");
    shop.tab.before_each_page(
        "for (const name of ['localStorage', 'sessionStorage'])
             Object.defineProperty(window, name, { get() { throw new DOMException('blocked'); } })",
    );
    shop.visit("/");
    shop.stores(&["/"], &[]);
    shop.tab.eval("history.pushState(null, '', '/cart')");
    shop.stores(&["/", "/cart"], &[]);
    let sessions = "SELECT count(DISTINCT session_id) FROM page_view_event";
    assert_eq!(shop.daemon.scalar(sessions), json!(1));
}
