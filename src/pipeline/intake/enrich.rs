//! Derives fields of a page view from its request: browser, referrer, campaign and location.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::USER_AGENT;
use url::Url;

use super::geo_headers;
use super::validate::MAX_TEXT;
use bklit_wire::event::PageView;

/// Fills in what the sender left out. `url` is the page's parsed address; `peer` is the other end of
/// the connection, which counts as the visitor unless a trusted proxy names another address.
pub fn page_view(
    view: &mut PageView,
    url: &Url,
    headers: &HeaderMap,
    peer: IpAddr,
    trust_forwarded: bool,
) {
    if view.user_agent.is_none() {
        view.user_agent = text(headers, USER_AGENT.as_str()).map(str::to_owned);
    }
    view.mobile = view.user_agent.as_deref().map(is_phone);
    referrer(view);
    campaign(view, url);
    let mut ip = peer;
    if trust_forwarded {
        ip = geo_headers::visitor(headers).unwrap_or(peer);
        geo_headers::fill(view, headers);
    }
    view.ip = Some(ip.to_string());
}

/// A header's text, if it is UTF-8 and not longer than a field may be.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    text(headers, name).filter(|text| text.len() <= MAX_TEXT)
}

/// A header's text of any length, if it is UTF-8.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(headers.get(name)?.as_bytes()).ok()?.trim();
    (!text.is_empty()).then_some(text)
}

/// Browsers on phones send `Mobi`, and so do some on tablets.
fn is_phone(user_agent: &str) -> bool {
    user_agent.contains("Mobi") && !user_agent.contains("iPad") && !user_agent.contains("Tablet")
}

fn referrer(view: &mut PageView) {
    if view.referrer_hostname.is_some() && view.referrer_path.is_some() {
        return;
    }
    let Some(url) = view.referrer.as_deref().and_then(|text| Url::parse(text).ok()) else { return };
    let Some(host) = url.host_str() else { return };
    if view.referrer_hostname.is_none() {
        view.referrer_hostname = Some(host.to_owned());
    }
    if view.referrer_path.is_none() {
        view.referrer_path = Some(url.path().to_owned());
    }
}

/// Fills in the campaign parameters and click ids of the address.
fn campaign(view: &mut PageView, url: &Url) {
    if url.query().is_none_or(str::is_empty) {
        return;
    }
    for (name, value) in url.query_pairs() {
        let field = match name.as_ref() {
            "utm_source" => &mut view.utm_source,
            "utm_medium" => &mut view.utm_medium,
            "utm_campaign" => &mut view.utm_campaign,
            "utm_term" => &mut view.utm_term,
            "utm_content" => &mut view.utm_content,
            "utm_id" => &mut view.utm_id,
            "gclid" => &mut view.gclid,
            "fbclid" => &mut view.fbclid,
            "msclkid" => &mut view.msclkid,
            "ttclid" => &mut view.ttclid,
            "li_fat_id" => &mut view.li_fat_id,
            "twclid" => &mut view.twclid,
            _ => continue,
        };
        if field.is_none() && !value.is_empty() {
            *field = Some(value.into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enriched(mut view: PageView, headers: &[(&'static str, &str)], trust: bool) -> PageView {
        let url = Url::parse(&view.url).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.as_bytes().try_into().unwrap());
        }
        page_view(&mut view, &url, &map, [192, 0, 2, 7].into(), trust);
        view
    }

    fn view(url: &str) -> PageView {
        PageView { url: url.into(), ..PageView::default() }
    }

    #[test]
    fn what_the_sender_said_stays() {
        let sent = PageView {
            user_agent: Some("own".into()),
            referrer: Some("https://ref.example/path?q".into()),
            referrer_hostname: Some("other".into()),
            utm_source: Some("mail".into()),
            ..view(
                "https://a.example/?utm_source=x&utm_source=z&utm_medium=caf%C3%A9+au&gclid=&li_fat_id=l",
            )
        };
        let view = enriched(sent, &[("user-agent", "Mozilla (iPhone) Mobile/1")], false);
        assert_eq!(view.user_agent.as_deref(), Some("own"));
        assert_eq!(view.mobile, Some(false));
        assert_eq!(view.referrer_hostname.as_deref(), Some("other"));
        assert_eq!(view.referrer_path.as_deref(), Some("/path"));
        assert_eq!(view.utm_source.as_deref(), Some("mail"));
        assert_eq!(view.utm_medium.as_deref(), Some("café au"));
        assert_eq!((view.gclid, view.li_fat_id.as_deref()), (None, Some("l")));
    }

    #[test]
    fn phones_are_distinguished_from_tablets() {
        for (agent, phone) in [
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) Version/17.0 Mobile/15E148", true),
            ("Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/120.0 Mobile Safari/537.36", true),
            ("Mozilla/5.0 (Android 14; Mobile; rv:120.0) Firefox/120.0", true),
            ("Mozilla/5.0 (iPad; CPU OS 12_0) Version/12.0 Mobile/15E148", false),
            ("Mozilla/5.0 (Linux; Android 14; SM-X710) Chrome/120.0 Safari/537.36", false),
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0", false),
        ] {
            let view = enriched(view("https://a.example/"), &[("user-agent", agent)], false);
            assert_eq!(view.mobile, Some(phone), "{agent}");
        }
        assert_eq!(enriched(view("https://a.example/"), &[], false).mobile, None);
    }

    #[test]
    fn forwarding_headers_count_only_from_a_trusted_proxy() {
        let headers = [
            ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
            ("x-forwarded-for", "10.1.2.3"),
            ("cf-ipcountry", "NO"),
            ("x-vercel-ip-city", "Troms%C3%B8"),
            ("cloudfront-viewer-latitude", "69.65"),
            ("cf-iplongitude", "18.96"),
            ("cf-timezone", "Europe/Oslo"),
        ];
        let believed = enriched(view("https://a.example/"), &headers, true);
        assert_eq!(believed.ip.as_deref(), Some("203.0.113.9"));
        assert_eq!(believed.country_code.as_deref(), Some("NO"));
        assert_eq!(believed.city.as_deref(), Some("Tromsø"));
        assert_eq!((believed.lat, believed.lon), (Some(69.65), Some(18.96)));
        assert_eq!(believed.timezone.as_deref(), Some("Europe/Oslo"));
        let doubted = enriched(view("https://a.example/"), &headers, false);
        assert_eq!(doubted.ip.as_deref(), Some("192.0.2.7"));
        assert_eq!((doubted.country_code, doubted.city, doubted.lat), (None, None, None));
    }
}
