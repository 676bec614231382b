//! The address of a page, taken apart.

use std::ops::Range;

use memchr::memchr;
use url::{Position, Url, form_urlencoded};

/// An address with a scheme, as a browser would write it, without its fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    text: String,
    scheme: usize,
    host: Option<Range<usize>>,
    path: Range<usize>,
    /// Where the query begins, after the question mark.
    query: Option<usize>,
}

impl Page {
    /// Reads an address; `None` if it is not absolute.
    pub fn parse(text: &str) -> Option<Self> {
        // Nearly all are written like that already, and splitting them takes a fraction of the time.
        Self::split(text).or_else(|| Some(Self::of(&Url::parse(text).ok()?)))
    }

    fn of(url: &Url) -> Self {
        let (path, end) = (url[..Position::BeforePath].len(), url[..Position::AfterPath].len());
        let host = || url[..Position::BeforeHost].len()..url[..Position::AfterHost].len();
        Self {
            text: url[..Position::AfterQuery].to_owned(),
            scheme: url.scheme().len(),
            host: url.host_str().map(|_| host()),
            path: path..end,
            query: url.query().map(|_| end + 1),
        }
    }

    /// Splits an address of the web in which a parser would change nothing: the host is a name in lower
    /// case, and nothing in path and query has to be encoded, decoded or resolved.
    fn split(text: &str) -> Option<Self> {
        let text = &text[..memchr(b'#', text.as_bytes()).unwrap_or(text.len())];
        let find = |byte, from: usize| Some(from + memchr(byte, &text.as_bytes()[from..])?);
        let scheme = ["https", "http"]
            .into_iter()
            .find(|scheme| text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")))?;
        let host = scheme.len() + "://".len();
        let path = find(b'/', host)?;
        let query = find(b'?', path).map(|mark| mark + 1);
        let end = query.map_or(text.len(), |query| query - 1);
        let is_plain = is_plain_host(&text[host..path])
            && is_plain_path(&text[path..end])
            && is_plain_query(&text[query.unwrap_or(text.len())..]);
        is_plain.then(|| Self {
            text: text.to_owned(),
            scheme: scheme.len(),
            host: Some(host..path),
            path: path..end,
            query,
        })
    }

    /// The scheme in lower case.
    pub fn scheme(&self) -> &str {
        &self.text[..self.scheme]
    }

    /// The host, if there is one.
    pub fn host(&self) -> Option<&str> {
        self.host.clone().map(|host| &self.text[host])
    }

    /// The path; empty only without a host.
    pub fn path(&self) -> &str {
        &self.text[self.path.clone()]
    }

    /// The parameters of the query, decoded.
    pub fn parameters(&self) -> form_urlencoded::Parse<'_> {
        let query = self.query.map_or("", |query| &self.text[query..]);
        form_urlencoded::parse(query.as_bytes())
    }
}

/// Whether a host is a name in lower case, and can be neither a number nor an encoded name.
fn is_plain_host(host: &str) -> bool {
    let is_plain = |label: &[u8]| {
        let may_be = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !label.is_empty() && !label.starts_with(b"xn--") && label.iter().all(may_be)
    };
    let mut labels = host.as_bytes().split(|byte| *byte == b'.');
    let last = labels.clone().next_back().and_then(<[u8]>::first);
    labels.all(is_plain) && last.is_some_and(u8::is_ascii_lowercase)
}

/// Whether a path has nothing to encode or decode, and no segment that starts with a dot.
fn is_plain_path(path: &str) -> bool {
    let may_be = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~' | b',' | b'+' | b'=' | b':' | b'@')
            || matches!(byte, b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b';')
    };
    path.bytes().all(may_be) && !path.as_bytes().windows(2).any(|pair| pair == b"/.")
}

/// Whether a query needs no encoding.
fn is_plain_query(query: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\'');
    query.bytes().all(may_be)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_addresses_are_only_split() {
        for text in [
            "https://www.example.com/docs/getting-started?utm_source=newsletter&x=%C3%A9#part",
            "http://a.example/",
            "https://localhost/a.b/c..html?",
        ] {
            assert_eq!(Page::split(text), Some(Page::of(&Url::parse(text).unwrap())), "{text}");
        }
        for text in [
            "https://A.example/",
            "https://a.example",
            "https://a.example:8443/",
            "https://me@a.example/",
            "https://a.example/../b",
            "https://a.example/%2e%2e/b",
            "https://a.example/caf\u{e9}",
            "https://a.example/?q='x'",
            "https://a.example/a\tb",
            "https://192.0.2.7/",
            "https://a.0x7f/",
            "https://xn--caf-dma.example/",
            "https://a..example/",
            "https:///a",
            "HTTPS://a.example/",
            "app:index.html",
            " https://a.example/",
        ] {
            assert_eq!(Page::split(text), None, "{text}");
            let parsed = Url::parse(text).ok();
            assert_eq!(Page::parse(text), parsed.as_ref().map(Page::of), "{text}");
        }
        assert_eq!(Page::parse("/relative"), None);
    }

    #[test]
    fn its_parts_are_those_of_a_url() {
        for text in
            ["https://\u{e9}.example:1/a b?c=d%20e&f#g", "mailto:me@a.example", "file:///a?b"]
        {
            let (page, url) = (Page::parse(text).unwrap(), Url::parse(text).unwrap());
            assert_eq!((page.scheme(), page.host()), (url.scheme(), url.host_str()));
            assert_eq!(page.path(), url.path());
            assert!(page.parameters().eq(url.query_pairs()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn splitting_is_parsing(
            text in "https?://([a-z0-9.-]{0,12}|[ -~é]{0,8})(/[a-zA-Z./%_~-]{0,8}|/[ -~é\\t]{0,6})?(\\?[ -~é]{0,8})?(#[ -~]{0,4})?",
        ) {
            if let Some(page) = Page::split(&text) {
                let parsed = Url::parse(&text).ok();
                prop_assert_eq!(Some(page), parsed.as_ref().map(Page::of));
            }
        }
    }
}
