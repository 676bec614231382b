//! The colours of a terminal.

use vt100::{Cell, Color};

/// Red, green, blue.
pub type Rgb = (u8, u8, u8);

/// The terminal's default colours.
#[derive(Clone, Copy)]
pub struct Scheme {
    pub text: Rgb,
    pub background: Rgb,
    /// Colours of the window: its bar, its border, its title.
    pub bar: Rgb,
    pub border: Rgb,
    pub title: Rgb,
}

pub const DARK: Scheme = Scheme {
    text: (214, 219, 226),
    background: (16, 19, 25),
    bar: (28, 32, 40),
    border: (58, 64, 75),
    title: (150, 158, 170),
};

pub const LIGHT: Scheme = Scheme {
    text: (31, 35, 40),
    background: (255, 255, 255),
    bar: (238, 240, 243),
    border: (205, 210, 216),
    title: (96, 104, 114),
};

/// The 16 colours of the terminal's palette.
const ANSI: [Rgb; 16] = [
    (36, 41, 51),
    (240, 98, 98),
    (120, 200, 120),
    (222, 184, 84),
    (104, 168, 248),
    (190, 140, 240),
    (88, 200, 208),
    (200, 206, 214),
    (128, 136, 148),
    (255, 140, 130),
    (150, 224, 150),
    (246, 212, 120),
    (140, 190, 255),
    (220, 160, 250),
    (130, 224, 230),
    (245, 247, 250),
];

/// The style of a cell's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ink {
    pub colour: Rgb,
    pub bold: bool,
    pub italic: bool,
    pub underline: bool,
}

/// The style and the background of a cell; under the cursor the colours are swapped.
pub fn look(cell: &Cell, scheme: &Scheme, cursor: bool) -> (Ink, Rgb) {
    let mut colour = rgb(cell.fgcolor(), scheme.text);
    let mut background = rgb(cell.bgcolor(), scheme.background);
    if cell.inverse() != cursor {
        (colour, background) = (background, colour);
    }
    if cell.dim() {
        colour = between(colour, background);
    }
    let (bold, italic, underline) = (cell.bold(), cell.italic(), cell.underline());
    (Ink { colour, bold, italic, underline }, background)
}

fn rgb(color: Color, default: Rgb) -> Rgb {
    match color {
        Color::Default => default,
        Color::Rgb(red, green, blue) => (red, green, blue),
        Color::Idx(index @ 0..16) => ANSI[usize::from(index)],
        Color::Idx(index @ 16..232) => {
            let level = |digit: u8| if digit == 0 { 0 } else { 55 + 40 * digit };
            let index = index - 16;
            (level(index / 36), level(index / 6 % 6), level(index % 6))
        }
        Color::Idx(index) => {
            let grey = 8 + 10 * (index - 232);
            (grey, grey, grey)
        }
    }
}

/// Dim text: two parts of its colour, one of the background's.
fn between(text: Rgb, background: Rgb) -> Rgb {
    let mix = |a: u8, b: u8| ((u16::from(a) * 2 + u16::from(b)) / 3) as u8;
    (mix(text.0, background.0), mix(text.1, background.1), mix(text.2, background.2))
}

/// As `#rrggbb`, or `#rgb` if possible.
pub fn hex((red, green, blue): Rgb) -> String {
    let short = [red, green, blue].iter().all(|part| part % 17 == 0);
    if short {
        return format!("#{:x}{:x}{:x}", red / 17, green / 17, blue / 17);
    }
    format!("#{red:02x}{green:02x}{blue:02x}")
}
