//! Results as JSON lines, from which `bench/run.sh` makes RESULTS.md.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

#[derive(Args)]
pub struct Recording {
    /// Append the results to this file, as JSON lines
    #[arg(long = "json", value_name = "FILE")]
    file: Option<PathBuf>,
    /// With `--json`: the results are points of this plot
    #[arg(long, value_name = "NAME")]
    plot: Option<String>,
}

impl Recording {
    /// Records the values of all rounds of a figure. `x` is its place in a plot.
    pub fn add(&self, figure: &str, unit: &str, x: f64, values: &[f64]) {
        let Some(file) = &self.file else { return };
        // The binary, then the options that change what is measured.
        let options: Vec<_> =
            std::env::args().skip(1).filter(|option| option != "--bench").collect();
        let ours = options.iter().position(|option| option == "--json").unwrap_or(options.len());
        let record = json!({
            "bench": env!("CARGO_CRATE_NAME"),
            "options": options[..ours].join(" "),
            "figure": figure,
            "unit": unit,
            "plot": self.plot,
            "x": x,
            "values": values,
        });
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{record}").unwrap();
    }
}
