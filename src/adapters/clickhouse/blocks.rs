//! Inserts rows of the shared tables as blocks.
//!
//! A block is normally one insert. It is divided if it has more partitions than the server accepts
//! at once, and repeated without its materialized views if one of them fails on its rows: a view
//! must neither stop good events nor make the worker treat a stored one as failed. Its absence from
//! the view is reported instead. The repetition has the same token, so the server stores the rows
//! once, and the views that work receive them once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::ClickHouseStore;
use super::connection::Insertion;
use super::errors::InsertError;
use super::native::Block;
use super::settings::IGNORE_VIEWS;
use super::table_schema::TableSchema;
use bklit_pipeline::store::schema::Table;
use bklit_wire::time::UtcMillis;

/// Notes that are kept until the next batch is stored; further ones are dropped.
const NOTES: usize = 100;

/// How many blocks of unknown outcome are remembered: many more than there are batches in progress.
const IN_DOUBT: usize = 128;

/// How long after an attempt a block may be sent again as it was: longer than the worker pauses
/// between attempts, and shorter than a lease. After that, another worker may have had the batch and
/// stored its events with other tokens.
const IN_DOUBT_FOR: Duration = Duration::from_secs(25);

/// Something that is stored as a row.
pub(super) trait Record {
    /// The time that determines its partition.
    fn moment(&self) -> UtcMillis;

    /// Adds its row.
    ///
    /// # Errors
    /// Which value its column cannot store, and why.
    fn write(&self, block: &mut Block<'_>) -> Result<(), String>;
}

/// Where rows go.
pub(super) struct Target {
    pub(super) table: &'static Table,
    /// Identifies the rows, for those of [`Origin::Derived`] together with a digest of them.
    pub(super) token: String,
    pub(super) origin: Origin,
    pub(super) views: Views,
}

/// Where rows come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Origin {
    /// They are events. A required value that its column cannot store is an error.
    Events,
    /// This program derived them from events. A value that its column cannot store is left out.
    Derived,
}

/// What to do about materialized views that fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Views {
    /// They receive the rows, unless they fail because of them.
    Served,
    /// They may miss the rows.
    Ignored,
}

/// Inserts rows.
pub(super) async fn insert<R: Record>(
    store: &ClickHouseStore,
    target: &Target,
    rows: &[R],
) -> Result<(), InsertError> {
    let schema = store.schemas.of(&store.connection, target.table).await?;
    let mut pieces = vec![(target.token.clone(), rows.iter().collect::<Vec<_>>())];
    while let Some((token, mut rows)) = pieces.pop() {
        match insert_block(store, &schema, target, &token, &rows).await {
            Ok(()) => {}
            Err(InsertError::Partitions(_)) if rows.len() > 1 => {
                rows.sort_by_key(|row| row.moment());
                let later = rows.split_off(rows.len() / 2);
                pieces.push((format!("{token}.1"), later));
                pieces.push((format!("{token}.0"), rows));
            }
            Err(error) => return Err(unless_altered(store, target.table, &schema, error).await?),
        }
    }
    Ok(())
}

async fn insert_block<R: Record>(
    store: &ClickHouseStore,
    schema: &TableSchema,
    target: &Target,
    token: &str,
    rows: &[&R],
) -> Result<(), InsertError> {
    let is_derived = target.origin == Origin::Derived;
    let mut block = Block::new(schema, !is_derived);
    for row in rows {
        row.write(&mut block).map_err(InsertError::Rows)?;
    }
    let table = target.table.name;
    let into = format!("{table} ({}) FORMAT Native", schema.column_list());
    let mut settings = Vec::new();
    if block.has_defaults() {
        settings.push(("input_format_null_as_default", "1".to_owned()));
    }
    if target.views == Views::Ignored {
        settings.push((IGNORE_VIEWS, "1".to_owned()));
    }
    let dropped: Vec<_> = block.dropped().collect();
    let rows_sent = rows.len();
    let rows = block.finish();
    let token = if is_derived { with_digest(token, &rows) } else { token.to_owned() };
    let mut insertion = Insertion { into: &into, token: Some(&token), rows, settings };
    match store.connection.insert(&insertion).await {
        Err(InsertError::View(reason)) if schema.remembers_tokens || is_derived => {
            insertion.settings.push((IGNORE_VIEWS, "1".to_owned()));
            store.connection.insert(&insertion).await?;
            store.notes.add(lacking(table, rows_sent, &reason));
        }
        result => result?,
    }
    dropped.into_iter().for_each(|what| store.notes.add(format!("{table}: {what}")));
    Ok(())
}

/// A token that identifies these rows.
pub(super) fn with_digest(token: &str, rows: &[u8]) -> String {
    format!("{token}:{}", HEXLOWER.encode(&Sha256::digest(rows)[..16]))
}

/// That a view lacks rows.
pub(super) fn lacking(table: &str, rows: usize, reason: &str) -> String {
    format!("{rows} rows of {table} are stored, but missing from a materialized view: {reason}")
}

/// Treats a refused insert as temporary if the table was altered since its schema was read:
/// then the rows are not at fault.
async fn unless_altered(
    store: &ClickHouseStore,
    table: &'static Table,
    schema: &TableSchema,
    error: InsertError,
) -> Result<InsertError, InsertError> {
    store.schemas.forget(table);
    if let InsertError::Rows(reason) = &error
        && *store.schemas.of(&store.connection, table).await? != *schema
    {
        let reason = format!("{} has been altered: {reason}", table.name);
        return Ok(InsertError::Unavailable(reason));
    }
    Ok(error)
}

/// What should be reported about rows that were stored.
#[derive(Default)]
pub(super) struct Notes(Mutex<Vec<String>>);

impl Notes {
    pub(super) fn add(&self, note: String) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < NOTES {
            notes.push(note);
        }
    }

    /// The notes since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Blocks that were sent and have to be sent again as they were, because only their tokens show
/// whether the server has stored them. Looking for their rows does not: the server may still be
/// inserting them, which would be repeated if what is missing were divided anew; a replica may not
/// have them yet; and a materialized view may lack what the table has.
#[derive(Default)]
pub(super) struct InDoubt(Mutex<VecDeque<(String, Sent, Instant)>>);

/// A block that was sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    /// The positions of its events in their group; `None` if they are all.
    pub(super) positions: Option<Vec<usize>>,
    /// Which attempt at the block it was.
    pub(super) generation: u32,
}

/// A block that is being sent. Its outcome is in doubt if this is dropped, unless it is resolved.
pub(super) struct Sending<'b> {
    blocks: &'b InDoubt,
    key: &'b str,
    sent: Option<Sent>,
}

impl Sending<'_> {
    pub(super) fn resolve(mut self) {
        self.sent = None;
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.blocks.put(self.key, sent);
        }
    }
}

impl InDoubt {
    /// Starts sending a block, which the key identifies.
    pub(super) fn sending<'b>(&'b self, key: &'b str, sent: Sent) -> Sending<'b> {
        Sending { blocks: self, key, sent: Some(sent) }
    }

    fn put(&self, key: &str, sent: Sent) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.retain(|(known, ..)| known != key);
        if blocks.len() == IN_DOUBT {
            blocks.pop_front();
        }
        blocks.push_back((key.to_owned(), sent, Instant::now()));
    }

    /// Removes a block, and returns it if its attempt ended recently.
    pub(super) fn take(&self, key: &str) -> Option<Sent> {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = blocks.iter().position(|(known, ..)| known == key)?;
        let (_, sent, since) = blocks.remove(place)?;
        (since.elapsed() < IN_DOUBT_FOR).then_some(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn notes_and_blocks_in_doubt_are_bounded() {
        let notes = Notes::default();
        (0..2 * NOTES).for_each(|n| notes.add(n.to_string()));
        assert_eq!(notes.take().len(), NOTES);
        assert!(notes.take().is_empty());
        let blocks = InDoubt::default();
        let sent = |generation| Sent { positions: Some(vec![1]), generation };
        for n in 0..=IN_DOUBT as u32 {
            blocks.put(&n.to_string(), sent(n));
        }
        assert_eq!(blocks.take("0"), None);
        blocks.put("1", sent(7));
        assert_eq!(blocks.take("1"), Some(sent(7)));
        assert_eq!(blocks.take("1"), None);
        blocks.sending("1", sent(8)).resolve();
        assert_eq!(blocks.take("1"), None);
        drop(blocks.sending("1", sent(8)));
        tokio::time::advance(IN_DOUBT_FOR).await;
        assert_eq!(blocks.take("1"), None, "it is too old");
    }
}
