use super::*;
use crate::appearance::{Ascii, Colors};

#[test]
fn no_color_uses_emphasis_only() {
    let mono = Theme::of(Scheme::Mono, Palette::TrueColour);
    for theme in [Theme::new(Palette::NoColour), mono] {
        let styles = [theme.error(), theme.warning(), theme.badge(), theme.selected()];
        for style in styles.into_iter().chain([theme.found(), theme.dim(), theme.alarm()]) {
            assert_eq!((style.fg, style.bg), (None, None));
            assert!(!style.add_modifier.is_empty());
        }
        assert_ne!(theme.selected(), theme.found());
    }
}

/// Whatever can be in or next to a row differs by emphasis alone.
#[test]
fn without_colours_everything_stays_distinguishable() {
    let theme = Theme::new(Palette::NoColour);
    let looks = |style: Style| (style.add_modifier - style.sub_modifier, style.fg, style.bg);
    let stages = Stage::ALL.map(|stage| theme.stage(stage));
    let states = [theme.error(), theme.warning(), theme.selected(), theme.found()];
    let others = [theme.badge(), theme.plain(), theme.dim()];
    let all: Vec<_> = stages.into_iter().chain(states).chain(others).map(looks).collect();
    for (nth, look) in all.iter().enumerate() {
        assert!(!all[..nth].contains(look), "{nth}: {look:?}");
        assert_eq!((look.1, look.2), (None, None));
    }
    // Some terminals ignore italics; there the name next to the digit is bold.
    let plainer = stages.map(|style| style.add_modifier - Modifier::ITALIC);
    for (nth, modifiers) in plainer.iter().enumerate() {
        assert!(!plainer[..nth].contains(modifiers), "{nth}: {modifiers:?}");
    }
    // On the selected line, matches and errors still differ from the text around them.
    let on = |style: Style| theme.selected().patch(style).add_modifier;
    assert_ne!(on(theme.found()), on(theme.plain()));
    assert_ne!(on(theme.error()), on(theme.found()));
}

#[test]
fn every_stage_has_its_own_colour() {
    for palette in [Palette::Ansi16, Palette::Ansi256, Palette::TrueColour] {
        for scheme in [Scheme::Dark, Scheme::Light] {
            let theme = Theme::of(scheme, palette);
            let colours = Stage::ALL.iter().map(|&stage| format!("{:?}", theme.stage(stage)));
            let colours: std::collections::HashSet<_> = colours.collect();
            assert_eq!(colours.len(), Stage::ALL.len());
        }
    }
}

type Rgb = (u8, u8, u8);

/// The contrast as the Web Content Accessibility Guidelines define it.
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let channel = |value: u8| match f64::from(value) / 255.0 {
        v if v <= 0.04045 => v / 12.92,
        v => ((v + 0.055) / 1.055).powf(2.4),
    };
    let light =
        |(r, g, b): Rgb| 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b) + 0.05;
    let (a, b) = (light(a), light(b));
    a.max(b) / a.min(b)
}

/// xterm's colours; the first 16 are the user's own.
fn of_terminal(colour: Color) -> Rgb {
    components(colour).unwrap_or_else(|| panic!("{colour:?} looks different on every terminal"))
}

/// The usual first 16 colours: those of xterm, of VGA and the Linux console, and of Tango.
const PALETTES: [[u32; 16]; 3] = [
    [
        0x00_00_00, 0xcd_00_00, 0x00_cd_00, 0xcd_cd_00, 0x00_00_ee, 0xcd_00_cd, 0x00_cd_cd,
        0xe5_e5_e5, 0x7f_7f_7f, 0xff_00_00, 0x00_ff_00, 0xff_ff_00, 0x5c_5c_ff, 0xff_00_ff,
        0x00_ff_ff, 0xff_ff_ff,
    ],
    [
        0x00_00_00, 0xaa_00_00, 0x00_aa_00, 0xaa_55_00, 0x00_00_aa, 0xaa_00_aa, 0x00_aa_aa,
        0xaa_aa_aa, 0x55_55_55, 0xff_55_55, 0x55_ff_55, 0xff_ff_55, 0x55_55_ff, 0xff_55_ff,
        0x55_ff_ff, 0xff_ff_ff,
    ],
    [
        0x2e_34_36, 0xcc_00_00, 0x4e_9a_06, 0xc4_a0_00, 0x34_65_a4, 0x75_50_7b, 0x06_98_9a,
        0xd3_d7_cf, 0x55_57_53, 0xef_29_29, 0x8a_e2_34, 0xfc_e9_4f, 0x72_9f_cf, 0xad_7f_a8,
        0x34_e2_e2, 0xee_ee_ec,
    ],
];

fn of_palette(palette: &[u32; 16], colour: Color) -> Rgb {
    let order = [
        Color::Black,
        Color::Red,
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::Cyan,
        Color::Gray,
        Color::DarkGray,
        Color::LightRed,
        Color::LightGreen,
        Color::LightYellow,
        Color::LightBlue,
        Color::LightMagenta,
        Color::LightCyan,
        Color::White,
    ];
    let [_, r, g, b] =
        palette[order.iter().position(|&known| known == colour).unwrap()].to_be_bytes();
    (r, g, b)
}

#[test]
fn sixteen_colours_are_legible_on_the_usual_palettes() {
    for (scheme, background) in [(Scheme::Dark, (0, 0, 0)), (Scheme::Light, (255, 255, 255))] {
        let theme = Theme::of(scheme, Palette::Ansi16);
        let stages = Stage::ALL.map(|stage| theme.stage(stage));
        let states = [theme.error(), theme.warning(), theme.good(), theme.key(), theme.dim()];
        let badges = [theme.title(), theme.badge(), theme.alarm(), theme.found()];
        for (nth, palette) in PALETTES.iter().enumerate() {
            for style in stages.iter().chain(&states) {
                let Some(colour) = style.fg else { continue };
                let ratio = contrast(of_palette(palette, colour), background);
                assert!(ratio >= 2.5, "{scheme:?} {nth} {colour:?}: {ratio:.1}");
            }
            for style in badges {
                let on = of_palette(palette, style.bg.unwrap());
                let ratio = contrast(of_palette(palette, style.fg.unwrap()), on);
                assert!(ratio >= 2.5, "{scheme:?} {nth} {style:?}: {ratio:.1}");
            }
        }
        // A stage is never taken for an error or a warning.
        for stage in stages {
            assert_ne!(stage.fg, theme.error().fg);
            assert_ne!(stage.fg, theme.warning().fg, "{scheme:?}");
        }
    }
}

#[test]
fn contrast_is_that_of_the_standard() {
    assert!((contrast((0, 0, 0), (255, 255, 255)) - 21.0).abs() < 0.01);
    assert!((contrast((119, 119, 119), (255, 255, 255)) - 4.48).abs() < 0.01);
}

#[test]
fn all_text_is_legible() {
    let on = [
        (Scheme::Dark, vec![(0, 0, 0), (0x1e, 0x1e, 0x1e)]),
        (Scheme::Light, vec![(255, 255, 255)]),
    ];
    for palette in [Palette::Ansi256, Palette::TrueColour] {
        for (scheme, backgrounds) in &on {
            let theme = Theme::of(*scheme, palette);
            let least = if palette == Palette::TrueColour { 4.5 } else { 4.0 };
            let stages = Stage::ALL.map(|stage| theme.stage(stage));
            let states = [theme.error(), theme.warning(), theme.good(), theme.key()];
            let selected = theme.selected();
            for style in stages.into_iter().chain(states).chain([theme.dim()]) {
                let text = of_terminal(style.fg.unwrap());
                for &background in backgrounds {
                    assert!(contrast(text, background) >= least, "{style:?} {scheme:?}");
                }
                // Dim text is plain there.
                if palette == Palette::TrueColour && style != theme.dim() {
                    let ratio = contrast(text, of_terminal(selected.bg.unwrap()));
                    assert!(ratio >= 4.5, "{style:?} on the selected line: {ratio}");
                }
            }
            let badges = [theme.title(), theme.badge(), theme.alarm(), theme.found(), selected];
            for style in badges {
                let (text, on) = (of_terminal(style.fg.unwrap()), of_terminal(style.bg.unwrap()));
                assert!(contrast(text, on) >= least, "{style:?} {scheme:?}");
            }
        }
    }
}

fn of<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| {
        let found = set.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }
}

#[test]
fn the_environment_determines_the_number_of_colours() {
    let find = |set: &[(&str, &str)]| Palette::find(false, Colors::Auto, of(set));
    assert_eq!(find(&[("TERM", "xterm")]), Palette::Ansi16);
    assert_eq!(find(&[("TERM", "screen-256color")]), Palette::Ansi256);
    assert_eq!(find(&[("TERM", "xterm"), ("COLORTERM", "yes")]), Palette::Ansi256);
    assert_eq!(find(&[("TERM", "xterm"), ("COLORTERM", "truecolor")]), Palette::TrueColour);
    assert_eq!(find(&[("TERM", "xterm-direct")]), Palette::TrueColour);
    let screen = [("STY", "1.pts-0"), ("TERM", "screen"), ("COLORTERM", "truecolor")];
    assert_eq!(find(&screen), Palette::Ansi16);
    assert_eq!(find(&[&screen[..], &[("TMUX", "/tmp/tmux,1,0")]].concat()), Palette::TrueColour);
    assert_eq!(find(&[("TERM", "dumb"), ("COLORTERM", "24bit")]), Palette::NoColour);
    let truly = [("COLORTERM", "truecolor")];
    assert_eq!(Palette::find(true, Colors::True, of(&truly)), Palette::NoColour);
    assert_eq!(Palette::find(false, Colors::Ansi16, of(&truly)), Palette::Ansi16);
}

#[test]
fn the_locale_determines_whether_ascii_is_used() {
    let auto = |set: &[(&str, &str)]| needs_ascii(Ascii::Auto, of(set));
    assert!(!auto(&[]));
    assert!(!auto(&[("LANG", "en_US.UTF-8")]) && !auto(&[("LC_CTYPE", "C.utf8")]));
    assert!(auto(&[("LANG", "C")]) && auto(&[("LANG", "de_DE.ISO-8859-1")]));
    assert!(auto(&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")]));
    assert!(!auto(&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C")]));
    assert!(needs_ascii(Ascii::On, of(&[("LANG", "C.UTF-8")])));
    assert!(!needs_ascii(Ascii::Off, of(&[("LANG", "C")])));
}
