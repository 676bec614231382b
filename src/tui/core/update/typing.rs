//! Typing into text fields of any kind.

use tui_input::{Input, InputRequest};

use bklit_wire::text;

/// Applies requests to a field of at most `most` characters. Returns whether its text has changed.
/// What could not be shown next to each other, such as a mark without a character to combine with, is
/// left out.
pub(super) fn edit(
    input: &mut Input,
    requests: impl IntoIterator<Item = InputRequest>,
    most: usize,
) -> bool {
    let before = input.value().to_owned();
    let mut chars = before.chars().count();
    for request in requests {
        if let InputRequest::InsertChar(c) = request {
            if chars >= most || !text::is_visible(c) {
                continue;
            }
            chars += 1;
        }
        input.handle(request);
    }
    if let Some(shown) = text::without_unsafe(input.value()) {
        // Only marks are left out, so the cursor stays near its place.
        let cursor = input.cursor().min(shown.chars().count());
        *input = Input::new(shown).with_cursor(cursor);
    }
    input.value() != before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(input: &mut Input, text: &str) -> String {
        edit(input, text.chars().map(InputRequest::InsertChar), 20);
        input.value().to_owned()
    }

    #[test]
    fn marks_are_typed_after_the_character_that_they_belong_to() {
        // Thai, Hindi, and Vietnamese in both normalization forms.
        for text in ["ที่นี่", "हिन्दी", "Ti\u{1ebf}ng", "Tie\u{302}\u{301}ng"]
        {
            assert_eq!(typed(&mut Input::default(), text), text);
        }
        assert_eq!(
            typed(&mut Input::default(), "\u{301}a\u{301}\u{301}\u{301}\u{301}"),
            "a\u{301}\u{301}\u{301}"
        );
        assert_eq!(typed(&mut Input::default(), "❤\u{fe0f}\u{1b}\u{202e}!"), "❤!");
        assert_eq!(typed(&mut Input::default(), &"é".repeat(30)).chars().count(), 20);
    }

    #[test]
    fn a_mark_whose_character_is_deleted_goes_with_it() {
        let mut input = Input::new("e\u{301}x".to_owned()).with_cursor(1);
        assert!(edit(&mut input, [InputRequest::DeletePrevChar], 20));
        assert_eq!((input.value(), input.cursor()), ("x", 0));
        assert!(!edit(&mut input, [InputRequest::GoToEnd], 20));
    }
}
