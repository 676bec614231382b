//! Makes the body of a refused event fit to be kept: without secrets and whole addresses, and short.
//! Works on text that is not valid JSON, too: that may be why it was refused.

use std::borrow::Cow;
use std::net::IpAddr;

use bklit_wire::refused::REMOVED;

/// The most bytes of a body that are kept.
pub const MAX_BODY: usize = 4 * 1024;
/// Read in addition, so that a secret or an address at the end is recognised before it is cut.
const SLACK: usize = 256;
/// How secrets start.
const SECRET: &str = "bk_live_";
/// The characters of a secret that are shown, as in `token list`.
const SHOWN_OF_SECRET: usize = 12;

/// Fields whose values are removed, in lower case and without punctuation.
const PRIVATE: [&str; 14] = [
    "apikey",
    "authorization",
    "token",
    "accesstoken",
    "secret",
    "password",
    "cookie",
    "ip",
    "ipaddress",
    "clientip",
    "visitorip",
    "userip",
    "remoteaddr",
    "remoteaddress",
];

/// A body as it may be kept, and what it says about its event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    pub text: String,
    pub truncated: bool,
    pub project: Option<String>,
    pub session: Option<String>,
    pub url: Option<String>,
    pub event_type: Option<String>,
}

/// Reads the first bytes of a body. `client` is the whole address of its sender.
pub fn scan(body: &[u8], client: IpAddr) -> Scanned {
    let read = &body[..body.len().min(MAX_BODY + SLACK)];
    let text = String::from_utf8_lossy(read);
    let mut scanner = Scanner {
        client,
        out: String::with_capacity(text.len()),
        depth: 0,
        field: None,
        project: None,
        session: None,
        url: None,
        event_type: None,
    };
    scanner.run(&text);
    let Scanner { out: mut text, project, session, url, event_type, .. } = scanner;
    let is_cut = body.len() > read.len();
    // Where reading stopped, there may be the first half of an address.
    let whole = if is_cut { text.len().saturating_sub(SLACK / 2) } else { text.len() };
    let truncated = is_cut || whole > MAX_BODY;
    let mut end = whole.min(MAX_BODY);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let value = |found: Option<(usize, String)>| found.map(|(_, value)| value);
    Scanned {
        text,
        truncated,
        project: value(project),
        session: value(session),
        url: value(url),
        event_type: value(event_type),
    }
}

struct Scanner {
    client: IpAddr,
    out: String,
    /// The number of objects and arrays that are open.
    depth: usize,
    /// The field whose value comes next, if it is of interest.
    field: Option<Field>,
    /// With the depth at which it was found: the outermost one counts.
    project: Option<(usize, String)>,
    session: Option<(usize, String)>,
    url: Option<(usize, String)>,
    event_type: Option<(usize, String)>,
}

#[derive(Clone, Copy)]
enum Field {
    Project,
    Session,
    Url,
    EventType,
}

impl Scanner {
    fn run(&mut self, text: &str) {
        let mut rest = text;
        while let Some(quote) = rest.find('"') {
            let (before, from_quote) = rest.split_at(quote);
            self.plain(before);
            let (string, after) = from_quote.split_at(string_end(from_quote));
            rest = after;
            let value = decoded(string);
            let Some(after_colon) = after.trim_start().strip_prefix(':') else {
                self.string(string, &value);
                continue;
            };
            self.out.push_str(&clean(string, self.client));
            if is_private(&value) {
                let value = after_colon.trim_start();
                self.out.push_str(&format!(":\"{REMOVED}\""));
                rest = &value[value_end(value)..];
            }
            self.field = match &*value {
                "projectId" => Some(Field::Project),
                "sessionId" => Some(Field::Session),
                "url" => Some(Field::Url),
                "eventType" => Some(Field::EventType),
                _ => None,
            };
        }
        self.plain(rest);
    }

    /// Text outside of strings.
    fn plain(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        self.out.push_str(&clean(text, self.client));
    }

    /// A string that is a value.
    fn string(&mut self, raw: &str, value: &str) {
        let cleaned = clean(value, self.client);
        let found = match self.field.take() {
            Some(Field::Project) => Some(&mut self.project),
            Some(Field::Session) => Some(&mut self.session),
            Some(Field::Url) => Some(&mut self.url),
            Some(Field::EventType) => Some(&mut self.event_type),
            None => None,
        };
        if let Some(found) = found
            && found.as_ref().is_none_or(|(depth, _)| self.depth < *depth)
        {
            *found = Some((self.depth, cleaned.clone().into_owned()));
        }
        match cleaned {
            // Escapes may hide a part of a secret, or only seem to.
            Cow::Borrowed(_) => self.out.push_str(&clean(raw, self.client)),
            // Strings always serialise.
            Cow::Owned(cleaned) => {
                self.out.push_str(&serde_json::to_string(&cleaned).unwrap_or_default());
            }
        }
    }
}

/// The length of the string that `text` starts with, with its quotes.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the value that `text` starts with.
fn value_end(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += string_end(&text[at..]),
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => (at, depth) = (at + 1, depth - 1),
            _ => at += 1,
        }
        let closed = text.as_bytes().get(at - 1).is_some_and(|byte| b"\"}]".contains(byte));
        if depth == 0 && closed {
            return at;
        }
    }
    text.len()
}

/// What a string with its quotes means; its text as it is if it is not complete.
fn decoded(string: &str) -> Cow<'_, str> {
    if string.contains('\\')
        && let Ok(value) = serde_json::from_str::<String>(string)
    {
        return value.into();
    }
    let text = string.strip_prefix('"').unwrap_or(string);
    text.strip_suffix('"').unwrap_or(text).into()
}

fn is_private(field: &str) -> bool {
    let plain = field.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
    PRIVATE.iter().any(|private| plain.clone().eq(private.chars()))
}

/// The text without secrets, without passwords of URLs and without the client's address.
pub(crate) fn clean(text: &str, client: IpAddr) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    if let Some(shorter) = without_secrets(&text) {
        text = shorter.into();
    }
    if let Some(shorter) = without_credentials(&text) {
        text = shorter.into();
    }
    if let Some(shorter) = without_address(&text, client) {
        text = shorter.into();
    }
    text
}

fn without_secrets(text: &str) -> Option<String> {
    let mut rest = text;
    let mut out = String::new();
    while let Some(start) = rest.find(SECRET) {
        let (before, secret) = rest.split_at(start);
        let is_digit = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = secret.find(|c| !is_digit(c)).unwrap_or(secret.len());
        out += before;
        out += &secret[..end.min(SHOWN_OF_SECRET)];
        out.push('…');
        rest = &secret[end..];
    }
    (rest.len() < text.len()).then(|| out + rest)
}

fn without_credentials(text: &str) -> Option<String> {
    let start = text.find("://")? + 3;
    let end = text[start..].find(['/', '\\', '?', '#', '"', ' ']);
    let end = end.map_or(text.len(), |end| start + end);
    let at = text[start..end].rfind('@')?;
    Some(format!("{}{}", &text[..start], &text[start + at + 1..]))
}

fn without_address(text: &str, client: IpAddr) -> Option<String> {
    let of_address = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    let (mut out, mut rest, mut found) = (String::new(), text, false);
    while let Some(start) = rest.find(of_address) {
        let (before, run) = rest.split_at(start);
        let end = run.find(|c| !of_address(c)).unwrap_or(run.len());
        out += before;
        let run_text = &run[..end];
        if is_address(run_text, client) {
            found = true;
            out += REMOVED;
        } else {
            out += run_text;
        }
        rest = &run[end..];
    }
    found.then(|| out + rest)
}

/// Whether the text is this address, perhaps with a port or punctuation.
fn is_address(text: &str, client: IpAddr) -> bool {
    // Most words have some letters that are hexadecimal digits, but no dot or colon.
    if text.len() < 3 || !text.contains(['.', ':']) {
        return false;
    }
    let text = text.trim_end_matches('.');
    let is = |text: &str| text.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical() == client);
    is(text)
        || is(text.trim_matches(':'))
        || text.rsplit_once(':').is_some_and(|(host, _)| is(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: &str = "203.0.113.77";

    fn scanned(body: &str) -> Scanned {
        scan(body.as_bytes(), CLIENT.parse().unwrap())
    }

    fn secret() -> String {
        format!("bk_live_{}", "0123456789abcdef".repeat(4))
    }

    #[test]
    fn project_and_page_are_found_where_they_count() {
        let body = r#"{"metadata":{"url":"no","projectId":"no"},"url":"https://a.example/","projectId":"p","title":7}"#;
        let found = scanned(body);
        assert_eq!((found.text.as_str(), found.truncated), (body, false));
        assert_eq!(found.project.as_deref(), Some("p"));
        assert_eq!(found.url.as_deref(), Some("https://a.example/"));
        let wrapped = scanned(r#"{"type":"pageview","data":{"url":"u","projectId":"p"}}"#);
        assert_eq!((wrapped.project.as_deref(), wrapped.url.as_deref()), (Some("p"), Some("u")));
        let broken = scanned(r#"{"projectId":"p","url":"u","title":"#);
        assert_eq!((broken.project.as_deref(), broken.url.as_deref()), (Some("p"), Some("u")));
        assert_eq!(scanned(r#"{"projectId":7,"x":"y"}"#).project, None);
        assert_eq!(scanned("").text, "");
    }

    #[test]
    fn secrets_and_addresses_are_removed() {
        let secret = secret();
        for (body, expected) in [
            (r#"{"apiKey":"x","a":1}"#, r#"{"apiKey":"(removed)","a":1}"#),
            (r#"{"api_key" : 7 ,"a":1}"#, r#"{"api_key":"(removed)","a":1}"#),
            (r#"{"\u0069p":{"x":["}"]},"a":1}"#, r#"{"\u0069p":"(removed)","a":1}"#),
            (r#"{"X":{"IP-Address":"192.0.2.1"}}"#, r#"{"X":{"IP-Address":"(removed)"}}"#),
            (r#"{"ip":"192.0"#, r#"{"ip":"(removed)""#),
            (r#"{"a":"by 203.0.113.77:80."}"#, r#"{"a":"by (removed)"}"#),
            (r#"{"a":"203.0.113.7","v":"1.2.3.4"}"#, r#"{"a":"203.0.113.7","v":"1.2.3.4"}"#),
            ("ip=::ffff:203.0.113.77&x", "ip=(removed)&x"),
            (r#"{"url":"https://me:hush@a.example/x@y"}"#, r#"{"url":"https://a.example/x@y"}"#),
        ] {
            assert_eq!(scanned(body).text, expected, "{body}");
        }
        let body = format!(r#"{{"a":"{secret}"}} {secret}"#);
        assert_eq!(scanned(&body).text, r#"{"a":"bk_live_0123…"} bk_live_0123…"#);
        let escaped = secret.replace("bk_", "\\u0062k_");
        let body = format!(r#"{{"a":"{escaped}"}}"#);
        assert_eq!(scanned(&body).text, r#"{"a":"bk_live_0123…"}"#);
        let v6 = scan(b"2001:DB8:0:0::7", "2001:db8::7".parse().unwrap());
        assert_eq!(v6.text, REMOVED);
    }

    #[test]
    fn a_secret_or_an_address_that_is_cut_leaves_nothing() {
        let secret = secret();
        for at in MAX_BODY - 90..MAX_BODY + 10 {
            for (private, must_not) in [(secret.as_str(), "bk_live_01234"), (CLIENT, "203.0.113")] {
                let body = format!("{} {private} {}", "x".repeat(at), "y".repeat(900));
                let found = scanned(&body);
                assert!(found.text.len() <= MAX_BODY && found.truncated);
                assert!(!found.text.contains(must_not), "{at}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_scanned(body in proptest::collection::vec(any::<u8>(), 0..6000)) {
            prop_assert!(scan(&body, CLIENT.parse().unwrap()).text.len() <= MAX_BODY);
        }

        #[test]
        fn no_secret_is_left(
            before in "[\"{}\\[\\]:,a-z\\\\ ]{0,40}",
            after in "[\"{}\\[\\]:,a-z\\\\ ]{0,40}",
        ) {
            let secret = secret();
            let text = scanned(&format!("{before}{secret}{after}")).text;
            prop_assert!(!text.contains("bk_live_01234"), "{}", text);
        }
    }
}
