//! Characters drawn as shapes, because fonts leave gaps between cells: the blocks of sparklines and
//! bars, and lines.

/// Columns and rows of a cell, in units of the picture.
pub const WIDTH: usize = 9;
pub const HEIGHT: usize = 19;

/// The first braille character.
const BRAILLE: u32 = 0x2800;
/// The size of a dot.
const DOT: usize = 3;

/// Left, top, right and bottom within a cell.
pub type Part = (usize, usize, usize, usize);

/// The rectangles of a cell that a character fills; none if it is drawn as text.
pub fn parts(character: char) -> Vec<Part> {
    if let Some(part) = block(character) {
        return vec![part];
    }
    if let Some(bits) = u32::from(character).checked_sub(BRAILLE).filter(|&bits| bits < 0x100) {
        return dots(bits);
    }
    let Some((up, right, down, left)) = arms(character) else { return Vec::new() };
    let (x, y) = (WIDTH / 2, HEIGHT / 2);
    let mut parts = Vec::new();
    // From the edge past the centre, so that arms meet without a gap.
    let across = [left, right].into_iter().max().unwrap_or(0);
    let along = [up, down].into_iter().max().unwrap_or(0);
    if across > 0 {
        let from = if left > 0 { 0 } else { x };
        let to = if right > 0 { WIDTH } else { x + along.max(1) };
        parts.push((from, y, to, y + across));
    }
    if along > 0 {
        let from = if up > 0 { 0 } else { y };
        let to = if down > 0 { HEIGHT } else { y + across.max(1) };
        parts.push((x, from, x + along, to));
    }
    parts
}

/// The dots of a braille character, which are drawn as squares.
fn dots(bits: u32) -> Vec<Part> {
    let place = |bit: usize| match bit {
        0..3 => (0, bit),
        3..6 => (1, bit - 3),
        bit => (bit - 6, 3),
    };
    let set = (0..8).filter(|bit| bits >> bit & 1 == 1).map(place);
    set.map(|(column, row)| {
        let (x, y) = (column * WIDTH / 2 + 1, row * HEIGHT / 4 + 1);
        (x, y, x + DOT, y + DOT)
    })
    .collect()
}

fn block(character: char) -> Option<Part> {
    let part = match character {
        '▀' => (0, 0, WIDTH, HEIGHT / 2),
        '█' => (0, 0, WIDTH, HEIGHT),
        '▐' => (WIDTH / 2, 0, WIDTH, HEIGHT),
        '▁'..='▇' => {
            let eighths = character as usize - '▁' as usize + 1;
            (0, HEIGHT - (HEIGHT * eighths + 4) / 8, WIDTH, HEIGHT)
        }
        '▉'..='▏' => {
            let eighths = '▏' as usize - character as usize + 1;
            (0, 0, (WIDTH * eighths + 4) / 8, HEIGHT)
        }
        _ => return None,
    };
    Some(part)
}

/// How thick a line's arms are: up, right, down, left.
fn arms(character: char) -> Option<(usize, usize, usize, usize)> {
    let arms = match character {
        '─' => (0, 1, 0, 1),
        '│' => (1, 0, 1, 0),
        '┌' | '╭' => (0, 1, 1, 0),
        '┐' | '╮' => (0, 0, 1, 1),
        '└' | '╰' => (1, 1, 0, 0),
        '┘' | '╯' => (1, 0, 0, 1),
        '├' => (1, 1, 1, 0),
        '┤' => (1, 0, 1, 1),
        '┬' => (0, 1, 1, 1),
        '┴' => (1, 1, 0, 1),
        '┼' => (1, 1, 1, 1),
        '╴' => (0, 0, 0, 1),
        '╵' => (1, 0, 0, 0),
        '╶' => (0, 1, 0, 0),
        '╷' => (0, 0, 1, 0),
        '━' => (0, 2, 0, 2),
        '┃' => (2, 0, 2, 0),
        _ => return None,
    };
    Some(arms)
}
