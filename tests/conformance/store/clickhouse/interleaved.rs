//! In whatever order this program and Bklit's services write to a session, its latest version
//! combines all of it.

use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_pipeline::store::Batch;
use bklit_wire::event::QueuedEvent;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::shared_sessions::{THEIR_SESSIONS, Theirs};
use super::{SESSIONS, process, rows, store};
use crate::support::events::{at, custom, end, view};
use crate::support::servers::{ClickHouse, Database};

/// Cases to run; each is some dozens of statements.
const CASES: u32 = 16;

/// Seconds between two steps: more than the versions that one step writes.
const STEP: i64 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    View,
    Custom,
    End,
    /// Store the events so far as a batch, by this process.
    Flush(bool),
    /// Deliver an earlier batch again.
    Redeliver(usize),
    TheirView,
    TheirEnd,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::View),
        1 => Just(Step::Custom),
        2 => Just(Step::End),
        4 => any::<bool>().prop_map(Step::Flush),
        1 => any::<usize>().prop_map(Step::Redeliver),
        3 => Just(Step::TheirView),
        2 => Just(Step::TheirEnd),
    ];
    proptest::collection::vec(step, 2..12)
}

/// The expected session.
#[derive(Default)]
struct Model {
    /// Time and page.
    views: Vec<(i64, String)>,
    last_activity: i64,
    last_end: Option<i64>,
}

impl Model {
    fn view(&mut self, second: i64, url: &str, is_activity: bool) {
        self.views.push((second, url.to_owned()));
        if is_activity {
            self.last_activity = self.last_activity.max(second);
        }
    }

    /// Entry, exit, bounce, start and end; `None` if it has not started.
    fn expected(&self) -> Option<Vec<Value>> {
        let first = self.views.iter().min()?;
        let last = self.views.iter().max()?;
        let moment = |second: i64| json!(at(second).to_date_time());
        let end = self.last_end.filter(|end| *end >= self.last_activity);
        Some(vec![
            json!(first.1),
            json!(last.1),
            json!(u8::from(self.views.len() == 1)),
            moment(first.0),
            end.map_or(Value::Null, moment),
        ])
    }
}

/// One case.
struct Run<'a> {
    session: String,
    theirs: Theirs<'a>,
    stores: [&'a ClickHouseStore; 2],
    model: Model,
    waiting: Vec<QueuedEvent>,
    batches: Vec<Batch>,
    /// The times at which the other services wrote.
    foreign: Vec<i64>,
}

impl Run<'_> {
    async fn step(&mut self, n: i64, step: Step) {
        let (second, session) = (n * STEP + 1, self.session.clone());
        let (id, url) = (format!("{session}-{n}"), format!("/{n}"));
        match step {
            Step::View => {
                self.model.view(second, &url, true);
                self.waiting.push(view("p", &id, &session, second, &url));
            }
            Step::Custom => {
                self.model.last_activity = self.model.last_activity.max(second);
                self.waiting.push(custom("p", &id, &session, second));
            }
            Step::End => {
                self.model.last_end = self.model.last_end.max(Some(second));
                self.waiting.push(end("p", &id, &session, second));
            }
            Step::Flush(first) => {
                let events = std::mem::take(&mut self.waiting).into();
                let batch = Batch { id, events, is_first_attempt: false };
                process(self.stores[usize::from(first)], &batch).await.unwrap();
                self.batches.push(batch);
            }
            Step::Redeliver(which) if !self.batches.is_empty() => {
                let batch = &self.batches[which % self.batches.len()];
                process(self.stores[which % 2], batch).await.unwrap();
            }
            Step::Redeliver(_) => {}
            Step::TheirView if self.theirs.has(&session) => {
                let is_activity = !self.theirs.has_ended(&session);
                self.theirs.view(&session, second, &url);
                self.foreign.push(at(second).epoch_seconds());
                self.model.view(second, &url, is_activity);
            }
            Step::TheirView => {
                self.theirs.start(&session, second, &url);
                self.foreign.push(at(second).epoch_seconds());
                self.model.view(second, &url, true);
            }
            Step::TheirEnd if self.theirs.has(&session) => {
                self.theirs.end(&session, second);
                self.foreign.push(at(second).epoch_seconds());
                self.model.last_end = self.model.last_end.max(Some(second));
            }
            Step::TheirEnd => {}
        }
    }

    async fn check(&self) -> Result<(), TestCaseError> {
        let session = &self.session;
        let columns = "entry_page, exit_page, did_bounce, started_at, ended_at";
        let latest = format!("SELECT {columns} FROM {SESSIONS} WHERE session_id = '{session}'");
        let expected: Vec<_> = self.model.expected().into_iter().collect();
        prop_assert_eq!(rows(self.stores[0], &latest).await, expected);
        // No version of this program repeats the one before.
        let all = format!(
            "SELECT toUnixTimestamp(updated_at), {columns} FROM tracked_session \
             WHERE session_id = '{session}' ORDER BY updated_at"
        );
        let versions = rows(self.stores[0], &all).await;
        for pair in versions.windows(2) {
            let is_foreign = self.foreign.contains(&pair[1][0].as_i64().unwrap());
            prop_assert!(is_foreign || pair[0][1..] != pair[1][1..], "{:?}", versions);
        }
        Ok(())
    }
}

async fn run(
    database: &Database,
    stores: [&ClickHouseStore; 2],
    n: u32,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    let mut run = Run {
        session: format!("s{n}"),
        theirs: Theirs(database),
        stores,
        model: Model::default(),
        waiting: Vec::new(),
        batches: Vec::new(),
        foreign: Vec::new(),
    };
    let mut second = 0;
    for step in steps {
        second += 1;
        run.step(second, *step).await;
    }
    run.step(second + 1, Step::Flush(true)).await;
    // Only sessions of this program's events are completed, by whatever happens to them next.
    let Some(last) = run.batches.iter().rposition(|batch| !batch.events.is_empty()) else {
        return Ok(());
    };
    run.step(second + 2, Step::Redeliver(2 * run.batches.len() + last)).await;
    run.check().await
}

#[test]
fn the_latest_version_is_what_all_writers_say() {
    let runtime = Runtime::new().unwrap();
    let database = ClickHouse::shared();
    database.query(THEIR_SESSIONS);
    let open = || store(&database.url(), |options| options.database = database.name().to_owned());
    let stores = [open(), open()];
    runtime.block_on(stores[0].migrate(false)).unwrap();
    // The store searches for sessions of other programs once it has seen one that started lately, and
    // these all start at the same time, long ago.
    Theirs(&database).start("first", 1, "/");
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    });
    let number = std::cell::Cell::new(0);
    let result = runner.run(&steps(), |steps| {
        number.set(number.get() + 1);
        runtime.block_on(run(&database, [&stores[0], &stores[1]], number.get(), &steps))
    });
    result.unwrap();
}
