//! `doctor` on real servers and files, with each possible problem provoked.

mod clickhouse;
mod files;
mod processes;
mod servers;

use serde_json::Value;

use crate::support::Cli;

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

/// The first finding of that part that contains `what` has this severity, and advice unless ok.
#[track_caller]
fn assert_found(cli: &Cli, part: &str, severity: &str, what: &str) {
    let (findings, code) = examined(cli, &[]);
    let found = findings.iter().find(|found| found[0] == part && found[2].contains(what));
    let found = found.unwrap_or_else(|| panic!("{what}: {findings:#?}"));
    assert_eq!(found[1], severity, "{found:?}");
    assert_eq!(found[3].is_empty(), severity == "ok", "{found:?}");
    let problems = findings.iter().any(|found| found[1] == "problem");
    assert_eq!(code, i32::from(problems), "{findings:#?}");
}

/// No finding of that part is worse than ok.
#[track_caller]
fn assert_no_problems(cli: &Cli, part: &str) {
    let (findings, _) = examined(cli, &[]);
    let of_part: Vec<_> = findings.iter().filter(|found| found[0] == part).collect();
    assert!(!of_part.is_empty(), "{findings:#?}");
    assert!(of_part.iter().all(|found| found[1] == "ok"), "{of_part:#?}");
}

/// With a free port.
fn cli() -> Cli {
    Cli::new().env("BKLIT_LISTEN", "127.0.0.1:0")
}
