//! A parser for Server-Sent Events as defined by WHATWG's HTML standard, with limits.

/// Maximum bytes of a line.
pub const MAX_LINE: usize = 1024 * 1024;
/// Maximum bytes of an event's data.
pub const MAX_EVENT: usize = 2 * MAX_LINE;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The output of a [`Parser`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// An event.
    Event {
        /// Its type; empty if it has none.
        name: String,
        /// Its data; invalid UTF-8 is replaced.
        data: String,
    },
    /// An event that exceeds the limits; its data was dropped.
    TooLong,
}

/// Parses a stream of bytes, however it is divided into chunks.
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
    is_too_long: bool,
    /// The next LF belongs to the preceding CR.
    follows_cr: bool,
    is_started: bool,
}

impl Parser {
    /// Parses `bytes`; returns the events that they complete.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<ServerEvent> {
        let mut events = Vec::new();
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.follows_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.extend_line(bytes);
                break;
            };
            self.extend_line(&bytes[..end]);
            self.follows_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            events.extend(self.end_line());
        }
        events
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > MAX_LINE {
            self.is_too_long = true;
            self.line.truncate(MAX_LINE);
        }
        let room = MAX_LINE - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) -> Option<ServerEvent> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.is_started, true) && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        if line.is_empty() {
            return self.end_event();
        }
        self.field(&String::from_utf8_lossy(&line));
        line.clear();
        // Keeps the allocation for the next line.
        self.line = line;
        None
    }

    fn field(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() + 1 > MAX_EVENT {
                    self.is_too_long = true;
                    return;
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // A comment has an empty name; ids and retry times are not used.
            _ => {}
        }
    }

    fn end_event(&mut self) -> Option<ServerEvent> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        let has_data = std::mem::take(&mut self.has_data);
        if std::mem::take(&mut self.is_too_long) {
            return Some(ServerEvent::TooLong);
        }
        has_data.then_some(ServerEvent::Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(name: &str, data: &str) -> ServerEvent {
        ServerEvent::Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn fields_comments_and_line_ends() {
        let text = "\u{feff}: hello\r\n\r\ndata: a\r\ndata:b\r\rdata:  c\nid: 1\nretry: 5\n\n\
                    event: lost\ndata: {\"lost\":1}\n\nevent: empty\n\ndata\n\nno field\n\ndata: cut";
        let events = Parser::default().push(text.as_bytes());
        let expected =
            [event("", "a\nb"), event("", " c"), event("lost", "{\"lost\":1}"), event("", "")];
        assert_eq!(events, expected);
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        let events = Parser::default().push(b"data: \xff\x00\x1b[31m\n\n");
        assert_eq!(events, [event("", "\u{fffd}\0\u{1b}[31m")]);
    }

    #[test]
    fn lines_and_events_are_limited() {
        let fits = "x".repeat(MAX_LINE - "data: ".len());
        let mut parser = Parser::default();
        let events = parser.push(format!("data: {fits}\n\n").as_bytes());
        assert_eq!(events, [event("", &fits)]);
        let events = parser.push(format!("data: {fits}x\n\ndata: next\n\n").as_bytes());
        assert_eq!(events, [ServerEvent::TooLong, event("", "next")]);
        // Many lines of one event, and a line that never ends.
        for _ in 0..4 {
            assert_eq!(parser.push(format!("data: {fits}\n").as_bytes()), []);
        }
        assert_eq!(parser.push(b"\n"), [ServerEvent::TooLong]);
        for _ in 0..8 {
            assert_eq!(parser.push(fits.as_bytes()), []);
            assert!(parser.line.capacity() <= 2 * MAX_LINE);
        }
        assert_eq!(parser.push(b"\n\ndata: on\n\n"), [ServerEvent::TooLong, event("", "on")]);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            parts in prop::collection::vec(
                prop::sample::select(&[
                    "data: a", "data:ß漢", "event: gauges", ": keep-alive", "data", "\n", "\r",
                    "\r\n", "\n\n", "\r\n\r\n", "id: 1", ":", "\u{feff}",
                ][..]),
                0..40,
            ),
            cuts in prop::collection::vec(1usize..9, 1..20),
        ) {
            let bytes = parts.concat().into_bytes();
            let whole = Parser::default().push(&bytes);
            let mut parser = Parser::default();
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                pieces.extend(parser.push(piece));
                rest = tail;
            }
            prop_assert_eq!(pieces, whole);
        }

        #[test]
        fn any_bytes_are_accepted(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..10)) {
            let mut parser = Parser::default();
            for chunk in &chunks {
                parser.push(chunk);
            }
        }
    }
}
