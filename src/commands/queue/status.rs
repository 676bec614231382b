//! `queue status`: counts, and the batches in flight.

use std::time::Duration;

use color_eyre::Result;
use color_eyre::eyre::WrapErr;

use super::{Queues, print};
use bklit_pipeline::queue::api;
use bklit_wire::duration::seconds;
use bklit_wire::numbers::grouped;
use bklit_wire::queue::BatchInFlight;
use bklit_wire::queue::{QueueView, ShardView};
use bklit_wire::table::Table;
use bklit_wire::text::safe;
use bklit_wire::time::UtcMillis;

pub(super) async fn run(queues: &Queues, json: bool) -> Result<()> {
    let mut view = api::overview(&*queues.queue).await?;
    if let Some(spool) = &queues.spool {
        let stats = spool.stats().await.wrap_err("cannot read the spool in the data dir")?;
        view.spooled = stats.depth + stats.in_flight;
    }
    let text = if json {
        format!("{}\n", serde_json::to_string_pretty(&view)?)
    } else {
        describe(&view, UtcMillis::now())
    };
    print(&text)?;
    Ok(())
}

fn describe(view: &QueueView, now: UtcMillis) -> String {
    let QueueView { waiting, in_flight, failed, spooled, oldest_waiting, batches, .. } = view;
    let oldest = match oldest_waiting {
        Some(since) => format!("the oldest was accepted {} ago", since_then(*since, now)),
        None => String::new(),
    };
    let more = if view.more_batches { "more than " } else { "" };
    let held = match batches.len() {
        0 => String::new(),
        1 => "in 1 batch".to_owned(),
        shown => format!("in {more}{shown} batches"),
    };
    let lapsed = match view.lapsed {
        0 => String::new(),
        1 => ", 1 with an expired lease".to_owned(),
        lapsed => format!(", {lapsed} with expired leases"),
    };
    let held = held + &lapsed;
    let hint = if *failed > 0 { "see `bklit-tui queue list`" } else { "" };
    let spool = if *spooled > 0 { "in this data dir, until Redis accepts them" } else { "" };
    let rows = [
        ("waiting", waiting, oldest.as_str()),
        ("in flight", in_flight, held.as_str()),
        ("failed", failed, hint),
        ("spooled", spooled, spool),
    ];
    let line = |(name, count, more): (&str, &u64, &str)| {
        format!("{name:<9}  {:>9}  {more}", grouped(*count)).trim_end().to_owned() + "\n"
    };
    let mut text: String = rows.into_iter().map(line).collect();
    for (part, pause) in view.paused.iter() {
        let part = part.as_str();
        let pause = safe(&pause.to_string()).into_owned();
        text.push_str(&format!(
            "\n{part} paused {pause}\nresume with `bklit-tui queue resume {part}`\n"
        ));
    }
    if !view.shards.is_empty() {
        let mut table = Table::new(["SHARD", "WAITING", "IN FLIGHT", "FAILED"]);
        for (number, ShardView { waiting, in_flight, failed }) in view.shards.iter().enumerate() {
            table.push([
                number.to_string(),
                grouped(*waiting),
                grouped(*in_flight),
                grouped(*failed),
            ]);
        }
        text.push_str(&format!("\n{table}"));
    }
    if !batches.is_empty() {
        let mut table = Table::new(["BATCH", "OWNER", "ITEMS", "ATTEMPTS", "CLAIMED", "LEASE"]);
        for batch in batches {
            table.push(row(batch, now));
        }
        text.push_str(&format!("\n{table}"));
    }
    text
}

fn row(batch: &BatchInFlight, now: UtcMillis) -> [String; 6] {
    let claimed = batch.claimed_at.map(|at| format!("{} ago", since_then(at, now)));
    [
        batch.id.clone(),
        batch.owner.clone().unwrap_or_else(|| "unknown".to_owned()),
        batch.items.to_string(),
        batch.attempts.to_string(),
        claimed.unwrap_or_else(|| "unknown".to_owned()),
        lease(batch),
    ]
}

/// After its lease has expired, the next free worker claims the batch.
fn lease(batch: &BatchInFlight) -> String {
    match u64::try_from(batch.lease_left_ms) {
        Ok(left @ 1..) => format!("{} left", seconds(Duration::from_millis(left))),
        _ if batch.lease_until == UtcMillis::MIN => "EXPIRED: free for the next worker".to_owned(),
        _ => {
            let expired = Duration::from_millis(batch.lease_left_ms.unsigned_abs());
            format!("EXPIRED {} ago: free for the next worker", seconds(expired))
        }
    }
}

fn since_then(then: UtcMillis, now: UtcMillis) -> String {
    let millis = u64::try_from(now.epoch_millis() - then.epoch_millis()).unwrap_or(0);
    seconds(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use bklit_wire::pause::{Pause, Paused};

    use super::*;

    #[test]
    fn an_expired_lease_is_shown() {
        let now = UtcMillis::from_epoch_millis(1_000_000);
        let at = |millis| UtcMillis::from_epoch_millis(millis);
        let batch = |left: i64, owner: Option<&str>| BatchInFlight {
            id: "b\u{1b}[31m".into(),
            owner: owner.map(str::to_owned),
            epoch: 4,
            items: 7,
            attempts: 2,
            claimed_at: Some(at(940_000)),
            lease_until: at(1_000_000 + left),
            lease_left_ms: left,
        };
        let shard = |waiting| ShardView { waiting, in_flight: 7, failed: 0 };
        let view = QueueView {
            at: None,
            waiting: 12,
            in_flight: 14,
            failed: 1,
            spooled: 0,
            paused: Paused {
                workers: Some(Pause {
                    by: "ann@ops".into(),
                    reason: Some("disk\u{1b}[2J".into()),
                    since: at(0),
                }),
                ..Paused::default()
            }
            .into(),
            oldest_waiting: Some(at(400_000)),
            batches: vec![batch(-90_000, Some("a:1")), batch(20_500, None)],
            lapsed: 1,
            more_batches: false,
            shards: [7, 5].map(shard).to_vec(),
        };
        let text = describe(&view, now);
        for part in [
            "the oldest was accepted 10m ago",
            "in 2 batches, 1 with an expired lease",
            "queue list",
            "EXPIRED 1m 30s ago",
            "20s left",
            "1m ago",
            "unknown",
            "workers paused by ann@ops since 1970-01-01T00:00:00.000Z: disk\\u{1b}[2J",
            "queue resume workers",
            "SHARD  WAITING",
            "1      5",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
