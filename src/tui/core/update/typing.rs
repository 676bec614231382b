//! Typing into text fields of any kind.

use tui_input::{Input, InputRequest};

use crate::format;
use bklit_wire::text;

/// Applies requests to a field of at most `most` characters. Returns whether its text has changed.
/// Characters that cannot be shown, such as a mark without a character to combine with, are left
/// out.
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

/// Inserts a text at the cursor as it is; nothing if the field had more than `most` characters then.
///
/// # Errors
/// Why nothing was inserted.
pub(super) fn insert(input: &mut Input, text: &str, most: usize) -> Result<(), String> {
    let (before, cursor) = (input.value(), input.cursor());
    if before.chars().count() + text.chars().count() > most {
        return Err(too_long(most));
    }
    let mut chars = text.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        // This keeps what was deleted, to be inserted again.
        input.handle(InputRequest::InsertChar(c));
        return Ok(());
    }
    *input = Input::new(inserted(input, text)).with_cursor(cursor + text.chars().count());
    Ok(())
}

/// The value of a field with a text inserted at its cursor.
pub(super) fn inserted(input: &Input, text: &str) -> String {
    let mut value: String = input.value().chars().take(input.cursor()).collect();
    value.push_str(text);
    value.extend(input.value().chars().skip(input.cursor()));
    value
}

/// Why nothing was inserted into a field of at most `most` characters.
pub(super) fn too_long(most: usize) -> String {
    format!("not inserted: longer than {} characters", format::count(most as u64))
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
    fn text_is_inserted_whole_or_not_at_all() {
        let mut input = Input::new("aé\u{301}d".to_owned()).with_cursor(3);
        assert_eq!(insert(&mut input, "\n\u{200b}", 6), Ok(()));
        assert_eq!((input.value(), input.cursor()), ("aé\u{301}\n\u{200b}d", 5));
        assert_eq!(insert(&mut input, "x", 7), Ok(()));
        assert!(insert(&mut input, "y", 7).unwrap_err().contains("longer than 7 characters"));
        assert_eq!((input.value(), input.cursor()), ("aé\u{301}\n\u{200b}xd", 6));
    }

    #[test]
    fn a_mark_whose_character_is_deleted_goes_with_it() {
        let mut input = Input::new("e\u{301}x".to_owned()).with_cursor(1);
        assert!(edit(&mut input, [InputRequest::DeletePrevChar], 20));
        assert_eq!((input.value(), input.cursor()), ("x", 0));
        assert!(!edit(&mut input, [InputRequest::GoToEnd], 20));
    }
}
