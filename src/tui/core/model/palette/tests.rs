use super::commands::{Command, Format, Notify, parse, split};
use super::*;
use crate::model::query::Purpose;

fn words_of(line: &str, known: &Known) -> Vec<String> {
    candidates(line, known).1.into_iter().map(|candidate| candidate.word).collect()
}

#[test]
fn commands_are_understood() {
    assert!(matches!(parse("since 10m"), Ok(Command::Since(Some(ago))) if ago.as_secs() == 600));
    assert!(matches!(parse(":since off"), Ok(Command::Since(None))));
    assert!(matches!(parse("filter"), Ok(Command::Query(Purpose::Filter, None))));
    let query = parse("search stage:worker \"a b\"");
    assert!(
        matches!(query, Ok(Command::Query(Purpose::Search, Some(q))) if q.source().ends_with("b\""))
    );
    assert!(matches!(parse("level warn"), Ok(Command::Level(Level::Warn))));
    assert!(matches!(parse("project all"), Ok(Command::Project(None))));
    let export = parse("export! some dir/a.csv");
    assert!(matches!(export, Ok(Command::Export(target, Format::Csv))
        if target.overwrite && target.path == "some dir/a.csv"));
    assert!(matches!(parse("record a b"), Ok(Command::Record(Some(t))) if !t.overwrite));
    assert!(matches!(parse("set utc on"), Ok(Command::Set(Switch::Utc, true))));
    assert!(matches!(parse("sql"), Ok(Command::Sql(None))));
    assert!(matches!(parse("sql SELECT 1"), Ok(Command::Sql(Some(sql))) if sql == "SELECT 1"));
    assert!(matches!(parse("  q  "), Ok(Command::Quit)));
    assert_eq!(split(":a  b c "), ("a", "b c"));
}

#[test]
fn errors_say_what_is_allowed() {
    for (line, allowed) in [
        ("", "unknown command"),
        ("quit", "unknown command: quit"),
        ("fliter x", "unknown command: fliter; did you mean filter?"),
        ("exprot! x", "unknown command: exprot!; did you mean export?"),
        ("set asci on", "unknown switch asci (utc, ascii, fold, wrap, mouse); did you mean ascii?"),
        ("q!", "unknown command: q!"),
        ("since", "usage: since 10m|off"),
        ("since yesterday", "90s, 10m"),
        ("level loud", "info, warn, error"),
        ("filter level:loud", "info, warn, error"),
        ("export a.txt", ".jsonl or .csv"),
        ("export", "usage: export FILE"),
        ("save a b", "letters, digits"),
        ("set lines on", "utc, ascii, fold"),
        ("set utc maybe", "on|off"),
        ("help me", "takes no argument"),
        ("notify off some", "off all"),
        ("notify level:loud", "info, warn, error"),
    ] {
        let mistake = parse(line).unwrap_err();
        assert!(mistake.contains(allowed), "{line}: {mistake}");
    }
}

/// Every completion is a valid command, unless it is incomplete.
#[test]
fn every_command_completes_and_can_be_parsed() {
    let known = Known {
        skins: vec!["production".into()],
        queries: vec![("rate".into(), "Events per minute".into())],
        projects: vec!["shop".into()],
        processes: vec!["12-ab".into()],
        filters: vec![("errors".into(), "level:error".into())],
        watched: vec!["level:error".into()],
        files: Files { dir: String::new(), names: vec!["a.csv".into(), "dir/".into()] },
    };
    for spec in COMMANDS {
        assert!(words_of(&spec.name[..1], &known).contains(&spec.name.to_owned()));
        let offered = words_of(&format!("{} ", spec.name), &known);
        assert_eq!(
            offered.is_empty(),
            matches!(
                spec.argument,
                Argument::None
                    | Argument::NewName
                    | Argument::EventId
                    | Argument::SessionId
                    | Argument::Moment
            )
        );
        for word in offered.iter().filter(|word| !word.ends_with([':', '>', '.', '/'])) {
            let rest = if spec.argument == Argument::Switch { " on" } else { "" };
            let line = format!("{} {word}{rest}", spec.name);
            assert!(parse(&line).is_ok(), "{line}");
        }
    }
    assert_eq!(words_of("filter level:warn sta", &known).len(), 6);
    assert_eq!(words_of("set utc o", &known), ["on", "off"]);
    assert_eq!(words_of("notify off ", &known), ["1", "all"]);
    assert!(matches!(parse("trace \"evt_1\","), Ok(Command::Trace(id)) if id == "evt_1"));
    assert!(parse("trace").unwrap_err().contains("usage: trace ID"));
    assert!(matches!(parse("notify"), Ok(Command::Notify(Notify::List))));
    assert!(matches!(parse("notify off"), Ok(Command::Notify(Notify::Stop(None)))));
    assert!(matches!(parse("notify off 3"), Ok(Command::Notify(Notify::Stop(Some(3))))));
    assert!(matches!(parse("notify official"), Ok(Command::Notify(Notify::Watch(_)))));
    assert_eq!(words_of("export d", &known), ["dir/"]);
    assert!(words_of("nonsense a", &known).is_empty());
}

#[test]
fn tab_cycles_and_completes_a_single_candidate() {
    let mut palette = Palette::new(Known::default());
    palette.input = Input::new("se".into());
    palette.complete();
    let mut texts = Vec::new();
    for _ in 0..4 {
        palette.choose(true);
        texts.push(palette.input.value().to_owned());
    }
    assert_eq!(texts, ["search", "session", "set", "search"]);
    palette.input = Input::new("le".into());
    palette.complete();
    palette.choose(true);
    assert_eq!(palette.input.value(), "level ");
    palette.choose(false);
    assert_eq!(palette.input.value(), "level error");
}
