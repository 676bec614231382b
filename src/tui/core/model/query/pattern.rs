//! What the syntax of a regular expression says about its matches.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};

/// A shorter text is in too many lines to be worth searching for.
const MIN_BYTES: usize = 3;

/// What is known about the matches of a regular expression.
#[derive(Clone, Debug, Default)]
pub(super) struct Pattern {
    /// A text that every match contains, if there is one that is worth searching for.
    pub(super) required: Option<Required>,
    /// Whether it depends on where the whole text starts or ends, so that joined lines may give
    /// other results than single ones.
    pub(super) sees_ends: bool,
    /// Whether a match may contain a line end.
    pub(super) spans_lines: bool,
}

/// A text that every match contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Required {
    /// The text; in lower case if its case is ignored.
    pub(super) text: String,
    pub(super) ignores_case: bool,
}

impl Pattern {
    /// Reads a valid expression, to be compiled in multi-line mode.
    pub(super) fn of(source: &str, case_sensitive: bool) -> Self {
        let mut parser = ParserBuilder::new();
        parser.multi_line(true).case_insensitive(!case_sensitive);
        let Ok(hir) = parser.build().parse(source) else {
            // Too large for the parser's limits: nothing is known about it.
            return Self { required: None, sees_ends: true, spans_lines: true };
        };
        let looks = hir.properties().look_set();
        let mut literals = Literals::default();
        literals.visit(&hir);
        Self {
            required: literals.longest(),
            sees_ends: looks.contains(Look::Start) || looks.contains(Look::End),
            spans_lines: may_contain_line_end(&hir),
        }
    }
}

fn may_contain_line_end(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().any(|range| (range.start()..=range.end()).contains(&'\n'))
        }
        HirKind::Class(Class::Bytes(class)) => {
            class.iter().any(|range| (range.start()..=range.end()).contains(&b'\n'))
        }
        HirKind::Repetition(repetition) => may_contain_line_end(&repetition.sub),
        HirKind::Capture(capture) => may_contain_line_end(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().any(may_contain_line_end)
        }
    }
}

/// Collects the texts that every match contains.
#[derive(Default)]
struct Literals {
    current: Option<Required>,
    longest: Option<Required>,
}

impl Literals {
    fn visit(&mut self, hir: &Hir) {
        match hir.kind() {
            // They match between two characters.
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) if literal.0.is_ascii() => {
                literal.0.iter().for_each(|&byte| self.add(char::from(byte), false));
            }
            HirKind::Class(class) => match letter(class) {
                Some(letter) => self.add(letter, true),
                None => self.end(),
            },
            HirKind::Capture(capture) => self.visit(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.visit(part)),
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                self.end();
                self.visit(&repetition.sub);
                self.end();
            }
            HirKind::Literal(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => self.end(),
        }
    }

    fn add(&mut self, c: char, ignores_case: bool) {
        let empty = Required { text: String::new(), ignores_case: false };
        let current = self.current.get_or_insert(empty);
        current.text.push(c);
        current.ignores_case |= ignores_case;
    }

    fn end(&mut self) {
        let length = |required: &Option<Required>| required.as_ref().map_or(0, |r| r.text.len());
        if length(&self.current) > length(&self.longest) {
            self.longest = self.current.take();
        }
        self.current = None;
    }

    fn longest(mut self) -> Option<Required> {
        self.end();
        let mut required = self.longest.filter(|required| required.text.len() >= MIN_BYTES)?;
        if required.ignores_case {
            required.text.make_ascii_lowercase();
        }
        // A match that spans lines has its text in one of them.
        (!required.text.contains('\n')).then_some(required)
    }
}

/// The ASCII letter that a class consists of in all its forms, if it is one.
fn letter(class: &Class) -> Option<char> {
    let forms = match class {
        Class::Unicode(class) => class.clone(),
        Class::Bytes(class) => class.to_unicode_class()?,
    };
    let letter = forms.iter().map(ClassUnicodeRange::start).find(char::is_ascii_alphabetic)?;
    let mut folded = ClassUnicode::new([ClassUnicodeRange::new(letter, letter)]);
    folded.try_case_fold_simple().ok()?;
    let is_all = forms == folded;
    // Without Unicode, `k` and `s` have two forms instead of three.
    let plain = [letter, char::from(letter as u8 ^ 0x20)];
    let is_ascii = forms == ClassUnicode::new(plain.map(|form| ClassUnicodeRange::new(form, form)));
    (is_all || is_ascii).then_some(letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn required(source: &str) -> Option<(String, bool)> {
        let is_sensitive = source.chars().any(char::is_uppercase);
        let required = Pattern::of(source, is_sensitive).required?;
        Some((required.text, required.ignores_case))
    }

    #[test]
    fn the_longest_text_of_every_match_is_known() {
        for (source, expected) in [
            ("[a-z]+ted", Some(("ted", true))),
            ("how.*count", Some(("count", true))),
            ("A(bc)d+ef", Some(("Abc", false))),
            ("(?i:ask)ED", Some(("asked", true))),
            (r"\bstored\b|sent", None),
            (r"(stored)?\d+ms", None),
            (r"(?:retry){2}", Some(("retry", true))),
            (r"status=5\d\d", Some(("status=5", true))),
            ("(?-u:[Kk]ey)X", Some(("keyx", true))),
            ("für.*", None),
            ("ab", None),
            ("abc\\nd", None),
            ("(?x) a b c", Some(("abc", true))),
        ] {
            let expected = expected.map(|(text, ignores)| (text.to_owned(), ignores));
            assert_eq!(required(source), expected, "{source}");
        }
    }

    #[test]
    fn ends_and_line_ends_are_known() {
        let facts = |source: &str| {
            let pattern = Pattern::of(source, false);
            (pattern.sees_ends, pattern.spans_lines)
        };
        for (source, expected) in [
            (r"^a.b$", (false, false)),
            (r"\Aa", (true, false)),
            (r"a\z", (true, false)),
            (r"(?-m)^a", (true, false)),
            (r"(?-m:a$)", (true, false)),
            (r"a\s", (false, true)),
            (r"[^a]", (false, true)),
            (r"(?s).", (false, true)),
            (r"(a|\x0a)+", (false, true)),
            (r"a\\A", (false, false)),
        ] {
            assert_eq!(facts(source), expected, "{source}");
        }
    }

    proptest! {
        #[test]
        fn every_match_contains_it(
            source in r"(\(\?i\))?([a-ckSs]{1,4}|\.|[ac]\+|\(ab\|c\)|\(abc\)\?|\[ab\]|\\b|\\s){1,5}",
            text in "[a-cA-CkKsS\u{212a}\u{17f} \n]{0,40}",
        ) {
            let case_sensitive = source.contains('S');
            let mut builder = regex::RegexBuilder::new(&source);
            builder.multi_line(true).case_insensitive(!case_sensitive);
            let pattern = Pattern::of(&source, case_sensitive);
            for found in builder.build().unwrap().find_iter(&text) {
                let found = found.as_str();
                if let Some(required) = &pattern.required {
                    let mut builder = regex::RegexBuilder::new(&regex::escape(&required.text));
                    let needle = builder.case_insensitive(required.ignores_case).build().unwrap();
                    prop_assert!(needle.is_match(found), "{found:?} lacks {required:?}");
                }
                prop_assert!(pattern.spans_lines || !found.contains('\n'));
            }
        }
    }
}
