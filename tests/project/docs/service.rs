//! The systemd unit against the settings and the command line.

use bklit_tui::cli::Cli;
use bklit_tui::config::Settings;
use clap::CommandFactory;

use super::commands::arguments_of;
use super::page;

#[test]
fn the_unit_gives_a_shutdown_enough_time() {
    let unit = page::read("contrib/systemd/bklit-tui.service");
    let value = |name| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let seconds: u64 = value("TimeoutStopSec=").trim_end_matches('s').parse().unwrap();
    let Settings { shutdown_timeout, shutdown_delay, .. } = Settings::default();
    assert!(seconds > (shutdown_timeout + shutdown_delay).as_secs());
    let arguments = arguments_of(value("ExecStart=/usr/local/bin/")).unwrap();
    Cli::command().try_get_matches_from(arguments).unwrap();
}
