use super::*;

const TIMEOUTS: Timeouts =
    Timeouts { head: Duration::from_secs(10), idle: Duration::from_secs(75) };

fn connection() -> Arc<Connection> {
    Arc::new(Connection::new(&Arc::default(), 0, None))
}

async fn ended_after(connection: &Connection) -> u64 {
    ended_within(connection, TIMEOUTS).await
}

/// Drives a connection that never ends by itself; returns after how many seconds it was ended.
async fn ended_within(connection: &Connection, timeouts: Timeouts) -> u64 {
    let began = Instant::now();
    let never = std::future::pending::<()>();
    let end = drive(never, connection, timeouts, &CancellationToken::new(), |_| {}).await;
    assert_eq!(end, None);
    began.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_client_has_its_time_for_a_head_and_longer_between_requests() {
    let silent = connection();
    assert_eq!(ended_after(&silent).await, 10, "nothing was ever sent");

    let idle = connection();
    drop(idle.begin());
    assert_eq!(ended_after(&idle).await, 75, "no further request");

    let idle = connection();
    let request = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(idle.begin());
    };
    let short = Timeouts { idle: Duration::from_secs(4), ..TIMEOUTS };
    assert_eq!(tokio::join!(ended_within(&idle, short), request).0, 7, "less than for a head");

    // The next head begins 61 s after a response, and does not end.
    let slow = connection();
    drop(slow.begin());
    let head = async {
        tokio::time::sleep(Duration::from_secs(61)).await;
        slow.received();
        tokio::time::sleep(Duration::from_secs(5)).await;
        slow.received();
    };
    assert_eq!(tokio::join!(ended_after(&slow), head).0, 71);

    // A request may take any time.
    let busy = connection();
    let request = async {
        let in_progress = busy.begin();
        tokio::time::sleep(Duration::from_secs(1000)).await;
        drop(in_progress);
    };
    assert_eq!(tokio::join!(ended_after(&busy), request).0, 1075);
}

#[tokio::test(start_paused = true)]
async fn a_connection_makes_room_at_once_or_after_its_request() {
    let waiting = connection();
    assert!(waiting.close(waiting.rank().unwrap()));
    assert_eq!(ended_after(&waiting).await, 0);
    assert_eq!(waiting.rank(), None, "it is chosen once");

    // Its request begins while it is being chosen.
    let busy = connection();
    busy.waiting_since.store(CHOSEN, Relaxed);
    let in_progress = busy.begin();
    assert!(busy.is_closing());
    let request = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(in_progress);
    };
    // Without a poll of the connection nothing notices the end, so the timer does.
    assert!(tokio::join!(ended_after(&busy), request).0 <= 10);
}

#[test]
fn a_connection_is_not_closed_once_its_request_has_begun() {
    let connection = connection();
    let rank = connection.rank().unwrap();
    let _in_progress = connection.begin();
    assert!(!connection.close(rank) && !connection.is_closing());
}
