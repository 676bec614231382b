//! The process: start, shutdown and crash.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::server::{CREATE, Event, PATIENCE, Server, ids, insert};

#[tokio::test]
async fn rows_and_tokens_survive_a_crash() {
    for kind in ["kill_after_commit", "kill_before"] {
        let mut server = Server::start();
        server.client().query(CREATE).execute().await.unwrap();
        insert(&server.client(), "b1", &[Event::new("a")]).await.unwrap();
        server.fault(&format!(r#"{{"match": "INSERT", "kind": "{kind}"}}"#)).await;
        assert!(insert(&server.client(), "b2", &[Event::new("b")]).await.is_err(), "{kind}");
        assert_eq!(end(&mut server).code(), None, "{kind}: ended by a signal");
        server.restart();
        let client = server.client();
        let before = if kind == "kill_before" { vec!["a"] } else { vec!["a", "b"] };
        assert_eq!(ids(&client).await, before, "{kind}");
        for (token, id) in [("b1", "a"), ("b2", "b")] {
            insert(&client, token, &[Event::new(id)]).await.unwrap();
        }
        assert_eq!(ids(&client).await, ["a", "b"], "{kind}");
    }
}

#[tokio::test]
async fn a_crash_among_inserts_loses_nothing_that_was_answered() {
    let mut server = Server::start();
    server.client().query(CREATE).execute().await.unwrap();
    let mut answered = Vec::new();
    for round in 0..3 {
        let client = server.client();
        let inserts = tokio::spawn(async move {
            let mut done = Vec::new();
            for at in 0.. {
                let id = format!("{round}-{at:05}");
                if insert(&client, &id, &[Event::new(id.as_str())]).await.is_err() {
                    break;
                }
                done.push(id);
            }
            done
        });
        let deadline = Instant::now() + PATIENCE;
        let prefix = format!("{round}-00009");
        while !ids(&server.client()).await.contains(&prefix) {
            assert!(Instant::now() < deadline, "the inserts don't get on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.restart();
        answered.extend(inserts.await.unwrap());
    }
    let client = server.client();
    for id in &answered {
        // Again, like a worker that did not receive the response.
        insert(&client, id, &[Event::new(id.as_str())]).await.unwrap();
    }
    let mut stored = ids(&client).await;
    // At most the one interrupted insert of each round is stored without a response.
    assert!(stored.len() <= answered.len() + 3, "{} and {}", stored.len(), answered.len());
    stored.retain(|id| answered.contains(id));
    assert_eq!(stored, answered);
}

#[tokio::test]
async fn sigterm_waits_for_running_statements() {
    let mut server = Server::start();
    let client = server.client();
    let running =
        tokio::spawn(async move { client.query("SELECT sleep(3)").fetch_one::<u8>().await });
    let deadline = Instant::now() + PATIENCE;
    let busy = "SELECT count() FROM system.processes WHERE query LIKE '%sleep(3)%'";
    while server.client().query(busy).fetch_one::<u64>().await.unwrap() < 2 {
        assert!(Instant::now() < deadline, "the query does not start");
    }
    let pid = Pid::from_raw(i32::try_from(server.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(end(&mut server).success());
    drop(running);
}

#[test]
fn it_ends_with_its_standard_input_and_removes_temporary_data() {
    let mut server = Server::with(&["--temporary"]);
    drop(server.child.stdin.take());
    assert!(end(&mut server).success());
    assert!(!server.dir.path().exists());
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let server = Server::start();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_clickhouse-front"))
        .arg("--path")
        .arg(server.dir.path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("is another process using it?"), "{said}");
}

fn end(server: &mut Server) -> std::process::ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the process does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}
