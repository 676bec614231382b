use super::*;

#[test]
fn no_colour_has_no_colour_but_emphasis() {
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
fn without_colours_everything_still_tells_apart() {
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
    let step = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    match colour {
        Color::Rgb(r, g, b) => (r, g, b),
        Color::Indexed(n @ 16..=231) => {
            let n = n - 16;
            (step(n / 36), step(n / 6 % 6), step(n % 6))
        }
        Color::Indexed(n @ 232..) => (8 + 10 * (n - 232), 8 + 10 * (n - 232), 8 + 10 * (n - 232)),
        other => panic!("{other:?} looks different on every terminal"),
    }
}

#[test]
fn contrast_is_that_of_the_standard() {
    assert!((contrast((0, 0, 0), (255, 255, 255)) - 21.0).abs() < 0.01);
    assert!((contrast((119, 119, 119), (255, 255, 255)) - 4.48).abs() < 0.01);
}

#[test]
fn all_text_can_be_read() {
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
fn the_environment_tells_how_many_colours_there_are() {
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
fn the_locale_tells_whether_ascii_is_needed() {
    let auto = |set: &[(&str, &str)]| needs_ascii(Ascii::Auto, of(set));
    assert!(!auto(&[]));
    assert!(!auto(&[("LANG", "en_US.UTF-8")]) && !auto(&[("LC_CTYPE", "C.utf8")]));
    assert!(auto(&[("LANG", "C")]) && auto(&[("LANG", "de_DE.ISO-8859-1")]));
    assert!(auto(&[("LC_ALL", "POSIX"), ("LANG", "en_US.UTF-8")]));
    assert!(!auto(&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C")]));
    assert!(needs_ascii(Ascii::On, of(&[("LANG", "C.UTF-8")])));
    assert!(!needs_ascii(Ascii::Off, of(&[("LANG", "C")])));
}
