//! Which lines `logs` prints.

use color_eyre::eyre::WrapErr as _;
use regex::Regex;

use crate::cli::LogsArgs;
use bklit_wire::debug_log::{DebugLog, Level, Stage};

/// The conditions given as flags; all must hold.
pub struct Filter {
    stages: Vec<Stage>,
    level: Option<Level>,
    project: Option<String>,
    pattern: Option<Regex>,
}

/// Whether these flags leave out lines that the source sends.
pub fn drops_lines(args: &LogsArgs) -> bool {
    !args.stage.is_empty() || args.level.is_some() || args.project.is_some() || args.grep.is_some()
}

impl Filter {
    /// The filter for these flags.
    ///
    /// # Errors
    /// When the pattern is not a regular expression.
    pub fn new(args: &LogsArgs) -> color_eyre::Result<Self> {
        let pattern = args.grep.as_deref().map(Regex::new).transpose();
        Ok(Self {
            stages: args.stage.clone(),
            level: args.level,
            project: args.project.clone(),
            pattern: pattern.wrap_err("--grep is not a regular expression")?,
        })
    }

    /// Whether a line passes all conditions but the pattern.
    pub fn passes(&self, log: &DebugLog) -> bool {
        (self.stages.is_empty() || self.stages.contains(&log.stage))
            && self.level.is_none_or(|level| log.level >= level)
            && self.project.is_none() | (self.project == log.project_id)
    }

    /// Whether lines without stage, level and project pass: only without such conditions.
    pub fn passes_unparsed(&self) -> bool {
        self.stages.is_empty() && self.level.is_none() && self.project.is_none()
    }

    /// Whether there is a pattern.
    pub fn has_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// Whether `text` matches the pattern; true without one.
    pub fn matches(&self, text: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn filter(flags: &[&str]) -> color_eyre::Result<Filter> {
        let line = ["bklit-tui", "logs", "--follow"].iter().chain(flags);
        let cli = crate::cli::Cli::parse_from(line);
        match cli.command {
            Some(crate::cli::Command::Logs(args)) => Filter::new(&args),
            _ => unreachable!(),
        }
    }

    #[test]
    fn every_condition_must_hold() {
        let mut log = DebugLog::new(Stage::Worker, Level::Warn, "slow");
        log.project_id = Some("p1".into());
        let cases: &[(&[&str], bool)] = &[
            (&[], true),
            (&["--stage", "worker"], true),
            (&["--stage", "queue,worker"], true),
            (&["--stage", "queue"], false),
            (&["--level", "info"], true),
            (&["--level", "warn"], true),
            (&["--level", "error"], false),
            (&["--project", "p1"], true),
            (&["--project", "p2"], false),
            (&["--stage", "worker", "--level", "error"], false),
        ];
        for (flags, passes) in cases {
            let filter = filter(flags).unwrap();
            assert_eq!(filter.passes(&log), *passes, "{flags:?}");
            assert_eq!(filter.passes_unparsed(), flags.is_empty(), "{flags:?}");
        }
        log.project_id = None;
        assert!(!filter(&["--project", "p1"]).unwrap().passes(&log));
    }

    #[test]
    fn a_pattern_must_be_a_regular_expression() {
        let filter_ = filter(&["--grep", "slow|late"]).unwrap();
        assert!(filter_.has_pattern() && filter_.matches("too late") && !filter_.matches("x"));
        let error = filter(&["--grep", "("]).err().unwrap();
        assert!(format!("{error:#}").contains("--grep"));
    }
}
