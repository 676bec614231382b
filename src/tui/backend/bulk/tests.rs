use std::sync::Mutex;

use async_trait::async_trait;
use bklit_console_core::bulk::{Known, Which};
use bklit_wire::event_lookup::EventTrace;
use bklit_wire::history::{History, HistoryQuery};
use bklit_wire::live_view::LiveView;
use bklit_wire::pause::PauseRequest;
use bklit_wire::queue::{
    BatchView, ChangeError, Edited, EventView, FailedPage, InvalidEdit, QueueView,
};
use bklit_wire::session_lookup::SessionTrace;
use bklit_wire::sql::{SqlAnswer, SqlSchema};
use bklit_wire::time::UtcMillis;
use bklit_wire::who::{WhoQuery, WhoView};

use super::*;

/// Pages of two failed events; each change of a page is answered as the list of answers says.
struct Fake {
    failed: Vec<FailedView>,
    answers: Mutex<Vec<Result<Edited, ChangeError>>>,
}

impl Fake {
    fn answer(&self) -> Result<Edited, ChangeError> {
        self.answers.lock().unwrap().remove(0)
    }
}

#[async_trait]
impl Backend for Fake {
    async fn failed(&self, after: Option<&str>, _: usize) -> Result<FailedPage, String> {
        let start: usize = after.map_or(0, |after| after.parse().unwrap());
        let items: Vec<_> = self.failed.iter().skip(start).take(2).cloned().collect();
        let next = Some(start + 2).filter(|next| *next < self.failed.len());
        Ok(FailedPage { items, next: next.map(|next| next.to_string()) })
    }
    async fn change(&self, _: Change, _: &[String]) -> Result<u64, ChangeError> {
        self.answer().map(|done| done.changed)
    }
    async fn edit(&self, _: &EditRequest) -> Result<Edited, ChangeError> {
        self.answer()
    }
    async fn queue(&self) -> Result<QueueView, String> {
        unreachable!()
    }
    async fn pause(&self, _: &PauseRequest) -> Result<(), String> {
        unreachable!()
    }
    async fn batch(&self, _: &str) -> Result<Option<BatchView>, String> {
        unreachable!()
    }
    async fn event(&self, _: &str) -> Result<EventTrace, String> {
        unreachable!()
    }
    async fn session(&self, _: &str, _: Option<&str>) -> Result<SessionTrace, String> {
        unreachable!()
    }
    async fn live(&self) -> Result<LiveView, String> {
        unreachable!()
    }
    async fn history(&self, _: HistoryQuery) -> Result<History, String> {
        unreachable!()
    }
    async fn sql(&self, _: &str) -> Result<SqlAnswer, String> {
        unreachable!()
    }
    async fn sql_schema(&self) -> Result<SqlSchema, String> {
        unreachable!()
    }
    async fn who(&self, _: WhoQuery) -> Result<WhoView, String> {
        unreachable!()
    }
}

fn failed(id: usize) -> FailedView {
    let event = EventView::default();
    let (failed_at, body) = (Some(UtcMillis::MIN), "{}".to_owned());
    FailedView { id: id.to_string(), event, failed_at, reason: "bad".to_owned(), body }
}

fn done(changed: u64, invalid: usize) -> Edited {
    let invalid_edit = InvalidEdit { id: "x".to_owned(), error: "wrong".to_owned() };
    Edited { changed, invalid: vec![invalid_edit; invalid] }
}

/// The last report about four failed events on two pages.
async fn run(operation: Operation, answers: Vec<Result<Edited, ChangeError>>) -> BulkReport {
    let failed = (0..4).map(failed).collect();
    let backend = Arc::new(Fake { failed, answers: Mutex::new(answers) });
    let dir = tempfile::tempdir().unwrap();
    let mut task = BulkTask::new(Some(backend), dir.path().to_owned());
    let which = Which::With(String::new());
    let known = Known { count: 4, is_exact: true };
    task.begin(Plan { operation, which, known, total: 4, until: Some(UtcMillis::MIN) });
    loop {
        let report = task.next().await;
        if report.end.is_some() {
            return report;
        }
    }
}

#[tokio::test]
async fn what_was_done_before_an_error_is_counted() {
    let partly = |done| Err(ChangeError { done, error: "shard 1: reset".to_owned() });
    let end = Some(End::Failed("shard 1: reset".to_owned()));
    let report = run(Operation::Retry, vec![Ok(done(2, 0)), partly(done(1, 0))]).await;
    let progress = Progress { seen: 4, chosen: 4, done: 3, invalid: 0 };
    assert_eq!(report, BulkReport { progress, end: end.clone() });
    let rule = Operation::Edit("set x = 1".parse().unwrap());
    let report = run(rule, vec![Ok(done(1, 1)), partly(done(1, 1))]).await;
    let progress = Progress { seen: 4, chosen: 4, done: 2, invalid: 2 };
    assert_eq!(report, BulkReport { progress, end });
}
