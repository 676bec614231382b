//! The scripts: each is one step that happens whole or not at all.

use redis::Script;

/// All scripts of the queue.
pub(super) struct Scripts {
    pub push_once: Script,
    pub claim: Script,
    pub renew: Script,
    pub annotate: Script,
    pub acknowledge: Script,
    pub look: Script,
    pub stats: Script,
    pub note_run: Script,
    pub retry_failed: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            push_once: Script::new(include_str!("scripts/push_once.lua")),
            claim: Script::new(include_str!("scripts/claim.lua")),
            renew: Script::new(include_str!("scripts/renew.lua")),
            annotate: Script::new(include_str!("scripts/annotate.lua")),
            acknowledge: Script::new(include_str!("scripts/acknowledge.lua")),
            look: Script::new(include_str!("scripts/look.lua")),
            stats: Script::new(include_str!("scripts/stats.lua")),
            note_run: Script::new(include_str!("scripts/note_run.lua")),
            retry_failed: Script::new(include_str!("scripts/retry_failed.lua")),
        }
    }
}
