//! The location database: a file in the MMDB format, kept in memory and read again when it changes.

use std::fs::{self, Metadata};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use tokio_util::sync::CancellationToken;

use super::location::Location;
use super::record;
use bklit_net::log_throttle::LogThrottle;
use bklit_wire::debug_log::Stage;
use bklit_wire::duration::seconds;
use bklit_wire::time::UtcMillis;

use crate::telemetry::{Data, Telemetry};

/// How often the file is checked for changes. A changed file is read once two checks have seen it
/// unchanged: it may still be in the process of being written.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// The largest file that is read: all of it is kept in memory, twice while it is replaced.
const MAX_BYTES: u64 = 2 << 30;
/// Addresses looked up in a new file to find out whether it is intact.
const SAMPLES: u32 = 1024;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// It is a directory or a device.
    #[error("not a file")]
    NotAFile,
    /// It is too large.
    #[error("larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// It is not an intact MMDB file.
    #[error("not an intact MMDB file: {0}")]
    Broken(#[from] MaxMindDbError),
    /// It is intact, but has other data than locations.
    #[error("{0} is not a database of countries or cities")]
    NoLocations(String),
}

/// What is known about a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edition {
    /// Its type, such as `GeoLite2-City`.
    pub name: String,
    /// When it was built.
    pub built: UtcMillis,
}

/// A file at one time: a change of its contents changes this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), bytes: metadata.len(), modified }
    }
}

/// The outcome of a check of the file.
#[derive(Debug)]
pub enum Check {
    /// Nothing has changed, or a change may be incomplete.
    Same,
    /// A new file is in use.
    Loaded(Edition),
    /// The file cannot be used; the last good one still is.
    Failed(DatabaseError),
}

/// The database at a path.
pub struct LocationDatabase {
    path: PathBuf,
    reader: RwLock<Option<Arc<Reader<Vec<u8>>>>>,
    failing: LogThrottle,
}

/// What the checks of a file have seen.
#[derive(Default)]
pub struct Seen {
    /// At the last check; `None` if there was no file, or at first.
    last: Option<Stamp>,
    /// The file that was read last, whether it could be used or not.
    read: Option<Stamp>,
    is_first_past: bool,
}

impl Seen {
    fn without_file() -> Self {
        Self { is_first_past: true, ..Self::default() }
    }
}

impl LocationDatabase {
    /// A database that is empty until its file is read by [`Self::check`].
    pub fn new(path: PathBuf) -> Self {
        Self { path, reader: RwLock::default(), failing: LogThrottle::default() }
    }

    /// Reads the file if it has changed. The first check reads it at once. Blocks.
    pub fn check(&self, seen: &mut Seen) -> Check {
        let is_first = !std::mem::replace(&mut seen.is_first_past, true);
        let stamp = match fs::metadata(&self.path) {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) => {
                *seen = Seen::without_file();
                return Check::Failed(error.into());
            }
        };
        let is_stable = is_first || seen.last == Some(stamp);
        seen.last = Some(stamp);
        if !is_stable || seen.read == Some(stamp) {
            return Check::Same;
        }
        seen.read = Some(stamp);
        match open(&self.path) {
            Ok((reader, edition)) => {
                let mut current = self.reader.write().unwrap_or_else(PoisonError::into_inner);
                *current = Some(Arc::new(reader));
                Check::Loaded(edition)
            }
            Err(error) => Check::Failed(error),
        }
    }

    /// Whether there is a good file in memory.
    pub fn is_loaded(&self) -> bool {
        self.reader.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The location of an address; empty if it is not in the database.
    pub(super) fn lookup(&self, ip: IpAddr) -> Location {
        let reader = self.reader.read().unwrap_or_else(PoisonError::into_inner).clone();
        let found = reader.as_deref().and_then(|reader| {
            // A damaged record counts as none.
            record::read(&reader.lookup(ip).ok()?).ok()
        });
        found.unwrap_or_default()
    }

    /// Watches the file until `stop`, continuing after the check that `seen` is from, and reports
    /// in the program's log and in the debug log while it cannot be used.
    pub async fn watch(
        self: Arc<Self>,
        mut seen: Seen,
        log: Arc<Telemetry>,
        stop: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(CHECK_EVERY);
        ticks.reset();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let database = Arc::clone(&self);
            let checked = tokio::task::spawn_blocking(move || {
                let check = database.check(&mut seen);
                (check, seen)
            });
            match checked.await {
                Ok((check, after)) => {
                    seen = after;
                    self.report(&check, &log);
                }
                Err(error) => {
                    tracing::error!(%error, "cannot check the location database");
                    seen = Seen::without_file();
                }
            }
        }
    }

    /// Reports the outcome of a check.
    pub fn report(&self, check: &Check, log: &Telemetry) {
        let path = self.path.display();
        match check {
            Check::Same => {}
            Check::Loaded(Edition { name, built }) => {
                self.failing.recovered();
                let built = built.to_date_time();
                tracing::info!(%path, database = name, built, "location database loaded");
            }
            Check::Failed(error) => {
                let Some(lasting) = self.failing.failure().map(seconds) else { return };
                let used = if self.is_loaded() { "the last good file" } else { "none" };
                tracing::warn!(
                    %path, %error, lasting, used,
                    "the location database cannot be used; it is read again once it changes"
                );
                log.step(Stage::Ingestion).uncounted().warn("Location database not usable", || {
                    Data::from_iter([
                        ("error".to_owned(), error.to_string().into()),
                        ("used".to_owned(), used.into()),
                    ])
                });
            }
        }
    }
}

/// Examines a file, as `doctor` does. Blocks.
///
/// # Errors
/// Why it cannot be used.
pub fn examine(path: &Path) -> Result<Edition, DatabaseError> {
    open(path).map(|(_, edition)| edition)
}

fn open(path: &Path) -> Result<(Reader<Vec<u8>>, Edition), DatabaseError> {
    let metadata = fs::metadata(path)?;
    // Reading a pipe would wait forever.
    if !metadata.is_file() {
        return Err(DatabaseError::NotAFile);
    }
    if metadata.len() > MAX_BYTES {
        return Err(DatabaseError::TooLarge);
    }
    let reader = Reader::from_source(fs::read(path)?)?;
    sample(&reader)?;
    let about = reader.metadata();
    let built = i64::try_from(about.build_epoch.saturating_mul(1000)).unwrap_or(i64::MAX);
    let edition =
        Edition { name: about.database_type.clone(), built: UtcMillis::from_epoch_millis(built) };
    Ok((reader, edition))
}

/// Looks up addresses from all over the file. A file that was overwritten halfway has a good end, with
/// which it can be opened, and pointers that lead nowhere.
fn sample(reader: &Reader<Vec<u8>>) -> Result<(), DatabaseError> {
    let first = reader.networks(WithinOptions::default())?.take(SAMPLES as usize);
    let spread = (0..SAMPLES).map(|at| {
        let bits = at * (u32::MAX / SAMPLES) + 1;
        reader.lookup(Ipv4Addr::from_bits(bits).into())
    });
    let (mut records, mut located) = (0, 0);
    for found in first.chain(spread) {
        let found = found?;
        if found.has_data() {
            records += 1;
            located += u32::from(record::read(&found)? != Location::default());
        }
    }
    if records > 0 && located == 0 {
        return Err(DatabaseError::NoLocations(reader.metadata().database_type.clone()));
    }
    Ok(())
}
