//! URLs: their schemes, credentials, and what is cut when they are too long.

use bklit_pipeline::intake::validate::MAX_TEXT;
use bklit_wire::event::EventKind;
use serde_json::json;

use super::{changed, rejected, start, views};

const URLS: [&str; 6] = ["url", "referrer", "canonicalUrl", "landingPage", "ogImage", "favicon"];

#[tokio::test]
async fn addresses_of_apps_are_accepted() {
    let server = start().await;
    for url in [
        "http://a.example",
        "HTTPS://a.example/",
        "capacitor://localhost/a",
        "ionic://localhost/",
        "tauri://localhost/#/x",
        "app://-/index.html",
        "app:index.html",
        "file:///index.html",
        "chrome-extension://abc/popup.html",
        "moz-extension://abc/popup.html",
        "safari-web-extension://abc/popup.html",
        "electron://main/",
    ] {
        for view in views(&server, json!({ "url": url })).await {
            assert_eq!(view.url, url);
        }
    }
    for (url, problem) in [
        ("javascript:alert(1)", "scheme"),
        ("data:text/html,x", "scheme"),
        ("blob:https://a.example/1", "scheme"),
        ("about:blank", "scheme"),
        ("ftp://a.example/", "scheme"),
        ("app:", "host or a path"),
        ("file:///", "host or a path"),
        ("/relative", "absolute"),
        ("", "absolute"),
    ] {
        let body = json!({ "url": url, "projectId": "p" });
        let error = rejected(&server, EventKind::Pageview, &body).await;
        assert!(error.starts_with("url: ") && error.contains(problem), "{url}: {error}");
    }
    server.stop().await;
}

#[tokio::test]
async fn credentials_are_removed_from_every_url() {
    let server = start().await;
    for field in URLS {
        let sent = json!({ field: "https://user:s3cret@a.example/x?y=user@z" });
        for view in views(&server, sent).await {
            let view = serde_json::to_value(view).unwrap();
            assert_eq!(view[field], "https://a.example/x?y=user@z", "{field}");
            assert!(!view.to_string().contains("s3cret"), "{view}");
        }
        assert_eq!(changed(&server, field, "credentials"), 2, "{field}");
    }
    server.stop().await;
}

#[tokio::test]
async fn icons_and_images_within_the_page_are_left_out() {
    let server = start().await;
    for field in ["favicon", "ogImage"] {
        for uri in ["data:image/png;base64,iVBORw0KGgo=", " DATA:,x"] {
            for view in views(&server, json!({ field: uri })).await {
                assert_eq!(serde_json::to_value(view).unwrap().get(field), None);
            }
        }
        assert_eq!(changed(&server, field, "removed"), 4);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_long_url_loses_its_least_important_parts() {
    let server = start().await;
    let long = "x".repeat(9_000);
    for field in URLS {
        for (sent, kept) in [
            (format!("https://a.example/p?q=1#{long}"), "https://a.example/p?q=1".to_owned()),
            (
                format!("https://a.example/p?a=1&b={long}&utm_source=m&gclid=7#f"),
                "https://a.example/p?a=1&utm_source=m&gclid=7".to_owned(),
            ),
            (format!("https://a.example/p?utm_term={long}"), "https://a.example/p".to_owned()),
            (
                format!("https://a.example/{long}"),
                format!("https://a.example/{long}")[..MAX_TEXT].into(),
            ),
        ] {
            for view in views(&server, json!({ field: sent })).await {
                let view = serde_json::to_value(view).unwrap();
                assert_eq!(view[field], kept, "{field}");
                if field == "url" && sent.contains("gclid") {
                    assert_eq!((&view["gclid"], &view["utmSource"]), (&json!("7"), &json!("m")));
                }
            }
        }
        assert_eq!(changed(&server, field, "shortened"), 8, "{field}");
    }
    // A host alone that is too long cannot be kept.
    let host = format!("app://{long}/");
    for view in views(&server, json!({ "referrer": host })).await {
        assert_eq!(view.referrer, None);
    }
    assert_eq!(changed(&server, "referrer", "removed"), 2);
    let body = json!({ "url": host, "projectId": "p" });
    let error = rejected(&server, EventKind::Pageview, &body).await;
    assert!(error.starts_with("url: longer than 8192 bytes"), "{error}");
    server.stop().await;
}
