//! What pages send on their own, without the tracker: browsers send a preflight first.

use serde_json::json;

use super::Shop;

/// A function that posts JSON and returns the status of the response.
fn post(shop: &Shop, options: &str) -> String {
    format!(
        "(async () => {{
            const body = JSON.stringify({{ url: location.href, projectId: 'default',
                sessionId: 'own' }});
            const headers = {{ 'Content-Type': 'application/json',
                Authorization: 'Bearer {}' }};
            const response = await fetch({:?}, {{ method: 'POST', body, headers, {options} }});
            return response.status;
        }})()",
        shop.daemon.token(),
        shop.daemon.url("/track"),
    )
}

#[test]
fn a_request_with_credentials_is_accepted() {
    let mut shop = Shop::with("data-consent=required");
    shop.visit("/");
    let request = post(&shop, "credentials: 'include'");
    assert_eq!(shop.tab.eval(&request), 200);
    shop.stores(&["/"], &[]);
}

#[test]
fn a_request_with_the_headers_of_tracing_tools_is_accepted() {
    let mut shop = Shop::with("data-consent=required");
    shop.visit("/");
    let trace = "headers: { ...headers, baggage: 'a=b', 'sentry-trace': '1-2-1',
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' }";
    let request = post(&shop, trace);
    assert_eq!(shop.tab.eval(&request), 200);
    shop.stores(&["/"], &[]);
}

#[test]
fn a_beacon_of_any_type_ends_the_session() {
    for kind in ["text/plain", "application/json"] {
        let mut shop = Shop::with("data-consent=required");
        shop.visit("/");
        let request = post(&shop, "");
        assert_eq!(shop.tab.eval(&request), 200);
        shop.stores(&["/"], &[]);
        let body = json!({ "projectId": "default", "sessionId": "own" });
        let url = shop.daemon.url("/session-end");
        let beacon = format!(
            "navigator.sendBeacon({url:?}, new Blob([JSON.stringify({body})], {{ type: {kind:?} }}))"
        );
        assert_eq!(shop.tab.eval(&beacon), true, "{kind}");
        shop.ends();
    }
}
