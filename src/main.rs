//! The command `bklit-tui`.

use std::process::ExitCode;

use clap::Parser;

// The worker uses a fifth less CPU time with it than with glibc's allocator; see bench/NOTES.md.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
