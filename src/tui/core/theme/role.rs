//! What colours are used for, and the colours of the built-in themes.

use ratatui::style::Color;

use super::Palette;
use crate::appearance::Scheme;
use bklit_wire::debug_log::Stage;

/// What a colour is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Keys, the focused frame, labels of text fields.
    Accent,
    /// Frames without focus.
    Frame,
    /// Less important text.
    Dim,
    /// A good state.
    Good,
    /// A warning, or a value above normal.
    Warning,
    /// An error, or a value far above normal.
    Error,
    /// The background of the selected line.
    Selection,
    /// The background of matches of a search.
    Match,
    /// The background of warnings in the log.
    WarningRow,
    /// The background of errors in the log.
    ErrorRow,
    /// The name of a stage.
    Ingestion,
    /// The name of a stage.
    Queue,
    /// The name of a stage.
    Worker,
    /// The name of a stage.
    Store,
    /// The name of a stage.
    Pubsub,
    /// The name of a stage.
    Websocket,
}

impl Role {
    /// All of them, in the order of their definition.
    pub const ALL: [Self; 16] = [
        Self::Accent,
        Self::Frame,
        Self::Dim,
        Self::Good,
        Self::Warning,
        Self::Error,
        Self::Selection,
        Self::Match,
        Self::WarningRow,
        Self::ErrorRow,
        Self::Ingestion,
        Self::Queue,
        Self::Worker,
        Self::Store,
        Self::Pubsub,
        Self::Websocket,
    ];

    /// The name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accent => "accent",
            Self::Frame => "frame",
            Self::Dim => "dim",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Selection => "selection",
            Self::Match => "match",
            Self::WarningRow => "warning_row",
            Self::ErrorRow => "error_row",
            Self::Ingestion => "ingestion",
            Self::Queue => "queue",
            Self::Worker => "worker",
            Self::Store => "store",
            Self::Pubsub => "pubsub",
            Self::Websocket => "websocket",
        }
    }

    /// The colour of a stage's name.
    pub fn of(stage: Stage) -> Self {
        match stage {
            Stage::Ingestion => Self::Ingestion,
            Stage::Queue => Self::Queue,
            Stage::Worker => Self::Worker,
            Stage::Clickhouse => Self::Store,
            Stage::Pubsub => Self::Pubsub,
            Stage::Websocket => Self::Websocket,
        }
    }

    /// Its colour in a built-in theme; `None` if the theme uses none for it.
    pub(super) fn color(self, scheme: Scheme, palette: Palette) -> Option<Color> {
        let hue = self.hue();
        let nth = usize::from(scheme == Scheme::Light);
        match palette {
            Palette::Ansi16 => hue.ansi[nth],
            Palette::Ansi256 => Some(Color::Indexed(hue.indexed[nth])),
            Palette::TrueColour => {
                let (r, g, b) = hue.rgb[nth];
                Some(Color::Rgb(r, g, b))
            }
            Palette::NoColour => None,
        }
    }

    fn hue(self) -> Hue {
        match self {
            Self::Accent => {
                hue(both(Color::Cyan, Color::Blue), [80, 30], [(92, 208, 220), (0, 104, 120)])
            }
            Self::Frame => hue(GREY_16, [240, 249], [(82, 86, 94), (178, 182, 190)]),
            Self::Dim => hue(GREY_16, [245, 241], [(156, 156, 156), (96, 96, 96)]),
            Self::Good => hue([Some(Color::LightGreen), None], [77, 22], GREEN),
            Self::Warning => hue(
                both(Color::LightYellow, Color::LightRed),
                [220, 94],
                [(255, 214, 92), (128, 80, 0)],
            ),
            Self::Error => {
                hue(both(Color::LightRed, Color::Red), [203, 160], [(255, 124, 120), (184, 16, 24)])
            }
            Self::Selection => hue([None, None], [238, 253], [(48, 52, 60), (232, 238, 246)]),
            Self::Match => {
                hue(both(Color::Yellow, Color::Yellow), [222, 222], [(255, 222, 120); 2])
            }
            Self::WarningRow => hue([None, None], [235, 230], [(36, 31, 16), (255, 249, 226)]),
            Self::ErrorRow => hue([None, None], [52, 224], [(48, 21, 23), (255, 238, 238)]),
            Self::Ingestion => hue(both(Color::LightBlue, Color::LightBlue), [75, 25], BLUE),
            Self::Queue => hue(
                both(Color::Magenta, Color::Magenta),
                [141, 91],
                [(192, 158, 255), (112, 52, 180)],
            ),
            Self::Worker => {
                hue([Some(Color::Yellow), None], [178, 94], [(226, 188, 76), (122, 84, 0)])
            }
            Self::Store => hue(both(Color::Green, Color::Blue), [77, 22], GREEN),
            Self::Pubsub => hue(
                both(Color::LightCyan, Color::DarkGray),
                [208, 130],
                [(255, 160, 84), (160, 64, 0)],
            ),
            Self::Websocket => hue(
                both(Color::LightMagenta, Color::LightMagenta),
                [212, 162],
                [(255, 144, 204), (176, 24, 112)],
            ),
        }
    }
}

/// One colour for each kind of terminal, for dark and light backgrounds.
struct Hue {
    /// From 16 colours, chosen to be legible on the usual palettes: dark blue is not on black, and
    /// neither yellow nor green nor cyan on white.
    ansi: [Option<Color>; 2],
    /// From 256 colours.
    indexed: [u8; 2],
    /// From all colours.
    rgb: [(u8, u8, u8); 2],
}

const fn hue(ansi: [Option<Color>; 2], indexed: [u8; 2], rgb: [(u8, u8, u8); 2]) -> Hue {
    Hue { ansi, indexed, rgb }
}

const fn both(dark: Color, light: Color) -> [Option<Color>; 2] {
    [Some(dark), Some(light)]
}

const GREY_16: [Option<Color>; 2] = [Some(Color::DarkGray), Some(Color::DarkGray)];
const GREEN: [(u8, u8, u8); 2] = [(112, 210, 112), (16, 106, 36)];
const BLUE: [(u8, u8, u8); 2] = [(104, 180, 255), (0, 84, 176)];
