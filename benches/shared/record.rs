//! Results as JSON lines, from which `bench/report.py` makes RESULTS.md.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

#[derive(Args)]
pub struct Recording {
    /// Append the results to this file, as JSON lines; options before this one are recorded
    #[arg(long = "json", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The results are a point of the plot against this option, such as `connections`
    #[arg(long, value_name = "OPTION", requires = "file")]
    plot: Option<String>,
}

impl Recording {
    /// Records the values of all rounds of a figure.
    pub fn add(&self, figure: &str, unit: &str, values: &[f64]) {
        let Some(file) = &self.file else { return };
        // Without the program and what cargo adds.
        let options: Vec<_> =
            std::env::args().skip(1).filter(|option| option != "--bench").collect();
        let ours = options.iter().position(|option| option == "--json").unwrap_or(options.len());
        let record = json!({
            "bench": env!("CARGO_CRATE_NAME"),
            "options": options[..ours].join(" "),
            "figure": figure,
            "unit": unit,
            "plot": self.plot,
            "values": values,
        });
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{record}").unwrap();
    }
}
