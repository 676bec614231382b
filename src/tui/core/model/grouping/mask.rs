//! Text without what differs from case to case: ids, numbers, addresses, URLs and quoted values.
//!
//! | text | masked |
//! | --- | --- |
//! | `evt_019c13f0`, `17`, `1,234.5`, `250ms`, `12:34:56.789Z`, a UUID | `evt_#` or `#` |
//! | `192.0.2.1:6379`, `[2001:db8::1]:443`, `me@example.com` | `#` |
//! | `"any text"`, `` `text` ``, `'text'`, `“text”` | `"…"` |
//! | `https://example.com/a?b=c` | `<url>` |
//! | `Int64`, `worker17` | `Int#`, `worker#` |

use core::net::Ipv6Addr;

const ID: &str = "#";
const QUOTED: &str = "\"…\"";
const URL: &str = "<url>";
/// Names with a number, of which there is only one.
const NAMES: [&str; 2] = ["UTF-8", "UTF-16"];
/// The longest IPv6 address as text, with an embedded IPv4 address.
const MAX_IPV6: usize = 45;
/// The length of a UUID as text.
const UUID: usize = 36;
/// Letters that could be a hexadecimal number: from this length, they are an id.
const MIN_HEX_LETTERS: usize = 16;

/// Appends the masked text to `out`, at most `most` bytes of it.
pub fn mask(out: &mut String, text: &str, most: usize) {
    let start = out.len();
    let (mut at, mut before) = (0, None);
    while let Some(c) = text[at..].chars().next()
        && out.len() - start < most
    {
        let rest = &text[at..];
        let taken = one(out, rest, c, before);
        before = rest[..taken].chars().next_back();
        at += taken;
    }
    let mut end = out.len().min(start + most);
    while !out.is_char_boundary(end) {
        end -= 1;
    }
    out.truncate(end);
}

/// Appends what `rest` begins with, masked; returns its length.
fn one(out: &mut String, rest: &str, c: char, before: Option<char>) -> usize {
    let is_start = !before.is_some_and(char::is_alphanumeric);
    if let Some(length) = quoted(rest, c, is_start) {
        out.push_str(QUOTED);
        return length;
    }
    if is_start {
        if let Some(length) = ipv6(rest, c) {
            out.push_str(ID);
            return length;
        }
        // The sign of a number.
        if matches!(c, '-' | '+') && rest[1..].starts_with(|c: char| c.is_numeric()) {
            return 1;
        }
    }
    if !c.is_alphanumeric() {
        out.push(c);
        return c.len_utf8();
    }
    if let Some(length) = url(rest) {
        out.push_str(URL);
        return length;
    }
    if let Some(name) = NAMES.into_iter().find(|name| rest.starts_with(name)) {
        out.push_str(name);
        return name.len();
    }
    if is_uuid(rest) {
        out.push_str(ID);
        return UUID;
    }
    word(out, rest)
}

/// The length of a quoted value.
fn quoted(rest: &str, c: char, is_start: bool) -> Option<usize> {
    let close = match c {
        '"' | '`' => c,
        // Not an apostrophe.
        '\'' if is_start => c,
        '“' => '”',
        '‘' => '’',
        '«' => '»',
        _ => return None,
    };
    let inner = &rest[c.len_utf8()..];
    let mut ends = inner.match_indices(close).map(|(at, _)| at + close.len_utf8());
    let is_apostrophe = |end: usize| {
        matches!(c, '\'' | '‘') && inner[end..].starts_with(|next: char| next.is_alphanumeric())
    };
    ends.find(|&end| !is_apostrophe(end)).map(|end| c.len_utf8() + end)
}

/// The length of a URL.
fn url(rest: &str) -> Option<usize> {
    let scheme = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-'))?;
    if scheme == 0 || !rest[scheme..].starts_with("://") {
        return None;
    }
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ')' | '”');
    let end = rest.find(ends).unwrap_or(rest.len());
    // What ends the sentence.
    Some(rest[..end].trim_end_matches(['.', ',', ';', ':']).len().max(scheme + 3))
}

/// The length of an IPv6 address, with brackets and a port if it has them.
fn ipv6(rest: &str, c: char) -> Option<usize> {
    if c == '[' {
        let head = bklit_wire::text::fit_bytes(rest, MAX_IPV6 + 2);
        let close = head.find(']')?;
        head[1..close].parse::<Ipv6Addr>().ok()?;
        let port = rest[close + 1..].strip_prefix(':').map_or(0, |port| {
            let digits = port.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 { 0 } else { digits + 1 }
        });
        return Some(close + 1 + port);
    }
    if c != ':' && !c.is_ascii_hexdigit() {
        return None;
    }
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let end = rest.bytes().take(MAX_IPV6 + 1).take_while(is_part).count();
    if rest[end..].starts_with(|next: char| next.is_alphanumeric()) {
        return None;
    }
    // Punctuation may follow.
    let ends = [end, rest[..end].trim_end_matches('.').len(), end.saturating_sub(1)];
    ends.into_iter().find(|&end| {
        let address = &rest[..end];
        address.matches(':').count() > 1 && address.parse::<Ipv6Addr>().is_ok()
    })
}

fn is_uuid(rest: &str) -> bool {
    let Some(bytes) = rest.as_bytes().get(..UUID) else { return false };
    let fits = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    bytes.iter().enumerate().all(fits)
        && !rest[UUID..].starts_with(|next: char| next.is_alphanumeric())
}

/// Appends a word: segments of letters and digits with signs between them. Returns its length.
fn word(out: &mut String, rest: &str) -> usize {
    let start = out.len();
    let mut at = 0;
    loop {
        let segment = segment(&rest[at..]);
        push_segment(out, segment);
        at += segment.len();
        let mut next = rest[at..].chars();
        let Some(sign) = next.next() else { break };
        let Some(after) = next.next().filter(|c| c.is_alphanumeric()) else { break };
        let joins = match sign {
            '-' | '_' | '.' | ':' | '+' | '@' => true,
            ',' => after.is_numeric() && segment.ends_with(|c: char| c.is_numeric()),
            _ => false,
        };
        if !joins {
            break;
        }
        if sign == '@' {
            // An address: its domain follows.
            out.truncate(start);
            out.push_str(ID);
            at += 1;
            let is_domain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
            let domain = rest[at..].find(|c| !is_domain(c)).unwrap_or(rest.len() - at);
            return at + rest[at..at + domain].trim_end_matches(['.', '-']).len();
        }
        at += sign.len_utf8();
        let is_number = out[start..].ends_with(ID);
        // Several ids in a row are one.
        if !(is_number && is_id(self::segment(&rest[at..]))) {
            out.push(sign);
        } else {
            out.truncate(out.len() - ID.len());
        }
    }
    at
}

fn segment(rest: &str) -> &str {
    &rest[..rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())]
}

/// Letters followed by digits: a name with a number.
fn name_of_numbered(segment: &str) -> Option<&str> {
    let name = segment.trim_end_matches(char::is_numeric);
    let has_name = name.len() < segment.len()
        && !name.contains(char::is_numeric)
        && name.contains(|c: char| !c.is_ascii_hexdigit());
    has_name.then_some(name)
}

fn is_id(segment: &str) -> bool {
    if !segment.contains(char::is_numeric) {
        let is_hex = segment.bytes().all(|byte| byte.is_ascii_hexdigit());
        return is_hex && segment.len() >= MIN_HEX_LETTERS;
    }
    name_of_numbered(segment).is_none()
}

fn push_segment(out: &mut String, segment: &str) {
    if is_id(segment) {
        out.push_str(ID);
    } else if let Some(name) = name_of_numbered(segment) {
        out.push_str(name);
        out.push_str(ID);
    } else {
        out.push_str(segment);
    }
}
