//! Bklit's own browser SDK, unchanged, in a real browser.

use serde_json::json;

use super::Shop;
use crate::support::browser::Tab;
use crate::support::servers::provided;
use crate::support::site::Site;
use crate::support::{DEADLINE, Daemon, eventually};

/// A site whose pages load the SDK, as a bundler would pack it.
fn shop() -> Shop {
    let daemon = Daemon::on_lasting_ports(
        "[websocket]\nsession_grace = \"1ms\"\n[worker]\nlease = \"1s\"\n",
    );
    let sdk = std::fs::read_to_string(provided("BKLIT_TEST_SDK")).unwrap();
    let options = json!({ "projectId": "default", "apiKey": daemon.token(), "debug": true,
        "wsHost": format!("ws://{}", daemon.websocket_addr()) });
    let script = format!(
        "(() => {{ const module = {{ exports: {{}} }}; {sdk}\nmodule.exports.initBklit({options}); }})();"
    );
    let page = "<!doctype html><title>Shop</title><script defer src=/sdk.js></script>".to_owned();
    let pages = vec![("/", page.clone()), ("/cart", page), ("/sdk.js", script)];
    Shop { daemon, site: Site::serve(String::new(), pages), tab: Tab::open() }
}

#[test]
fn a_visit_with_the_sdk_is_recorded() {
    let mut shop = shop();
    shop.visit("/?utm_source=mail");
    let home = "/?utm_source=mail";
    shop.stores(&[home], &[]);
    shop.tab.eval("history.pushState(null, '', '/cart')");
    shop.stores(&[home, "/cart"], &[]);
    shop.tab.eval("history.back()");
    shop.stores(&[home, "/cart", home], &[]);
    shop.tab.eval("bklit.trackEvent('buy', 'click', { price: 7 })");
    shop.stores(&[home, "/cart", home], &["buy"]);
    shop.tab.close();
    shop.ends();
    for (sql, value) in [
        ("SELECT count(DISTINCT session_id) FROM page_view_event", json!(1)),
        ("SELECT count() FROM page_view_event WHERE is_new_visitor", json!(1)),
        ("SELECT count() FROM page_view_event WHERE utm_source = 'mail'", json!(2)),
        ("SELECT exit_page FROM tracked_session", json!(shop.url(home))),
        ("SELECT did_bounce FROM tracked_session", json!(0)),
        ("SELECT json_extract(metadata, '$.price') FROM tracked_event", json!(7)),
    ] {
        assert_eq!(shop.daemon.scalar(sql), value, "{sql}");
    }
}

#[test]
fn the_sdk_reconnects_after_a_restart_and_sends_what_has_waited() {
    let mut shop = shop();
    shop.visit("/");
    shop.stores(&["/"], &[]);
    shop.daemon.kill9();
    eventually(DEADLINE, "the SDK notices", || {
        shop.tab.eval("bklit.trackEvent('probe', 'click'), 0");
        let messages = shop.tab.events("Runtime.consoleAPICalled");
        messages.iter().any(|message| message.to_string().contains("Message queued"))
    });
    shop.tab.eval("bklit.trackEvent('while-down', 'click')");
    shop.daemon = shop.daemon.restart();
    let stored = "SELECT count() FROM tracked_event WHERE event_definition_id = 'while-down'";
    eventually(DEADLINE, "the event is stored", || shop.daemon.scalar(stored) == 1);
    shop.tab.eval("bklit.trackEvent('after', 'click')");
    let stored = "SELECT count() FROM tracked_event WHERE event_definition_id = 'after'";
    eventually(DEADLINE, "the event is stored", || shop.daemon.scalar(stored) == 1);
    shop.tab.close();
    shop.ends();
}
