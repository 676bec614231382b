//! `doctor` on real servers and files, with each possible problem provoked.

mod clickhouse;
mod files;
mod processes;
mod servers;

use std::time::Instant;

use serde_json::Value;

use crate::support::{Cli, DEADLINE};

/// The findings as part, severity, what and advice, and the exit code.
fn examined(cli: &Cli, arguments: &[&str]) -> (Vec<[String; 4]>, i32) {
    let output = cli.run(&[&["doctor", "--json"], arguments].concat());
    assert_eq!(output.stderr, "", "{output:#?}");
    let findings = output.stdout.lines().map(|line| {
        let finding: Value = serde_json::from_str(line).unwrap();
        ["part", "severity", "what", "advice"]
            .map(|name| finding[name].as_str().unwrap_or_else(|| panic!("{line}")).to_owned())
    });
    (findings.collect(), output.code.unwrap())
}

/// The findings, once one of them is as expected: a server that works may not answer in time on a busy
/// machine.
#[track_caller]
fn examined_until(
    cli: &Cli,
    what: &str,
    is_expected: impl Fn(&[[String; 4]]) -> bool,
) -> (Vec<[String; 4]>, i32) {
    let began = Instant::now();
    loop {
        let (findings, code) = examined(cli, &[]);
        if is_expected(&findings) {
            return (findings, code);
        }
        assert!(began.elapsed() < DEADLINE, "{what}: {findings:#?}");
    }
}

/// The first finding of that part that contains `what` has this severity, and advice unless ok.
#[track_caller]
fn assert_found(cli: &Cli, part: &str, severity: &str, what: &str) {
    let is_meant = |found: &&[String; 4]| found[0] == part && found[2].contains(what);
    let (findings, code) =
        examined_until(cli, what, |findings| findings.iter().any(|found| is_meant(&found)));
    let found = findings.iter().find(is_meant).unwrap();
    assert_eq!(found[1], severity, "{found:?}");
    assert_eq!(found[3].is_empty(), severity == "ok", "{found:?}");
    let problems = findings.iter().any(|found| found[1] == "problem");
    assert_eq!(code, i32::from(problems), "{findings:#?}");
}

/// No finding of that part is worse than ok.
#[track_caller]
fn assert_no_problems(cli: &Cli, part: &str) {
    examined_until(cli, "no problems", |findings| {
        let mut of_part = findings.iter().filter(|found| found[0] == part).peekable();
        of_part.peek().is_some() && of_part.all(|found| found[1] == "ok")
    });
}

/// With a free port.
fn cli() -> Cli {
    Cli::new().env("BKLIT_LISTEN", "127.0.0.1:0")
}
