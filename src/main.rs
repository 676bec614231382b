//! The command `bklit-tui`.

use std::process::ExitCode;

use clap::Parser;

/// Batches of any size come and go between small values that stay. With the system's allocator on
/// Linux, memory grows for as long as that goes on.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bklit_tui::commands::completions::complete();
    let result = bklit_tui::app::install_panic_report()
        .and_then(|()| bklit_tui::app::run(bklit_tui::cli::Cli::parse()));
    result.unwrap_or_else(|error| {
        // It may contain text from a server.
        for line in format!("error: {error:#}").lines() {
            eprintln!("{}", bklit_wire::text::safe(line));
        }
        ExitCode::FAILURE
    })
}
