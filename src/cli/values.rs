//! Flags with a fixed set of values: parsers with the set, for help, errors and completion.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use bklit_console_core::appearance::Scheme;
use bklit_pipeline::intake::visitor::ClientIpHeader;
use bklit_pipeline::roles::Role;
use bklit_wire::debug_log::{Level, Stage};

/// Values of `--durability`.
pub(super) const DURABILITY: [&str; 2] = ["everysec", "always"];
/// Suggested values of `--speed`; other spellings of the same numbers work, too.
const SPEEDS: [&str; 8] = ["0.25", "0.5", "1", "2", "5", "10", "60", "max"];
/// Suggested values of `--log`; filters for single modules work, too.
const LOG: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

pub(super) fn stage() -> impl TypedValueParser<Value = Stage> {
    named(Stage::ALL.map(Stage::as_str))
}

pub(super) fn level() -> impl TypedValueParser<Value = Level> {
    named(Level::ALL.map(Level::as_str))
}

pub(super) fn role() -> PossibleValuesParser {
    Role::ALL.map(Role::as_str).into()
}

pub(super) fn client_ip_header() -> PossibleValuesParser {
    ClientIpHeader::ALL.map(ClientIpHeader::as_str).into()
}

/// Skins of the config file are not suggested, but accepted.
pub(super) fn themes() -> ArgValueCandidates {
    suggested(Scheme::ALL.map(Scheme::as_str))
}

pub(super) fn speeds() -> ArgValueCandidates {
    suggested(SPEEDS)
}

pub(super) fn log() -> ArgValueCandidates {
    suggested(LOG)
}

fn named<T, const N: usize>(names: [&'static str; N]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::from(names).try_map(|name| name.parse::<T>())
}

fn suggested<const N: usize>(values: [&'static str; N]) -> ArgValueCandidates {
    let order = move || {
        let ordered = values.into_iter().enumerate();
        ordered
            .map(|(place, value)| CompletionCandidate::new(value).display_order(Some(place)))
            .collect()
    };
    ArgValueCandidates::new(order)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;
    use crate::config::{Environment, Settings};

    #[test]
    fn every_value_that_a_flag_offers_is_accepted_by_the_settings() {
        let flags: [(&str, &[&str]); 5] = [
            ("--client-ip-header", &ClientIpHeader::ALL.map(ClientIpHeader::as_str)),
            ("--durability", &DURABILITY),
            ("--roles", &Role::ALL.map(Role::as_str)),
            ("--theme", &Scheme::ALL.map(Scheme::as_str)),
            ("--log", &LOG),
        ];
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.toml");
        std::fs::write(&empty, "").unwrap();
        for (flag, values) in flags {
            for value in values {
                let cli = Cli::try_parse_from(["bklit-tui", flag, value]).unwrap();
                assert_eq!(cli.global.overrides().len(), 1, "{flag} {value}");
                // A process with a single role also needs a Redis.
                let redis = Environment::new([("REDIS_URL".to_owned(), "redis://r".to_owned())]);
                let settings = Settings::load(Some(&empty), &redis, &cli.global.overrides());
                assert!(settings.is_ok(), "{flag} {value}: {settings:?}");
            }
        }
    }

    #[test]
    fn every_suggested_speed_is_accepted() {
        for speed in SPEEDS {
            Cli::try_parse_from(["bklit-tui", "replay", "file", "--speed", speed]).unwrap();
        }
    }
}
