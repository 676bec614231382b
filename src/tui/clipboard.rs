//! Copying to the terminal's clipboard with OSC 52, which also works over SSH.

use std::fmt::Write as _;

use data_encoding::BASE64;

/// The longest text that is copied; many terminals ignore a longer sequence as a whole.
pub const MAX_COPIED: usize = 74_994;
/// The chunk size for `screen`, whose buffer for these strings is small.
const SCREEN_CHUNK: usize = 76;

/// The multiplexer between the console and the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplexer {
    /// Nothing.
    None,
    /// tmux.
    Tmux,
    /// GNU screen.
    Screen,
}

impl Multiplexer {
    /// Detects it from the environment.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        if is_set("TMUX") {
            Self::Tmux
        } else if is_set("STY") {
            Self::Screen
        } else {
            Self::None
        }
    }
}

/// The bytes that copy the first [`MAX_COPIED`] bytes of `text` to the clipboard.
pub fn copy_sequence(text: &str, multiplexer: Multiplexer) -> String {
    let mut end = text.len().min(MAX_COPIED);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    // BEL ends it: the other terminator contains an ESC, which multiplexers would take.
    let plain = format!("\x1b]52;c;{}\x07", BASE64.encode(text.as_bytes()));
    match multiplexer {
        Multiplexer::None => plain,
        // With `set-clipboard`, tmux handles the plain sequence; with `allow-passthrough`, the
        // terminal handles the wrapped one.
        Multiplexer::Tmux => {
            format!("{plain}\x1bPtmux;{}\x1b\\", plain.replace('\x1b', "\x1b\x1b"))
        }
        Multiplexer::Screen => {
            let mut wrapped = String::with_capacity(plain.len() * 2);
            let mut rest = plain.as_str();
            while !rest.is_empty() {
                let (chunk, tail) = rest.split_at(SCREEN_CHUNK.min(rest.len()));
                let _ = write!(wrapped, "\x1bP{chunk}\x1b\\");
                rest = tail;
            }
            wrapped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_wrapped_for_multiplexers() {
        assert_eq!(copy_sequence("foo", Multiplexer::None), "\x1b]52;c;Zm9v\x07");
        let tmux = "\x1b]52;c;Zm9v\x07\x1bPtmux;\x1b\x1b]52;c;Zm9v\x07\x1b\\";
        assert_eq!(copy_sequence("foo", Multiplexer::Tmux), tmux);
        let screen = copy_sequence(&"foo".repeat(40), Multiplexer::Screen);
        let unwrapped = screen.replace("\x1b\\\x1bP", "");
        assert_eq!(unwrapped, format!("\x1bP\x1b]52;c;{}\x07\x1b\\", "Zm9v".repeat(40)));
        assert!(screen.split("\x1b\\").all(|part| part.len() <= SCREEN_CHUNK + 2));
    }

    #[test]
    fn long_text_is_cut_at_a_character_boundary() {
        let sequence = copy_sequence(&"ß".repeat(MAX_COPIED), Multiplexer::None);
        assert_eq!(sequence.len(), "\x1b]52;c;\x07".len() + MAX_COPIED.div_ceil(3) * 4);
        let odd = copy_sequence(&format!("a{}", "ß".repeat(MAX_COPIED)), Multiplexer::None);
        assert!(odd.len() <= sequence.len());
    }

    #[test]
    fn the_multiplexer_is_found_by_its_variable() {
        let find = |set: &'static str| {
            Multiplexer::from_environment(|name| (name == set).then(|| "x".to_owned()))
        };
        assert_eq!(find("TMUX"), Multiplexer::Tmux);
        assert_eq!(find("STY"), Multiplexer::Screen);
        assert_eq!(find("HOME"), Multiplexer::None);
    }
}
