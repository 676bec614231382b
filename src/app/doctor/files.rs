//! Checks of the data dir and of the files in it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{statfs, statvfs};

use crate::app::adapters::{FIGURES_FILE, QUEUE_FILE, STORE_FILE, TOKEN_FILE};
use crate::app::data_dir::{LOCK_FILE, LOST_QUEUE, has_lost_queue};
use crate::config::Settings;
use bklit_adapters::sqlite::file;
use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::numbers::disk_space;

/// Free space below which to warn, and below which events will soon be refused.
const LITTLE_BYTES: u64 = 1 << 30;
const TOO_LITTLE_BYTES: u64 = 100 << 20;

/// Network file systems, on which SQLite's locks may not work: NFS, and SMB in two versions.
const REMOTE: [u32; 3] = [0x6969, 0xff53_4d42, 0xfe53_4d42];

/// Checks the data dir without lasting changes. `longest` bounds the check of each file.
pub(super) async fn examine(settings: &Settings, longest: Duration) -> Vec<Diagnostic> {
    let dir = settings.data_dir.clone();
    if !dir.exists() {
        let what = format!("{} does not exist yet; the first start creates it", dir.display());
        return vec![Diagnostic::good(what)];
    }
    let mut findings = vec![permissions(&dir), writable(&dir)];
    findings.extend(space(&dir));
    findings.push(match running(&dir) {
        Some(process) => Diagnostic::good(format!("process {process} runs on {}", dir.display())),
        None => Diagnostic::good(format!("no pipeline runs on {}", dir.display())),
    });
    let files = [
        Some(QUEUE_FILE),
        settings.clickhouse_url.is_none().then_some(STORE_FILE),
        settings.redis_url.is_none().then_some(TOKEN_FILE),
        Some(FIGURES_FILE),
    ];
    let files: Vec<PathBuf> = files.into_iter().flatten().map(|name| dir.join(name)).collect();
    let queue = files[0].clone();
    let checks = files
        .into_iter()
        .filter(|path| path.exists())
        .map(|path| tokio::task::spawn_blocking(move || file::check(&path, longest)));
    let checks: Vec<_> = checks.collect();
    for check in checks {
        findings.push(match check.await {
            Ok(finding) => finding,
            Err(error) => Diagnostic::problem(format!("cannot check a file: {error}"), ""),
        });
    }
    if has_lost_queue(&dir) {
        let what = format!("{QUEUE_FILE} {LOST_QUEUE}");
        findings.push(Diagnostic::warning(
            what,
            "restore it from a backup before the next start; stored events are not stored again",
        ));
    }
    let intact = findings.iter().all(|finding| finding.advice != file::DAMAGED);
    if queue.exists() && intact {
        let counted =
            tokio::task::spawn_blocking(move || bklit_adapters::sqlite::queue::count(&queue)).await;
        let counted = match counted {
            Ok(counted) => counted.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        findings.extend(waiting(settings, counted));
    }
    findings
}

/// Events in the queue file: the queue itself or, with Redis, its spool.
fn waiting(settings: &Settings, counted: Result<(u64, u64), String>) -> Vec<Diagnostic> {
    let (waiting, failed) = match counted {
        Ok(counted) => counted,
        Err(error) => {
            let what = format!("cannot count the events in {QUEUE_FILE}: {error}");
            return vec![Diagnostic::warning(
                what,
                "try again; another process may have locked it",
            )];
        }
    };
    if settings.redis_url.is_none() {
        let bounds = &settings.queue;
        return Diagnostic::of_queue(waiting, bounds.alarm_depth, failed, bounds.max_failed);
    }
    let mut findings = Vec::new();
    if failed > 0 {
        findings.push(Diagnostic::warning(
            format!("events that failed before they reached Redis, in {QUEUE_FILE}: {failed}"),
            "`bklit-tui queue list` shows them with ids that start with spool:, and `bklit-tui queue \
             retry|export|delete` accepts these ids",
        ));
    }
    findings.push(match waiting {
        0 => Diagnostic::good("no events are waiting for Redis"),
        _ => Diagnostic::warning(
            format!("events waiting in the data dir for Redis: {waiting}"),
            "a running pipeline moves them when Redis accepts them; see its log",
        ),
    });
    findings
}

fn permissions(dir: &Path) -> Diagnostic {
    let Ok(metadata) = fs::metadata(dir) else {
        return Diagnostic::problem(
            format!("{} cannot be read", dir.display()),
            "check its owner and mode",
        );
    };
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_dir() {
        let what = format!("{} is not a directory", dir.display());
        return Diagnostic::problem(what, "choose another with --data-dir");
    }
    if mode & 0o077 != 0 {
        let what = format!("other users can read {} (mode {mode:o})", dir.display());
        return Diagnostic::warning(what, format!("chmod 700 {}", dir.display()));
    }
    Diagnostic::good(format!("{} is private (mode {mode:o})", dir.display()))
}

fn writable(dir: &Path) -> Diagnostic {
    let probe = dir.join(format!("doctor.{}", std::process::id()));
    let tried = fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    let _ = fs::remove_file(&probe);
    match tried {
        Ok(_) => Diagnostic::good("the data dir is writable"),
        Err(error) => Diagnostic::problem(
            format!("the data dir is not writable: {error}"),
            match error.kind() {
                ErrorKind::ReadOnlyFilesystem => {
                    "remount its file system writable, or choose another directory with --data-dir"
                }
                _ => {
                    "change its owner to the user who runs the pipeline, or choose another with \
                     --data-dir"
                }
            },
        ),
    }
}

fn space(dir: &Path) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    if let Ok(disk) = statvfs(dir) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let what = format!("{} free on its disk", disk_space(free));
        findings.push(match free {
            ..TOO_LITTLE_BYTES => Diagnostic::problem(what, "free disk space"),
            TOO_LITTLE_BYTES..LITTLE_BYTES => Diagnostic::warning(what, "free disk space"),
            _ => Diagnostic::good(what),
        });
    }
    let kind = statfs(dir).map(|system| system.f_type as u32);
    if kind.is_ok_and(|kind| REMOTE.contains(&kind)) {
        findings.push(Diagnostic::warning(
            "the data dir is on a network file system, where locks and syncs may not work",
            "use a local disk: --data-dir",
        ));
    }
    findings
}

/// The process id of the pipeline that runs on the data dir. It does not take the lock, not even
/// briefly: a pipeline may be starting.
pub(super) fn running(dir: &Path) -> Option<u32> {
    let lock = dir.join(LOCK_FILE);
    let process: u32 = fs::read_to_string(&lock).ok()?.trim().parse().ok()?;
    let inode = fs::metadata(&lock).ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // "1: FLOCK  ADVISORY  WRITE 4711 fe:00:262145 0 EOF"
    let holds = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, owner, file, ..] = fields.as_slice() else { return false };
        file.rsplit(':').next() == Some(&inode) && owner.parse() == Ok(process)
    };
    locks.lines().any(holds).then_some(process)
}
