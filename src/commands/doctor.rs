//! `doctor`: prints what is wrong with the servers, the data dir and the settings.

use std::process::ExitCode;

use color_eyre::Result;
use serde::Serialize;

use super::print;
use bklit_wire::diagnostic::{Diagnostic, Severity};
use bklit_wire::text::safe;

/// A server, the data dir or the settings.
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// The findings, in the order of the checks.
    pub findings: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct Line<'a> {
    part: &'a str,
    #[serde(flatten)]
    finding: &'a Diagnostic,
}

/// Prints the findings; the exit code is 1 if one is a problem.
///
/// # Errors
/// When they cannot be printed.
pub fn run(parts: &[Part], json: bool) -> Result<ExitCode> {
    print(&if json { lines(parts)? } else { page(parts) })?;
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
            // It may contain text from a server.
            text += &format!("  {mark}  {}\n", safe(what));
            if !advice.is_empty() {
                text += &format!("           → {}\n", safe(advice));
            }
        }
        text.push('\n');
    }
    let (problems, warnings) = (count(parts, Severity::Problem), count(parts, Severity::Warning));
    text + &match (problems, warnings) {
        (0, 0) => "No problems found.\n".to_owned(),
        _ => format!("{}, {}.\n", counted(problems, "problem"), counted(warnings, "warning")),
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
