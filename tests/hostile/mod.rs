//! Normal traffic while hostile clients flood the server: latencies, what is accepted and stored, and
//! memory. `scripts/hostile.sh` runs it and prints the figures.

mod floods;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::http::client::{Client, post};
use crate::support::{Daemon, eventually};
use floods::{FLOODS, Flood, Target};

/// Page views per second of the normal traffic, each on a connection of its own.
const RATE: u64 = 100;
/// How long each phase lasts, in seconds, unless the variable is set.
const SECONDS: u64 = 5;
const SECONDS_VARIABLE: &str = "BKLIT_HOSTILE_SECONDS";
/// How long the floods run before normal traffic is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// The longest time that may pass until everything accepted is stored.
const DRAIN: Duration = Duration::from_secs(120);

/// What became of the normal traffic of a phase.
struct Served {
    /// Of those answered 200, in order.
    latencies: Vec<Duration>,
    sent: usize,
}

impl Served {
    fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or_default()
    }
}

/// Sends page views at [`RATE`], whether or not earlier ones have been answered.
async fn normal_traffic(address: SocketAddr, token: &str, seconds: u64) -> Served {
    let bearer = format!("Bearer {token}");
    let body = r#"{"url":"https://shop.example/normal","projectId":"default"}"#;
    let bytes: Arc<[u8]> = post("/track", &[("Authorization", &bearer)], body).into();
    let mut ticks = interval(Duration::from_millis(1000 / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut visits = JoinSet::new();
    for _ in 0..RATE * seconds {
        let began = ticks.tick().await;
        let bytes = Arc::clone(&bytes);
        visits.spawn(async move {
            let stream = tokio::net::TcpStream::connect(address).await.ok()?;
            let mut client = Client(tokio::io::BufReader::new(stream));
            client.try_send(&bytes).await.ok()?;
            let answer = client.try_answer().await?;
            (answer.status == 200).then(|| began.elapsed())
        });
    }
    let sent = visits.len();
    let mut latencies = Vec::new();
    while let Some(visit) = visits.join_next().await {
        // One that exceeds the client's deadline panics.
        latencies.extend(visit.ok().flatten());
    }
    latencies.sort_unstable();
    Served { latencies, sent }
}

/// A line of the table.
fn row(name: &str, hostile: u64, served: &Served, daemon: &Daemon) -> String {
    let millis = |percent| served.percentile(percent).as_secs_f64() * 1000.0;
    format!(
        "{name:<34} {hostile:>9} {:>6}/{:<6} {:>8.1} {:>8.1} {:>8.1} {:>8}",
        served.latencies.len(),
        served.sent,
        millis(50),
        millis(99),
        millis(100),
        daemon.resident_kib() >> 10
    )
}

/// A phase: normal traffic during these floods.
async fn phase(target: &Target, floods: &[&Flood], seconds: u64) -> (u64, Served) {
    let sent = Arc::new(AtomicU64::new(0));
    let mut attackers = JoinSet::new();
    for flood in floods {
        flood.start(target, &sent, &mut attackers);
    }
    if !floods.is_empty() {
        sleep(WARM_UP).await;
    }
    let began = Instant::now();
    let served = normal_traffic(target.address, &target.token, seconds).await;
    assert!(began.elapsed() >= Duration::from_secs(seconds.saturating_sub(1)));
    attackers.shutdown().await;
    (sent.load(Relaxed), served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and measures; scripts/hostile.sh runs it"]
async fn normal_traffic_is_served_during_floods() {
    let seconds = std::env::var(SECONDS_VARIABLE).map_or(SECONDS, |text| text.parse().unwrap());
    let daemon = Daemon::start();
    let target = Target { address: daemon.addr, token: daemon.token().into() };
    println!(
        "\n{:<34} {:>9} {:>13} {:>8} {:>8} {:>8} {:>8}",
        "flood", "requests", "accepted", "p50 ms", "p99 ms", "max ms", "MiB"
    );
    let mut accepted = 0;
    let all: Vec<_> = FLOODS.iter().collect();
    let single = FLOODS.iter().map(|flood| (flood.name, vec![flood]));
    let phases = [("none, warm-up", vec![]), ("none", vec![])].into_iter().chain(single);
    let phases = phases.chain([("all of them", all), ("none, afterwards", vec![])]);
    let mut lost = Vec::new();
    for (name, floods) in phases {
        let (hostile, served) = phase(&target, &floods, seconds).await;
        println!("{}", row(name, hostile, &served, &daemon));
        accepted += served.latencies.len();
        // Latencies are printed, not judged: they depend on the machine.
        if served.latencies.len() * 100 < served.sent * 99 {
            lost.push(name);
        }
    }
    let sql = "SELECT count() FROM page_view_event WHERE url = 'https://shop.example/normal'";
    let stored = || daemon.scalar(sql).as_u64().unwrap();
    let began = Instant::now();
    eventually(DRAIN, "everything accepted is stored", || stored() >= accepted as u64);
    println!("{} of {accepted} stored, after {:.1?}", stored(), began.elapsed());
    assert_eq!(stored(), accepted as u64, "each once");
    assert!(lost.is_empty(), "less than 99 % of the normal traffic accepted: {lost:?}");
}
