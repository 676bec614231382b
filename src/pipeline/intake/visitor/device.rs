//! What a visitor browses with, from the user agent and client hints.

use hyper::HeaderMap;
use hyper::header::HeaderName;
use woothee::parser::Parser;

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A phone.
    Phone,
    /// A tablet.
    Tablet,
    /// A desktop or laptop computer.
    Desktop,
    /// Something else, such as a console, a program or a crawler.
    Other,
}

impl Form {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::Phone, Self::Tablet, Self::Desktop, Self::Other];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Tablet => "tablet",
            Self::Desktop => "desktop",
            Self::Other => "other",
        }
    }
}

impl Form {
    /// The same, with the client hint of its request.
    #[must_use]
    pub fn with_hint(self, headers: &HeaderMap) -> Self {
        match hint(headers, &MOBILE) {
            Some(b"?1") => Self::Phone,
            // Desktop computers and tablets.
            Some(b"?0") if self == Self::Phone => Self::Tablet,
            _ => self,
        }
    }
}

static MOBILE: HeaderName = HeaderName::from_static("sec-ch-ua-mobile");
static PLATFORM: HeaderName = HeaderName::from_static("sec-ch-ua-platform");

fn hint<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(|value| value.as_bytes().trim_ascii())
}

/// A visitor's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// Its kind.
    pub form: Form,
    /// The browser or program, if it is known.
    pub browser: Option<&'a str>,
    /// The operating system, if it is known.
    pub os: Option<&'a str>,
}

impl<'a> Device<'a> {
    /// The device that sends this user agent.
    pub fn of(user_agent: &'a str) -> Self {
        let Some(found) = Parser::new().parse(user_agent) else {
            let form = if user_agent.contains("Mobi") { Form::Phone } else { Form::Other };
            return Self { form, browser: None, os: None };
        };
        let form = match found.category {
            "smartphone" | "mobilephone" if is_tablet(user_agent) => Form::Tablet,
            "smartphone" | "mobilephone" => Form::Phone,
            "pc" => Form::Desktop,
            _ => Form::Other,
        };
        let known = |name: &'a str| (name != woothee::woothee::VALUE_UNKNOWN).then_some(name);
        Self { form, browser: known(found.name), os: known(found.os) }
    }

    /// The same, with the client hints of its request. They are more reliable than the user agent,
    /// which browsers have frozen.
    #[must_use]
    pub fn with_hints(mut self, headers: &HeaderMap) -> Self {
        self.form = self.form.with_hint(headers);
        let platform = hint(headers, &PLATFORM).and_then(platform);
        // The user agent is more precise: Windows 10, iPhone.
        if platform.is_some_and(|name| self.os.is_none_or(|os| !os.starts_with(name))) {
            self.os = platform;
        }
        self
    }
}

/// Browsers on phones send `Mobi`. Those on tablets do not, except on iPads and with some old ones.
fn is_tablet(user_agent: &str) -> bool {
    let says = |word| user_agent.contains(word);
    says("iPad") || says("Tablet") || (says("Android") && !says("Mobi"))
}

/// A name in `Sec-CH-UA-Platform`, in quotes.
fn platform(value: &[u8]) -> Option<&'static str> {
    let name = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let known: [(&[u8], &str); 7] = [
        (b"Android", "Android"),
        (b"Chrome OS", "ChromeOS"),
        (b"Chromium OS", "ChromeOS"),
        (b"iOS", "iOS"),
        (b"Linux", "Linux"),
        (b"macOS", "Mac OSX"),
        (b"Windows", "Windows"),
    ];
    known.into_iter().find(|(sent, _)| *sent == name).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 \
        (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1";
    const PIXEL: &str = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like \
        Gecko) Chrome/120.0.0.0 Mobile Safari/537.36";
    const GALAXY_TAB: &str = "Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 (KHTML, \
        like Gecko) Chrome/120.0.0.0 Safari/537.36";
    const IPAD: &str = "Mozilla/5.0 (iPad; CPU OS 12_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
        like Gecko) Version/12.0 Mobile/15E148 Safari/604.1";
    const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like \
        Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0";
    const LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0";

    #[test]
    fn browsers_systems_and_devices_are_recognised() {
        let firefox = "Mozilla/5.0 (Android 14; Mobile; rv:120.0) Gecko/120.0 Firefox/120.0";
        for (agent, form, browser, os) in [
            (IPHONE, Form::Phone, Some("Safari"), Some("iPhone")),
            (PIXEL, Form::Phone, Some("Chrome"), Some("Android")),
            (firefox, Form::Phone, Some("Firefox"), Some("Android")),
            (GALAXY_TAB, Form::Tablet, Some("Chrome"), Some("Android")),
            (IPAD, Form::Tablet, Some("Safari"), Some("iPad")),
            (EDGE, Form::Desktop, Some("Edge"), Some("Windows 10")),
            (LINUX, Form::Desktop, Some("Firefox"), Some("Linux")),
            ("Mozilla/5.0 (iPhone) Mobile/15E148", Form::Phone, None, None),
            ("own", Form::Other, None, None),
            ("", Form::Other, None, None),
        ] {
            let device = Device::of(agent);
            assert_eq!(device.form, form, "{agent}");
            if browser.is_some() {
                assert_eq!((device.browser, device.os), (browser, os), "{agent}");
            }
        }
        assert_eq!(Device::of("Googlebot/2.1 (+http://www.google.com/bot.html)").form, Form::Other);
    }

    #[test]
    fn client_hints_complete_the_user_agent() {
        let hinted = |agent: &str, mobile: &str, platform: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("sec-ch-ua-mobile", mobile.parse().unwrap());
            headers.insert("sec-ch-ua-platform", platform.parse().unwrap());
            let device = Device::of(agent).with_hints(&headers);
            (device.form, device.os.map(str::to_owned))
        };
        for (agent, mobile, platform, form, os) in [
            (PIXEL, "?1", "\"Android\"", Form::Phone, "Android"),
            (PIXEL, "?0", "\"Android\"", Form::Tablet, "Android"),
            (EDGE, "?0", "\"Windows\"", Form::Desktop, "Windows 10"),
            ("", "?1", "\"Android\"", Form::Phone, "Android"),
            // Hints in another form are ignored.
            (LINUX, "yes", "Windows", Form::Desktop, "Linux"),
            (LINUX, "?0", "\"Plan 9\"", Form::Desktop, "Linux"),
        ] {
            let expected = (form, Some(os.to_owned()));
            assert_eq!(hinted(agent, mobile, platform), expected, "{agent} {mobile} {platform}");
        }
        let without = Device::of(LINUX);
        assert_eq!(without.with_hints(&HeaderMap::new()), without);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,80}", at in 0usize..200) {
            Device::of(&text);
            let mut mixed = format!("{IPHONE} {PIXEL} {EDGE}");
            mixed.insert_str(at, &text);
            Device::of(&mixed);
        }
    }
}
