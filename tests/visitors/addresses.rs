//! Which address is stored.

use bklit_pipeline::intake::visitor::{ClientIpHeader, IpPrivacy, Networks};

use super::{VIEW, behind_proxy, viewed, views};
use crate::http::server::Server;
use crate::support::{Daemon, request};

#[tokio::test]
async fn the_stored_address_is_that_of_a_network() {
    for (privacy, ip) in [
        (IpPrivacy::Cut, Some("203.0.113.0")),
        (IpPrivacy::Full, Some("203.0.113.9")),
        (IpPrivacy::None, None),
    ] {
        let change = |settings: &mut bklit_tui::config::Settings| {
            behind_proxy(settings);
            settings.privacy.ip = privacy;
        };
        let view = viewed(None, change, &[("X-Forwarded-For", "203.0.113.9")]).await;
        assert_eq!(view.ip.as_deref(), ip);
    }
    let direct = viewed(None, |_| {}, &[]).await;
    assert_eq!(direct.ip.as_deref(), Some("127.0.0.0"));
    let six = viewed(None, behind_proxy, &[("X-Forwarded-For", "2001:db8:1:2:3:4:5:6")]).await;
    assert_eq!(six.ip.as_deref(), Some("2001:db8:1:2::"));
    let mapped = viewed(None, behind_proxy, &[("X-Forwarded-For", "::ffff:203.0.113.9")]).await;
    assert_eq!(mapped.ip.as_deref(), Some("203.0.113.0"));
}

#[tokio::test]
async fn the_visitor_is_named_by_the_configured_header() {
    let cloudflare =
        [("X-Forwarded-For", "203.0.113.9, 172.68.10.20"), ("CF-Connecting-IP", "203.0.113.9")];
    let named = |header| {
        move |settings: &mut bklit_tui::config::Settings| {
            behind_proxy(settings);
            settings.http.client_ip_header = header;
        }
    };
    let view = viewed(None, named(ClientIpHeader::CfConnectingIp), &cloudflare).await;
    assert_eq!(view.ip.as_deref(), Some("203.0.113.0"));
    // The same with Cloudflare's network among the proxies.
    let with_network = |settings: &mut bklit_tui::config::Settings| {
        settings.http.trusted_proxies = Networks::parse(["loopback", "172.64.0.0/13"]).unwrap();
    };
    let view = viewed(None, with_network, &cloudflare).await;
    assert_eq!(view.ip.as_deref(), Some("203.0.113.0"));
    let nginx = [("X-Real-IP", "203.0.113.9")];
    let view = viewed(None, named(ClientIpHeader::XRealIp), &nginx).await;
    assert_eq!(view.ip.as_deref(), Some("203.0.113.0"));
    let standard = [("Forwarded", "for=6.6.6.6, for=\"[2001:db8::9]:4711\";proto=https")];
    let view = viewed(None, named(ClientIpHeader::Forwarded), &standard).await;
    assert_eq!(view.ip.as_deref(), Some("2001:db8::"));
}

#[tokio::test]
async fn headers_do_not_count_from_others() {
    let headers = [("X-Forwarded-For", "203.0.113.9"), ("X-Real-IP", "203.0.113.9")];
    let view = viewed(None, |_| {}, &headers).await;
    assert_eq!(view.ip.as_deref(), Some("127.0.0.0"), "no proxy is trusted");
    let elsewhere = |settings: &mut bklit_tui::config::Settings| {
        settings.http.trusted_proxies = Networks::parse(["10.0.0.0/8"]).unwrap();
    };
    let view = viewed(None, elsewhere, &headers).await;
    assert_eq!(view.ip.as_deref(), Some("127.0.0.0"), "another proxy is trusted");
    let server = Server::start_located("[::1]:0", None, behind_proxy).await;
    server.post_with("/track", &headers, VIEW).await;
    assert_eq!(views(&server)[0].ip.as_deref(), Some("203.0.113.0"), "this one is, in IPv6");
}

/// The log of a daemon that gets three requests with this header.
fn log_after(settings: &str, header: (&str, &str)) -> String {
    let daemon = Daemon::with_settings(settings);
    for _ in 0..3 {
        let answer = request(daemon.addr, "GET", "/health", &[header], b"").unwrap();
        assert_eq!(answer.status, 200);
        let bearer = format!("Bearer {}", daemon.token());
        let headers = [header, ("Authorization", &bearer), ("Content-Type", "application/json")];
        let body = br#"{"url":"https://a.example/","projectId":"default"}"#;
        let answer = request(daemon.addr, "POST", "/track", &headers, body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    daemon.stderr()
}

#[test]
fn the_log_names_what_is_missing_behind_a_proxy_once() {
    let (untrusted, unexpected) = ("proxy that is not trusted", "in the expected header");
    let log = log_after("", ("X-Real-IP", "203.0.113.9"));
    assert_eq!(log.matches(untrusted).count(), 1, "{log}");
    assert!(log.contains("http.trusted_proxies") && log.contains("x-real-ip"), "{log}");
    let trusted = "http.trusted_proxies = ['loopback']";
    let log = log_after(trusted, ("X-Real-IP", "203.0.113.9"));
    assert_eq!(log.matches(unexpected).count(), 1, "{log}");
    assert_eq!(log.matches(untrusted).count(), 0, "{log}");
    let log = log_after(trusted, ("X-Forwarded-For", "203.0.113.9"));
    assert_eq!((log.matches(unexpected).count(), log.matches(untrusted).count()), (0, 0), "{log}");
}

/// Otherwise every client behind a proxy could read.
#[tokio::test]
async fn behind_trusted_proxies_reading_needs_a_token() {
    let server = Server::start_located("127.0.0.1:0", None, behind_proxy).await;
    assert_eq!(server.get("/metrics", &[]).await.status, 401);
    let direct = Server::start().await;
    assert_eq!(direct.get("/metrics", &[]).await.status, 200);
    for header in ClientIpHeader::ALL {
        let status = direct.get("/metrics", &[(header.as_str(), "127.0.0.1")]).await.status;
        assert_eq!(status, 401, "{header}");
    }
}

#[tokio::test]
async fn the_device_is_shown_in_the_debug_log_and_phones_are_stored() {
    use bklit_wire::debug_bus::{DebugBus, DebugMessage};
    let server = Server::start().await;
    let mut lines = server.bus.subscribe();
    let agent = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/130.0.0.0 Mobile Safari/537.36";
    let headers =
        [("User-Agent", agent), ("Sec-CH-UA-Mobile", "?1"), ("Sec-CH-UA-Platform", "\"Android\"")];
    server.post_with("/track", &headers, VIEW).await;
    assert_eq!(views(&server)[0].mobile, Some(true));
    let line = loop {
        if let DebugMessage::Log(line) = lines.next().await.unwrap()
            && line.message == "Event received"
        {
            break line;
        }
    };
    let shown = ["browser", "os", "device"].map(|name| line.data[name].as_str().unwrap());
    assert_eq!(shown, ["Chrome", "Android", "phone"]);
}
