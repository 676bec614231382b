//! The command `bklit-tui`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let result = bklit_tui::app::install_panic_report()
        .and_then(|()| bklit_tui::app::run(bklit_tui::cli::Cli::parse()));
    result.unwrap_or_else(|error| {
        // What a server elsewhere said may be part of it.
        for line in format!("error: {error:#}").lines() {
            eprintln!("{}", bklit_tui::tui::core::text::safe(line));
        }
        ExitCode::FAILURE
    })
}
