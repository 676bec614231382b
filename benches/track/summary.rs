//! The runs of all rounds: printed as medians, and recorded.

use crate::cpu::{self, Cpu};
use crate::load::Tally;
use crate::{Kind, Options};

/// One run of a kind.
pub struct Run {
    pub kind: Kind,
    pub tally: Tally,
    /// Milliseconds per 1,000 events, which are microseconds per event.
    pub cpu: Cpu,
    /// With Redis only.
    pub bytes: Option<Bytes>,
}

/// Bytes per event.
pub struct Bytes {
    /// In the list.
    pub memory: f64,
    /// Between the program and Redis.
    pub to_redis: f64,
    /// Between clients and the program.
    pub to_clients: f64,
}

const RATIOS: [(&str, Kind, Kind); 4] = [
    ("/track to bare hyper", Kind::Track, Kind::Bare),
    ("/track to the other build's", Kind::Track, Kind::Other),
    ("with console and logs to without", Kind::Watched, Kind::Track),
    ("events of /batch to /track", Kind::Batch, Kind::Track),
];

/// The values of all rounds of a kind.
fn values(runs: &[Run], kind: Kind, value: impl Fn(&Run) -> f64) -> Vec<f64> {
    runs.iter().filter(|run| run.kind == kind).map(value).collect()
}

fn rates(runs: &[Run], kind: Kind) -> Vec<f64> {
    values(runs, kind, |run| run.tally.rate())
}

fn latencies(runs: &[Run], kind: Kind) -> Vec<f64> {
    values(runs, kind, |run| run.tally.millis(0.99))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints the medians and their ratios.
pub fn print(kinds: &[Kind], runs: &[Run]) {
    println!();
    for kind in kinds {
        let (rate, p99) = (median(rates(runs, *kind)), median(latencies(runs, *kind)));
        println!("{:<30} median {rate:>9.0}/s  p99 {p99:>7.2} ms", kind.name());
    }
    for (what, over, under) in RATIOS {
        if kinds.contains(&over) && kinds.contains(&under) {
            let ratio = median(rates(runs, over)) / median(rates(runs, under));
            println!("{what:<34} {ratio:.3}");
        }
    }
}

/// Records the values of each round, and the ratios within rounds.
pub fn record(options: &Options, kinds: &[Kind], runs: &[Run]) {
    let recording = &options.recording;
    let engine = if options.redis { "Redis" } else { "SQLite" };
    for kind in kinds {
        let name = match kind {
            Kind::Bare => kind.name().to_owned(),
            _ => format!("{} ({engine})", kind.name()),
        };
        recording.add(&name, "events/s", &rates(runs, *kind));
        recording.add(&format!("p99 of {name}"), "ms", &latencies(runs, *kind));
        for (part, part_name) in cpu::PARTS.into_iter().enumerate() {
            let micros = values(runs, *kind, |run| run.cpu.0[part]);
            if part != cpu::CLICKHOUSE && (part != cpu::REDIS || options.redis) {
                let figure = format!("processor time of {name}, {part_name}");
                recording.add(&figure, "µs/event", &micros);
            }
        }
        let bytes = |value: fn(&Bytes) -> f64| -> Vec<f64> {
            let of_kind = runs.iter().filter(|run| run.kind == *kind);
            of_kind.filter_map(|run| run.bytes.as_ref()).map(value).collect()
        };
        for (what, values) in [
            ("memory in Redis", bytes(|bytes| bytes.memory)),
            ("network with Redis", bytes(|bytes| bytes.to_redis)),
            ("network with clients", bytes(|bytes| bytes.to_clients)),
        ] {
            if !values.is_empty() {
                recording.add(&format!("{what}, {name}"), "bytes/event", &values);
            }
        }
    }
    for (what, over, under) in RATIOS {
        let pairs = rates(runs, over).into_iter().zip(rates(runs, under));
        let ratios: Vec<_> = pairs.map(|(over, under)| over / under).collect();
        if !ratios.is_empty() {
            recording.add(&format!("{what} ({engine})"), "ratio", &ratios);
        }
    }
}
