//! CPU time of the processes of a bench.

use std::fmt;

/// Milliseconds of CPU time of each process.
#[derive(Clone, Copy)]
pub struct Cpu {
    ours: f64,
    daemon: f64,
    redis: f64,
    clickhouse: f64,
}

impl Cpu {
    /// The CPU time of this process and of the servers it has started.
    pub fn now() -> Self {
        let own = std::process::id();
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        let mut cpu = Self { ours: 0.0, daemon: 0.0, redis: 0.0, clickhouse: 0.0 };
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        for process in processes {
            let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
            let (start, rest) = stat.rsplit_once(')').unwrap();
            let (pid, name) = start.split_once(" (").unwrap();
            let fields: Vec<_> = rest.split_whitespace().collect();
            let number = |nth: usize| fields[nth].parse::<u32>().unwrap();
            // The kernel counts in hundredths of a second.
            let millis = f64::from(number(11) + number(12)) * 10.0;
            let place = match name {
                _ if pid.parse() == Ok(own) => &mut cpu.ours,
                _ if number(1) != own => continue,
                // Or another build of it.
                name if name.starts_with("bklit-") => &mut cpu.daemon,
                // A server of the bench itself, with which the daemon is compared.
                name if name == comm.trim_end() => &mut cpu.daemon,
                "valkey-server" => &mut cpu.redis,
                "clickhouse-fron" => &mut cpu.clickhouse,
                _ => continue,
            };
            *place += millis;
        }
        cpu
    }

    /// The CPU time since then.
    pub fn since(self) -> Self {
        let now = Self::now();
        Self {
            ours: now.ours - self.ours,
            daemon: now.daemon - self.daemon,
            redis: now.redis - self.redis,
            clickhouse: now.clickhouse - self.clickhouse,
        }
    }

    /// The CPU time of the program, Redis and ClickHouse.
    pub fn of_servers(self) -> [f64; 3] {
        [self.daemon, self.redis, self.clickhouse]
    }

    /// The CPU time divided by `many`.
    pub fn per(self, many: f64) -> Self {
        Self {
            ours: self.ours / many,
            daemon: self.daemon / many,
            redis: self.redis / many,
            clickhouse: self.clickhouse / many,
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processes = [
            ("bench", self.ours),
            ("server", self.daemon),
            ("Redis", self.redis),
            ("ClickHouse", self.clickhouse),
        ];
        let busy = processes.iter().filter(|(_, millis)| *millis >= 0.05);
        let texts: Vec<_> = busy.map(|(name, millis)| format!("{name} {millis:.1} ms")).collect();
        write!(f, "{}", texts.join(", "))
    }
}
