//! `doctor`: tells what is wrong with the servers, the data dir and the settings.

use std::io::{self, Write};
use std::process::ExitCode;

use color_eyre::Result;
use serde::Serialize;

use bklit_wire::diagnostic::{Diagnostic, Severity};
use bklit_wire::text::safe;

/// A server, or what else was looked at.
pub struct Part {
    /// What it is.
    pub name: &'static str,
    /// What was found, in the order in which it was looked at.
    pub findings: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct Line<'a> {
    part: &'a str,
    #[serde(flatten)]
    finding: &'a Diagnostic,
}

/// Prints the findings; fails when there is a problem among them.
///
/// # Errors
/// When they cannot be printed.
pub fn run(parts: &[Part], json: bool) -> Result<ExitCode> {
    let text = if json { lines(parts)? } else { page(parts) };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if count(parts, Severity::Problem) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn count(parts: &[Part], severity: Severity) -> usize {
    let all = parts.iter().flat_map(|part| &part.findings);
    all.filter(|finding| finding.severity == severity).count()
}

fn lines(parts: &[Part]) -> Result<String> {
    let mut text = String::new();
    for part in parts {
        for finding in &part.findings {
            text += &serde_json::to_string(&Line { part: part.name, finding })?;
            text.push('\n');
        }
    }
    Ok(text)
}

fn page(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        text += &format!("{}\n", part.name);
        for Diagnostic { severity, what, advice } in &part.findings {
            let mark = match severity {
                Severity::Good => "ok     ",
                Severity::Warning => "warning",
                Severity::Problem => "PROBLEM",
            };
            // What a server elsewhere said may be part of it.
            text += &format!("  {mark}  {}\n", safe(what));
            if !advice.is_empty() {
                text += &format!("           → {}\n", safe(advice));
            }
        }
        text.push('\n');
    }
    let (problems, warnings) = (count(parts, Severity::Problem), count(parts, Severity::Warning));
    text + &match (problems, warnings) {
        (0, 0) => "All is well.\n".to_owned(),
        _ => format!("{}, {}.\n", counted(problems, "problem"), counted(warnings, "warning")),
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
