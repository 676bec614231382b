use crossterm::event::{MouseButton, MouseEventKind};
use proptest::prelude::*;

use super::*;

fn decode(chunks: &[&[u8]]) -> Vec<Typed> {
    let (mut decoder, mut typed) = (Decoder::default(), Vec::new());
    for chunk in chunks {
        decoder.push(chunk, &mut typed);
    }
    typed.extend(decoder.give_up_waiting());
    typed
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Vec<Typed> {
    vec![Typed::Key(KeyEvent::new(code, modifiers))]
}

#[test]
fn keys_of_common_terminals() {
    const NONE: KeyModifiers = KeyModifiers::NONE;
    const SHIFT: KeyModifiers = KeyModifiers::SHIFT;
    const ALT: KeyModifiers = KeyModifiers::ALT;
    const CONTROL: KeyModifiers = KeyModifiers::CONTROL;
    let cases: &[(&[u8], KeyCode, KeyModifiers)] = &[
        (b"a", KeyCode::Char('a'), NONE),
        (b"G", KeyCode::Char('G'), SHIFT),
        ("ß".as_bytes(), KeyCode::Char('ß'), NONE),
        ("漢".as_bytes(), KeyCode::Char('漢'), NONE),
        (b"\r", KeyCode::Enter, NONE),
        (b"\t", KeyCode::Tab, NONE),
        (b"\x7f", KeyCode::Backspace, NONE),
        (b"\x03", KeyCode::Char('c'), CONTROL),
        (b"\x1a", KeyCode::Char('z'), CONTROL),
        (b"\x0c", KeyCode::Char('l'), CONTROL),
        (b"\0", KeyCode::Char(' '), CONTROL),
        (b"\x1b", KeyCode::Esc, NONE),
        (b"\x1bx", KeyCode::Char('x'), ALT),
        (b"\x1b[A", KeyCode::Up, NONE),
        (b"\x1bOB", KeyCode::Down, NONE),
        (b"\x1b[1;5C", KeyCode::Right, CONTROL),
        (b"\x1b[H", KeyCode::Home, NONE),
        (b"\x1b[4~", KeyCode::End, NONE),
        (b"\x1b[5~", KeyCode::PageUp, NONE),
        (b"\x1b[6;2~", KeyCode::PageDown, SHIFT),
        (b"\x1bOQ", KeyCode::F(2), NONE),
        (b"\x1b[[B", KeyCode::F(2), NONE),
        (b"\x1b[12~", KeyCode::F(2), NONE),
        (b"\x1b[24~", KeyCode::F(12), NONE),
        (b"\x1b[Z", KeyCode::BackTab, SHIFT),
        (b"\x1b[99;5u", KeyCode::Char('c'), CONTROL),
        (b"\x1b[27u", KeyCode::Esc, NONE),
        (b"\x1b[27;5;105~", KeyCode::Char('i'), CONTROL),
        (b"\x1b[27;2;13~", KeyCode::Enter, SHIFT),
        (b"\x1b[27;2;65~", KeyCode::Char('A'), SHIFT),
        (b"\x1b[97;2u", KeyCode::Char('A'), SHIFT),
        (b"\x1b[55:47;2u", KeyCode::Char('/'), NONE),
        (b"\x1b[97;6u", KeyCode::Char('A'), CONTROL | SHIFT),
        (b"\x1b[9;2u", KeyCode::BackTab, SHIFT),
        (b"\x1b[57414u", KeyCode::Enter, NONE),
        (b"\x1b[57404;129u", KeyCode::Char('5'), NONE),
        (b"\x1b[1;1:2A", KeyCode::Up, NONE),
    ];
    for (bytes, code, modifiers) in cases {
        assert_eq!(decode(&[bytes]), key(*code, *modifiers), "{bytes:?}");
    }
}

#[test]
fn unknown_sequences_are_dropped_and_the_next_key_is_read() {
    for noise in [
        &b"\x1b[I"[..],
        b"\x1b[<0;10;10m",
        b"\x1b[M !!",
        b"\x1b[M !",
        b"\x1b[32;10;5M",
        b"\x1b[?62;22c",
        b"\xff\xfe",
        b"\xe2\x28",
        b"\x1b[12",
        b"\x1b[[z",
        // Released, modifiers alone, and with the Super key.
        b"\x1b[97;1:3u",
        b"\x1b[1;1:3B",
        b"\x1b[57441;2u",
        b"\x1b[113;9u",
    ] {
        let typed = decode(&[noise, b"\x1b[A"]);
        assert_eq!(typed.last(), key(KeyCode::Up, KeyModifiers::NONE).last(), "{noise:?}");
    }
    let endless = vec![b'1'; 1000];
    assert!(decode(&[b"\x1b[", &endless, b"q"]).len() <= 1000);
}

fn mouse(kind: MouseEventKind, column: u16, row: u16) -> Typed {
    Typed::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
}

#[test]
fn only_clicks_and_the_wheel_are_reported() {
    let click = MouseEventKind::Down(MouseButton::Left);
    assert_eq!(decode(&[b"\x1b[<0;1;1M"]), [mouse(click, 0, 0)]);
    assert_eq!(decode(&[b"\x1b[<4;300;65535M"]), [mouse(click, 299, 65_534)]);
    assert_eq!(decode(&[b"\x1b[<64;10;15M"]), [mouse(MouseEventKind::ScrollUp, 9, 14)]);
    assert_eq!(decode(&[b"\x1b[<65;10;15M"]), [mouse(MouseEventKind::ScrollDown, 9, 14)]);
    let both = decode(&[b"\x1b[<0;3;", b"4Mq\x1b", b"[<0;3;4m"]);
    assert_eq!(both, [mouse(click, 2, 3), Typed::Key(KeyEvent::from(KeyCode::Char('q')))]);
    for noise in [
        "\x1b[<1;2;3M",
        "\x1b[<2;2;3M",
        "\x1b[<32;2;3M",
        "\x1b[<66;2;3M",
        "\x1b[<128;2;3M",
        "\x1b[<0;0;3M",
        "\x1b[<0;3;0M",
        "\x1b[<0;65536;3M",
        "\x1b[<0;99999999999999999999;3M",
        "\x1b[<0;+2;3M",
        "\x1b[<0;-2;3M",
        "\x1b[<0;;3M",
        "\x1b[<0;3M",
        "\x1b[<0;3;4;5M",
        "\x1b[<M",
        "\x1b[<0;3;4A",
        "\x1b[<0;3;4~",
        "\x1b[<200~",
        "\x1b\x1b[<0;3;4m",
    ] {
        let typed = decode(&[noise.as_bytes(), b"j"]);
        let keys = typed.iter().filter(|typed| **typed != plain(KeyCode::Esc));
        assert!(keys.eq(&[plain(KeyCode::Char('j'))]), "{noise:?}: {typed:?}");
    }
}

/// Its three bytes may look like letters and Enter.
#[test]
fn an_x10_report_types_nothing() {
    assert_eq!(decode(&[b"\x1b[M qq", b"j"]), [plain(KeyCode::Char('j'))]);
    assert_eq!(decode(&[b"\x1b", b"[M", b" ", b"q", b"qj"]), [plain(KeyCode::Char('j'))]);
    assert_eq!(decode(&[b"\x1b[M\xff\xfe\xfdj"]), [plain(KeyCode::Char('j'))]);
    // Interrupted by a key, which counts.
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(decode(&[b"\x1b[M q\x03"]), [Typed::Key(ctrl_c)]);
    assert_eq!(decode(&[b"\x1b[M \x1b[A"]), [plain(KeyCode::Up)]);
    // The same if nothing more comes.
    assert_eq!(decode(&[b"\x1b[M"]), []);
}

#[test]
fn pasted_text_is_literal_and_bounded() {
    let typed = decode(&[b"\x1b[200~q\x1b[A\nx\x1b[20", b"1~q"]);
    let expected =
        [Typed::Paste("q\x1b[A\nx".into()), Typed::Key(KeyEvent::from(KeyCode::Char('q')))];
    assert_eq!(typed, expected);
    let huge = vec![b'x'; 3 * MAX_PASTE];
    let typed = decode(&[b"\x1b[200~", &huge, PASTE_END]);
    assert_eq!(typed, [Typed::Paste("x".repeat(MAX_PASTE))]);
}

proptest! {
    #[test]
    fn chunk_boundaries_do_not_matter(
        parts in prop::collection::vec(
            prop::sample::select(&[
                "a", "G", "ß", "\x1b[A", "\x1bOB", "\x1b[1;5C", "\r", "\x1bx", "\x1b[5~",
                "\x1b[200~text\x1b[201~", "\x03", "\x1b[<0;10;5M", "\x1b[<64;10;5M",
                "\x1b[<0;10;5m", "\x1b[M !!",
            ][..]),
            0..20,
        ),
        cuts in prop::collection::vec(1usize..7, 1..20),
    ) {
        let bytes = parts.concat().into_bytes();
        let mut chunks = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = tail;
        }
        prop_assert_eq!(decode(&chunks), decode(&[&bytes]));
    }

    #[test]
    fn any_bytes_are_consumed(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        decode(&chunks);
    }
}
