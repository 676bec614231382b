//! Derives fields of a page view from its request: browser, referrer, campaign and location.

use std::borrow::Cow;

use hyper::HeaderMap;
use hyper::header::{AsHeaderName, HeaderName, USER_AGENT};

use super::filters::referrer_type;
use super::page::Page;
use super::validate::MAX_TEXT;
use super::visitor::{Device, Form, Visitor, Visitors};
use bklit_wire::event::PageView;
use bklit_wire::text::of_header;

/// Fills in what the sender left out. `url` is the page's parsed address.
pub fn page_view(
    view: &mut PageView,
    url: &Page,
    headers: &HeaderMap,
    visitor: &Visitor,
    visitors: &Visitors,
) {
    if view.user_agent.is_none() {
        view.user_agent = text(headers, USER_AGENT).map(Cow::into_owned);
    }
    view.mobile = is_phone(view, headers, visitors);
    from_urls(view, url);
    view.ip = visitor.shown_ip().map(str::to_owned);
    visitor.location().fill(view);
}

/// Fills in what the addresses of page and referrer say.
pub(super) fn from_urls(view: &mut PageView, url: &Page) {
    referrer(view);
    campaign(view, url);
    if view.referrer_type.is_none() {
        view.referrer_type = referrer_type(view, url).map(str::to_owned);
    }
}

/// The device that a page was viewed on, if the page view has a user agent.
pub fn device<'a>(view: &'a PageView, headers: &HeaderMap) -> Option<Device<'a>> {
    let user_agent = view.user_agent.as_deref()?;
    let device = Device::of(user_agent);
    Some(if is_own(user_agent, headers) { device.with_hints(headers) } else { device })
}

/// Whether that is a phone.
fn is_phone(view: &PageView, headers: &HeaderMap, visitors: &Visitors) -> Option<bool> {
    let user_agent = view.user_agent.as_deref()?;
    let form = visitors.form_of(user_agent);
    let form = if is_own(user_agent, headers) { form.with_hint(headers) } else { form };
    Some(form == Form::Phone)
}

/// Whether client hints are about the user agent: they are about the sender of the request, and a
/// server may send page views of others.
fn is_own(user_agent: &str, headers: &HeaderMap) -> bool {
    header(headers, USER_AGENT).as_deref() == Some(user_agent)
}

/// Whether a request has one of these headers. It has few, and comparing their names takes less time
/// than looking up each.
pub fn has_any(headers: &HeaderMap, names: &[HeaderName]) -> bool {
    headers.keys().any(|name| names.contains(name))
}

/// A header's text, if it is not longer than a field may be.
pub fn header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, str>> {
    text(headers, name).filter(|text| text.len() <= MAX_TEXT)
}

/// A header's text of any length.
fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, str>> {
    let text = of_header(headers.get(name)?.as_bytes().trim_ascii());
    (!text.is_empty()).then_some(text)
}

fn referrer(view: &mut PageView) {
    if view.referrer_hostname.is_some() && view.referrer_path.is_some() {
        return;
    }
    let Some(url) = view.referrer.as_deref().and_then(Page::parse) else { return };
    let Some(host) = url.host() else { return };
    if view.referrer_hostname.is_none() {
        view.referrer_hostname = Some(host.to_owned());
    }
    if view.referrer_path.is_none() {
        view.referrer_path = Some(url.path().to_owned());
    }
}

/// Fills in the campaign parameters and click ids of the address.
fn campaign(view: &mut PageView, url: &Page) {
    for (name, value) in url.parameters() {
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
    use crate::intake::visitor::Visitors;

    fn enriched(mut view: PageView, headers: &[(&'static str, &str)]) -> PageView {
        let url = Page::parse(&view.url).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            // As Latin-1, which is how ASCII is sent, too.
            let bytes: Vec<u8> = value.chars().map(|c| u8::try_from(c).unwrap()).collect();
            map.append(*name, bytes.as_slice().try_into().unwrap());
        }
        let visitors = Visitors::default();
        let visitor = visitors.visitor(visitors.client([192, 0, 2, 7].into(), &map), &map);
        page_view(&mut view, &url, &map, &visitor, &visitors);
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
        let view = enriched(sent, &[("user-agent", "Mozilla (iPhone) Mobile/1")]);
        assert_eq!(view.user_agent.as_deref(), Some("own"));
        assert_eq!(view.mobile, Some(false));
        assert_eq!(view.referrer_hostname.as_deref(), Some("other"));
        assert_eq!(view.referrer_path.as_deref(), Some("/path"));
        assert_eq!(view.utm_source.as_deref(), Some("mail"));
        assert_eq!(view.utm_medium.as_deref(), Some("café au"));
        assert_eq!((view.gclid, view.li_fat_id.as_deref()), (None, Some("l")));
    }

    #[test]
    fn a_user_agent_that_is_not_utf8_is_kept() {
        let sent = "Mozilla/5.0 (iPhone) Caf\u{e9} Mobile/1";
        let view = enriched(view("https://a.example/"), &[("user-agent", sent)]);
        assert_eq!((view.user_agent.as_deref(), view.mobile), (Some(sent), Some(true)));
    }

    #[test]
    fn client_hints_count_for_the_senders_own_user_agent() {
        let hints =
            [("user-agent", "Mozilla/5.0 (Linux; Android 10; K)"), ("sec-ch-ua-mobile", "?1")];
        assert_eq!(enriched(view("https://a.example/"), &hints).mobile, Some(true));
        let own = PageView { user_agent: Some("own".into()), ..view("https://a.example/") };
        assert_eq!(enriched(own, &hints).mobile, Some(false));
        assert_eq!(enriched(view("https://a.example/"), &[]).mobile, None);
    }
}
