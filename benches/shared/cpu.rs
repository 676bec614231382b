//! CPU time of the processes of a bench.

use std::array;
use std::fmt;

/// What has CPU time: the bench itself, the program or another server, its time in the kernel, and its
/// engines.
pub const PARTS: [&str; 5] = ["bench", "server", "server in the kernel", "Redis", "ClickHouse"];
pub const BENCH: usize = 0;
pub const SERVER: usize = 1;
const KERNEL: usize = 2;
pub const REDIS: usize = 3;
pub const CLICKHOUSE: usize = 4;

/// Milliseconds of CPU time of each of [`PARTS`].
#[derive(Clone, Copy, Default)]
pub struct Cpu(pub [f64; PARTS.len()]);

impl Cpu {
    /// The CPU time of this process and of the servers it has started.
    pub fn now() -> Self {
        let own = std::process::id();
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        let mut cpu = Self::default();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        for process in processes {
            let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
            let (start, rest) = stat.rsplit_once(')').unwrap();
            let (pid, name) = start.split_once(" (").unwrap();
            let fields: Vec<_> = rest.split_whitespace().collect();
            let number = |nth: usize| fields[nth].parse::<u32>().unwrap();
            // The kernel counts in hundredths of a second.
            let [user, kernel] = [11, 12].map(|nth| f64::from(number(nth)) * 10.0);
            let part = match name {
                _ if pid.parse() == Ok(own) => BENCH,
                _ if number(1) != own => continue,
                // Or another build of it.
                name if name.starts_with("bklit-") => SERVER,
                // A server of the bench itself, with which the daemon is compared.
                name if name == comm.trim_end() => SERVER,
                "valkey-server" => REDIS,
                "clickhouse-fron" => CLICKHOUSE,
                _ => continue,
            };
            cpu.0[part] += user + kernel;
            if part == SERVER {
                cpu.0[KERNEL] += kernel;
            }
        }
        cpu
    }

    /// The CPU time since then.
    pub fn since(self) -> Self {
        let now = Self::now();
        Self(array::from_fn(|part| now.0[part] - self.0[part]))
    }

    /// The CPU time divided by `many`.
    pub fn per(self, many: f64) -> Self {
        Self(self.0.map(|millis| millis / many))
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let busy = PARTS.iter().zip(self.0).filter(|(_, millis)| *millis >= 0.05);
        let texts: Vec<_> = busy.map(|(part, millis)| format!("{part} {millis:.1} ms")).collect();
        write!(f, "{}", texts.join(", "))
    }
}
