//! What browsers send from pages of other origins.

use serde_json::json;

use super::{case, stored};
use crate::browser::Shop;
use crate::support::request;

#[test]
fn beacons_with_json() {
    let input =
        r#"in Chromium: navigator.sendBeacon(u, new Blob([json], { type: "application/json" }))"#;
    let expected = "sent; the session has ended; origin echoed, credentials allowed, Vary: origin";
    case("getprobo/probo 1714, dotCMS 33603", input, expected, || {
        let mut shop = Shop::with("data-consent=required");
        shop.visit("/");
        let view = json!({ "url": shop.url("/"), "projectId": "default", "sessionId": "own" });
        assert_eq!(shop.daemon.post("/track", &view).status, 200);
        stored(&shop.daemon, "page_view_event", 1);
        let url = shop.daemon.url("/session-end");
        let body = json!({ "projectId": "default", "sessionId": "own" }).to_string();
        let beacon = format!(
            "navigator.sendBeacon({url:?}, new Blob([{body:?}], {{ type: 'application/json' }}))"
        );
        let sent = if shop.tab.eval(&beacon) == true { "sent" } else { "not sent" };
        shop.ends();
        let asked = [
            ("Origin", "https://shop.example"),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        let granted = request(shop.daemon.addr, "OPTIONS", "/session-end", &asked, b"").unwrap();
        let is = |name: &str, value: &str| {
            granted.header(name).is_some_and(|own| own.to_ascii_lowercase().contains(value))
        };
        let echoed = is("access-control-allow-origin", "https://shop.example");
        let allowed = is("access-control-allow-credentials", "true");
        let varies = is("vary", "origin");
        let headers = match (echoed, allowed, varies) {
            (true, true, true) => "origin echoed, credentials allowed, Vary: origin".to_owned(),
            _ => format!("{:?}", granted.headers),
        };
        format!("{sent}; the session has ended; {headers}")
    });
}

#[test]
fn preflights_with_headers_of_tracing_tools() {
    let input = "in Chromium: fetch with authorization, baggage, content-type, sentry-trace, traceparent; a preflight for 65 headers";
    case("PostHog 20715", input, "200, stored; not allowed", || {
        let mut shop = Shop::with("data-consent=required");
        shop.visit("/");
        let request_of = |token: &str, url: &str| {
            format!(
                "(async () => {{
                    const body = JSON.stringify({{ url: location.href, projectId: 'default' }});
                    const headers = {{ Authorization: 'Bearer {token}', baggage: 'a=b',
                        'Content-Type': 'application/json', 'sentry-trace': '1-2-1',
                        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' }};
                    return (await fetch({url:?}, {{ method: 'POST', body, headers }})).status;
                }})()"
            )
        };
        let script = request_of(&shop.daemon.token(), &shop.daemon.url("/track"));
        let status = shop.tab.eval(&script);
        stored(&shop.daemon, "page_view_event", 1);
        let many: Vec<_> = (0..65).map(|n| format!("x-{n}")).collect();
        let many = many.join(",");
        let asked = [
            ("Origin", "https://shop.example"),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", many.as_str()),
        ];
        let answer = request(shop.daemon.addr, "OPTIONS", "/track", &asked, b"").unwrap();
        let allowed = answer.header("access-control-allow-headers").is_some_and(|own| own == many);
        format!("{status}, stored; {}", if allowed { "allowed" } else { "not allowed" })
    });
}
