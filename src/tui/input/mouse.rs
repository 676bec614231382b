//! Parses the mouse reports of terminals.
//!
//! The console enables SGR reports, `ESC [ < button ; column ; row M`. A terminal without them
//! sends X10 reports, `ESC [ M` and three bytes, which end at column 223. Those are recognized and
//! ignored.

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

/// Shift, Alt and Ctrl. They are ignored, because many terminals use them for their own functions.
const HELD: u16 = 4 | 8 | 16;

/// Parses a report with these parameters (`<0;10;5`) and this last byte. `None` for what the
/// console does not use: releases, moves, other buttons.
pub(super) fn report(parameters: &[u8], last: u8) -> Option<MouseEvent> {
    let text = std::str::from_utf8(parameters.strip_prefix(b"<")?).ok()?;
    let mut numbers = text.split(';').map(number);
    let (button, column, row) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() || last != b'M' {
        return None;
    }
    let kind = match button & !HELD {
        0 => MouseEventKind::Down(MouseButton::Left),
        64 => MouseEventKind::ScrollUp,
        65 => MouseEventKind::ScrollDown,
        _ => return None,
    };
    let (column, row) = (column.checked_sub(1)?, row.checked_sub(1)?);
    Some(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
}

/// Parses digits only, without a sign.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// How many of the bytes after `ESC [ M` belong to an X10 report: up to three, excluding any that
/// start something else. `None` while more may follow.
pub(super) fn x10_length(rest: &[u8]) -> Option<usize> {
    let length = rest.iter().take(3).take_while(|&&byte| byte >= b' ').count();
    (length == 3 || length < rest.len()).then_some(length)
}
