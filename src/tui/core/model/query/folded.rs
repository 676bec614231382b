//! Case-insensitive search for ASCII text, with the same results as a regular expression: finds its
//! rarest letter, then compares the text around it.

use std::ops::Range;

/// Characters that are rare in log lines, rarest first. All others, the common letters of words and
/// the digits of ids, are too common to search for.
const RARE: &[u8] = b"~^`|%&!$;#@*zqjxk+?()[]<>{}\\'wyvhgbmfpu,_";

/// A longer text is left to a regular expression: comparing its many near matches would take too
/// long.
const MAX_BYTES: usize = 64;

/// A text to search for.
#[derive(Clone, Debug)]
pub(super) struct Folded {
    /// In lower case.
    text: Box<[u8]>,
    /// The position of its rarest letter.
    rare: usize,
}

impl Folded {
    /// `None` if a regular expression has to be used: not ASCII, too long, or without rare letters.
    pub(super) fn new(text: &str) -> Option<Self> {
        let bytes = text.to_ascii_lowercase().into_bytes();
        let rank = |byte: u8| RARE.iter().position(|&rare| rare == byte);
        let ranked = bytes.iter().enumerate().filter_map(|(at, &byte)| Some((rank(byte)?, at)));
        let rare = ranked.min().filter(|_| text.is_ascii() && text.len() <= MAX_BYTES)?.1;
        Some(Self { text: bytes.into(), rare })
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The first match from `start` on.
    pub(super) fn find_from(&self, text: &str, start: usize) -> Option<Range<usize>> {
        let (bytes, rare) = (text.as_bytes(), self.text[self.rare]);
        let (capital, third) = (rare.to_ascii_uppercase(), third(rare));
        let mut from = start;
        loop {
            let rest = &bytes[from..];
            let at = from
                + match third {
                    None => memchr::memchr2(rare, capital, rest)?,
                    Some(third) => memchr::memchr3(rare, capital, third[0], rest)?,
                };
            if let Some(found) = self.at(bytes, start, at) {
                return Some(found);
            }
            from = at + 1;
        }
    }

    /// The match whose rarest letter is at `at`, if the whole text is there.
    fn at(&self, bytes: &[u8], start: usize, at: usize) -> Option<Range<usize>> {
        let (before, after) = self.text.split_at(self.rare);
        let mut high = at;
        for &letter in after {
            high += after_is(&bytes[high..], letter)?;
        }
        let mut low = at;
        for &letter in before.iter().rev() {
            low -= before_is(&bytes[start..low], letter)?;
        }
        Some(low..high)
    }
}

/// How many bytes the letter has at the end of a text: in Unicode, `k` and `s` have a third form.
fn before_is(bytes: &[u8], letter: u8) -> Option<usize> {
    let last = *bytes.last()?;
    if last.to_ascii_lowercase() == letter {
        return Some(1);
    }
    let third = third(letter).filter(|_| !last.is_ascii())?;
    bytes.ends_with(third).then_some(third.len())
}

/// The same for the start of a text.
fn after_is(bytes: &[u8], letter: u8) -> Option<usize> {
    let first = *bytes.first()?;
    if first.to_ascii_lowercase() == letter {
        return Some(1);
    }
    let third = third(letter).filter(|_| !first.is_ascii())?;
    bytes.starts_with(third).then_some(third.len())
}

fn third(letter: u8) -> Option<&'static [u8]> {
    match letter {
        b'k' => Some("\u{212a}".as_bytes()),
        b's' => Some("\u{17f}".as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_regular_expression_finds(
            needle in "[a-ck-ms ./1]{1,4}",
            text in "[a-cA-Ck-mK-Ms-tS\u{212a}\u{17f}\u{130}\u{131} ./1\n]{0,40}",
            skip in 0..10_usize,
        ) {
            let regex = format!("(?i){}", regex::escape(&needle));
            let regex = regex::Regex::new(&regex).unwrap();
            let start = text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at);
            let expected = regex.find_at(&text, start).map(|found| found.range());
            match Folded::new(&needle) {
                Some(folded) => prop_assert_eq!(folded.find_from(&text, start), expected),
                None => prop_assert!(!needle.contains(['b', 'k', 'm'])),
            }
        }
    }
}
