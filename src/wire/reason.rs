//! Reasons as people read them: a chain of causes, `a: b: c`, of which the last one says most.

use std::borrow::Cow;

use crate::text::{self, ELLIPSIS, width};

/// The fewest columns of what lies between the first and the last cause that are worth showing.
const MIN_BETWEEN: usize = 8;

/// A chain of causes, `a: b: c`, in at most `columns`. The last cause says most, then the first: what
/// lies between them is cut or left out before anything else is. A text without a chain is cut at
/// its end.
pub fn clip(reason: &str, columns: usize) -> Cow<'_, str> {
    if width(reason) <= columns {
        return Cow::Borrowed(reason);
    }
    let links = links(reason);
    let [_, rest @ ..] = links.as_slice() else { return text::clip(reason, columns) };
    if rest.len() < 2 {
        return text::clip(reason, columns);
    }
    let head = &reason[..rest[0]];
    let with_head = rest[1..].iter().map(|&start| format!("{head}{ELLIPSIS}{}", &reason[start..]));
    let without = rest.iter().map(|&start| format!("{ELLIPSIS}{}", &reason[start..]));
    let between = between(reason, rest, columns);
    let fitting =
        between.into_iter().chain(with_head).chain(without).filter(|short| width(short) <= columns);
    fitting.max_by_key(|short| width(short)).map_or_else(|| text::clip(reason, columns), Cow::Owned)
}

/// The chain with a cut in what lies between its first and its last cause, after a word.
fn between(reason: &str, rest: &[usize], columns: usize) -> Option<String> {
    let (&first, &last) = (rest.first()?, rest.last()?);
    let (head, tail) = (&reason[..first], &reason[last..]);
    let room = columns.checked_sub(width(head) + 1 + width(tail))?;
    let fitting = text::fit(&reason[first..last], room);
    let words = &fitting[..fitting.rfind(' ')? + 1];
    (width(words) >= MIN_BETWEEN).then(|| format!("{head}{words}{ELLIPSIS}{tail}"))
}

/// The last cause of a chain, `c` of `a: b: c`.
pub fn last_cause(reason: &str) -> &str {
    links(reason).last().map_or(reason, |&start| &reason[start..])
}

/// Where the causes of a chain start. What is quoted belongs together.
fn links(reason: &str) -> Vec<usize> {
    let mut starts = vec![0];
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in reason.char_indices() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '"' || c == '`' => quote = Some(c),
            None if c == ' ' && before == ':' => starts.push(at + 1),
            _ => {}
        }
        before = c;
    }
    starts
}

/// A reason without the number that the operating system has for it: `Connection refused`, not
/// `Connection refused (os error 111)`.
pub fn without_os_error(reason: &str) -> Cow<'_, str> {
    const START: &str = " (os error ";
    let Some((before, rest)) = reason.split_once(START) else { return Cow::Borrowed(reason) };
    match rest.split_once(')') {
        Some((number, after)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Cow::Owned(format!("{before}{after}"))
        }
        _ => Cow::Borrowed(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_of_a_chain_of_causes_is_kept() {
        let chain = "queue: no connection to Redis at 10.0.0.7:6379: Connection refused";
        for (columns, shown) in [
            (80, chain),
            (66, chain),
            (65, "…no connection to Redis at 10.0.0.7:6379: Connection refused"),
            (50, "queue: no connection to Redis …Connection refused"),
            (41, "queue: no connection …Connection refused"),
            (35, "queue: …Connection refused"),
            (25, "…Connection refused"),
            (18, "queue: no connect…"),
        ] {
            assert_eq!(clip(chain, columns), shown, "{columns}");
        }
        // A field and what is wrong with it, or an explanation: read from the start.
        for (text, columns, shown) in [
            ("url: expected a string, found an array", 33, "url: expected a string, found an…"),
            ("a token is needed: send `Authorization: Bearer: x`", 20, "a token is needed: …"),
            ("database is locked", 10, "database …"),
            ("東京: 東京: 東京", 8, "…東京"),
            ("a: b: c", 0, ""),
        ] {
            assert_eq!(clip(text, columns), shown, "{text}");
        }
        assert_eq!((last_cause(chain), last_cause("a")), ("Connection refused", "a"));
        assert_eq!(last_cause("say `Authorization: Bearer`"), "say `Authorization: Bearer`");
    }

    #[test]
    fn numbers_of_the_operating_system_are_left_out() {
        for (reason, shown) in [
            ("Connection refused (os error 111)", "Connection refused"),
            ("open x: No such file (os error 2); retrying", "open x: No such file; retrying"),
            ("no (os error x)", "no (os error x)"),
            ("no (os error 1", "no (os error 1"),
        ] {
            assert_eq!(without_os_error(reason), shown);
        }
    }
}
