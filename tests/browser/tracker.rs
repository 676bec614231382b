//! The tracker: visitors' actions and the resulting events.

use serde_json::{Value, json};

use super::Shop;
use crate::support::site::Site;
use crate::support::{DEADLINE, Daemon, eventually};

#[test]
fn a_visit_to_a_single_page_app_is_recorded() {
    let mut shop = Shop::with("");
    shop.visit("/?utm_source=mail#top");
    let home = "/?utm_source=mail";
    shop.stores(&[home], &[]);
    // The address stays the same, so these are not views.
    shop.tab.eval("history.replaceState(null, '', location.href); location.hash = 'below'; 0");
    shop.tab.eval("history.pushState(null, '', '/cart'); document.title = 'Cart'");
    shop.stores(&[home, "/cart"], &[]);
    shop.tab.eval("history.back()");
    shop.stores(&[home, "/cart", home], &[]);
    // Of several routes in a row, the last one counts.
    shop.tab.eval("history.replaceState(null, '', '/pay'); history.pushState(null, '', '/thanks')");
    shop.stores(&[home, "/cart", home, "/thanks"], &[]);
    shop.tab.click("#buy b");
    shop.stores(&[home, "/cart", home, "/thanks"], &["buy"]);
    shop.tab.eval("bklit.track('signup', { plan: 'free', seats: 3 })");
    shop.stores(&[home, "/cart", home, "/thanks"], &["buy", "signup"]);
    shop.tab.close();
    shop.ends();

    let column =
        |column: &str| shop.list(&format!("SELECT {column} AS x FROM page_view_event ORDER BY id"));
    assert_eq!(column("title"), ["Shop", "Cart", "Cart", "Cart"]);
    let (home, cart) = (json!(shop.url(home)), json!(shop.url("/cart")));
    assert_eq!(column("referrer"), [Value::Null, home.clone(), cart, home.clone()]);
    assert_eq!(column("is_new_visitor"), [1, 0, 0, 0]);
    assert_eq!(column("landing_page"), vec![home; 4]);
    for (name, value) in [
        ("description", "All things"),
        ("robots", "index"),
        ("og_title", "The shop"),
        ("og_image", "https://shop.example/image.png"),
        ("favicon", "https://shop.example/icon.png"),
        ("canonical_url", "https://shop.example/"),
        ("language", "nb"),
    ] {
        assert_eq!(column(name), [value; 4], "{name}");
    }
    assert_eq!(column("utm_source"), [json!("mail"), Value::Null, json!("mail"), Value::Null]);
    let metadata = shop.list("SELECT metadata AS x FROM tracked_event ORDER BY id");
    let metadata = metadata.iter().map(|text| serde_json::from_str(text.as_str().unwrap()));
    let metadata: Vec<Value> = metadata.map(Result::unwrap).collect();
    assert_eq!(
        metadata,
        [
            json!({ "plan": "pro", "listPrice": "7", "triggerMethod": "automatic", "eventType": "click" }),
            json!({ "plan": "free", "seats": 3, "triggerMethod": "manual", "eventType": "custom" }),
        ]
    );
    for (sql, value) in [
        ("SELECT count(DISTINCT session_id) FROM page_view_event", json!(1)),
        ("SELECT count() FROM tracked_session", json!(1)),
        ("SELECT did_bounce FROM tracked_session", json!(0)),
        ("SELECT exit_page FROM tracked_session", json!(shop.url("/thanks"))),
        ("SELECT count(DISTINCT session_id) FROM tracked_event", json!(1)),
    ] {
        assert_eq!(shop.daemon.scalar(sql), value, "{sql}");
    }
}

#[test]
fn a_session_continues_across_pages_and_ends_when_the_site_is_left() {
    let mut shop = Shop::with("");
    let elsewhere = Site::serve(String::new(), vec![("/", "elsewhere".to_owned())]);
    shop.visit("/");
    shop.stores(&["/"], &[]);
    shop.tab.leave_by("document.querySelector('#cart').click()");
    shop.stores(&["/", "/cart"], &[]);
    shop.tab.leave_by("location.reload()");
    shop.stores(&["/", "/cart", "/cart"], &[]);
    shop.tab.eval("history.back()");
    shop.stores(&["/", "/cart", "/cart", "/"], &[]);
    assert_eq!(shop.received_ends(), 0, "{}", shop.log());
    let leave = format!("location.href = {:?}", elsewhere.url("elsewhere", "/"));
    shop.tab.leave_by(&leave);
    shop.ends();
    assert_eq!(shop.received_ends(), 1);
    let sessions = "SELECT count(DISTINCT session_id) FROM page_view_event";
    assert_eq!(shop.daemon.scalar(sessions), json!(1));
}

#[test]
fn a_page_that_the_browser_kept_counts_again_when_the_visitor_returns_to_it() {
    let mut shop = Shop::with("");
    let elsewhere = Site::serve(String::new(), vec![("/", "elsewhere".to_owned())]);
    shop.visit("/");
    shop.stores(&["/"], &[]);
    shop.tab.eval("window.isKept = true");
    shop.tab.leave_by(&format!("location.href = {:?}", elsewhere.url("elsewhere", "/")));
    shop.tab.eval("history.back()");
    shop.tab.until("window.isKept === true");
    shop.stores(&["/", "/"], &[]);
    shop.tab.close();
    shop.ends();
}

#[test]
fn fragments_are_routes_where_the_site_says_so() {
    let mut shop = Shop::with("data-hash");
    shop.visit("/#/a");
    shop.stores(&["/#/a"], &[]);
    shop.tab.eval("location.hash = '#/b'");
    shop.stores(&["/#/a", "/#/b"], &[]);
}

#[test]
fn an_event_whose_answer_was_lost_is_repeated_with_its_id_and_stored_once() {
    // A killed worker may leave a batch under its lease.
    let daemon = Daemon::on_lasting_ports("[worker]\nlease = \"1s\"\n");
    let mut shop = Shop::on(daemon, "");
    shop.tab.before_each_page(
        "const real = window.fetch; let isFirst = true;
         window.fetch = async (url, options) => {
             if (window.isDown) throw new TypeError('no connection');
             const response = await real(url, options);
             if (!isFirst || !url.endsWith('/track-event')) return response;
             isFirst = false;
             window.isDown = true;
             throw new TypeError('connection lost');
         };",
    );
    shop.visit("/");
    shop.tab.eval("bklit.track('paid')");
    shop.tab.until("window.isDown === true");
    shop.daemon = shop.daemon.restart();
    shop.tab.eval("window.isDown = false; dispatchEvent(new Event('online'))");
    eventually(DEADLINE, "the event is repeated", || shop.log().contains("a retry"));
    shop.daemon.kill9();
    shop.tab.eval("bklit.track('while-down')");
    shop.daemon = shop.daemon.restart();
    // The pauses between attempts have grown.
    shop.tab.eval("dispatchEvent(new Event('online'))");
    shop.stores(&["/"], &["paid", "while-down"]);
    shop.tab.until("Object.keys(localStorage).every((key) => !key.startsWith('bklit_queue'))");
}

#[test]
fn a_page_opened_in_the_background_counts_when_it_is_shown() {
    let mut shop = Shop::with("");
    shop.tab.before_each_page(
        "let state = 'hidden';
         Object.defineProperty(Document.prototype, 'visibilityState', { get: () => state });
         window.show = () => {
             state = 'visible';
             document.dispatchEvent(new Event('visibilitychange'));
         };",
    );
    shop.visit("/");
    assert!(!shop.has_sent());
    shop.tab.eval("show(), show()");
    shop.tab.eval("bklit.track('seen')");
    shop.stores(&["/"], &["seen"]);
}

#[test]
fn a_refused_event_is_reported_to_the_page_and_not_repeated() {
    let mut shop = Shop::with("");
    let page = super::page(&shop.daemon, "data-project=default data-token=wrong");
    shop.site = Site::serve(super::strict_policy(&shop.daemon), vec![("/", page)]);
    shop.visit("/");
    let warning = shop.tab.event("Runtime.consoleAPICalled");
    assert_eq!(warning["type"], "warning");
    assert!(warning.to_string().contains("bklit: event refused"), "{warning}");
    shop.tab.until("Object.keys(localStorage).every((key) => !key.startsWith('bklit_queue'))");
}

#[test]
fn events_can_be_sent_to_another_host_than_the_scripts() {
    let mut shop = Shop::with("");
    let port = shop.daemon.addr.port();
    let token = shop.daemon.token();
    let attributes =
        format!("data-project=default data-token={token} data-host=http://events.localhost:{port}");
    let page = super::page(&shop.daemon, &attributes);
    shop.site = Site::serve(String::new(), vec![("/", page)]);
    shop.visit("/");
    shop.stores(&["/"], &[]);
    let requests = shop.tab.events("Network.requestWillBeSent");
    assert!(requests.iter().any(
        |request| request["request"]["url"] == format!("http://events.localhost:{port}/track")
    ));
}

#[test]
fn events_are_sent_to_the_path_that_the_script_comes_from() {
    let mut shop = Shop::with("");
    let script = shop.daemon.get("/tracker.js").text();
    let page = "<script defer src=/stats/tracker.js data-project=default data-token=t></script>";
    let pages = vec![("/", page.to_owned()), ("/stats/tracker.js", script)];
    shop.site = Site::serve(String::new(), pages);
    shop.visit("/");
    let request = shop.tab.events("Network.requestWillBeSent");
    let is_sent = |url: String| request.iter().any(|sent| sent["request"]["url"] == url);
    assert!(is_sent(shop.url("/stats/track")), "{request:?}");
}

#[test]
fn clicks_count_in_shadow_trees_and_where_the_page_stops_them() {
    let mut shop = Shop::with("");
    shop.visit("/");
    shop.stores(&["/"], &[]);
    shop.tab.eval(
        "const host = document.body.appendChild(document.createElement('div'));
         const button = document.createElement('button');
         button.dataset.bklitEvent = 'hidden-buy';
         button.addEventListener('click', (event) => event.stopImmediatePropagation());
         host.attachShadow({ mode: 'open' }).append(button);
         button.click()",
    );
    shop.stores(&["/"], &["hidden-buy"]);
}

#[test]
fn an_event_that_cannot_be_sent_harms_neither_the_page_nor_other_events() {
    let mut shop = Shop::with("");
    shop.visit("/");
    shop.stores(&["/"], &[]);
    // Not JSON, too large for the server, and too large to outlive the page.
    shop.tab.eval("bklit.track('number', { n: 1n })");
    shop.tab.eval("bklit.track('huge', { text: 'x'.repeat(70_000) })");
    shop.tab.eval("bklit.track('large', { text: 'x'.repeat(60_000) })");
    shop.tab.eval("bklit.track('small')");
    shop.stores(&["/"], &["large", "small"]);
    shop.tab.until("Object.keys(localStorage).every((key) => !key.startsWith('bklit_queue'))");
}

#[test]
fn a_session_times_out() {
    let mut shop = Shop::with("");
    shop.visit("/");
    shop.stores(&["/"], &[]);
    let age = |minutes: u32| {
        format!(
            "const known = JSON.parse(sessionStorage.bklit_session_id);
             known.timestamp -= {minutes} * 60_000;
             sessionStorage.bklit_session_id = JSON.stringify(known)"
        )
    };
    let sessions = "SELECT count(DISTINCT session_id) FROM page_view_event";
    shop.tab.eval(&format!("(() => {{ {} }})()", age(29)));
    shop.visit("/cart");
    shop.stores(&["/", "/cart"], &[]);
    assert_eq!(shop.daemon.scalar(sessions), json!(1));
    shop.tab.eval(&format!("(() => {{ {} }})()", age(31)));
    shop.visit("/cart");
    shop.stores(&["/", "/cart", "/cart"], &[]);
    assert_eq!(shop.daemon.scalar(sessions), json!(2));
    let landed = shop.list("SELECT landing_page AS x FROM page_view_event ORDER BY id");
    assert_eq!(landed, [shop.url("/"), shop.url("/"), shop.url("/cart")]);
}

#[test]
fn a_session_can_be_ended_by_the_page() {
    let mut shop = Shop::with("");
    shop.visit("/");
    shop.stores(&["/"], &[]);
    shop.tab.eval("bklit.endSession()");
    shop.ends();
    shop.tab.eval("bklit.pageview()");
    shop.stores(&["/", "/"], &[]);
    let sessions = "SELECT count(DISTINCT session_id) FROM page_view_event";
    assert_eq!(shop.daemon.scalar(sessions), json!(2));
}
