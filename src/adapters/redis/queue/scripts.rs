//! The scripts: each is one step that happens whole or not at all.

use redis::Script;

/// All scripts of the queue.
pub(super) struct Scripts {
    pub push: Script,
    pub push_once: Script,
    pub settle: Script,
    pub claim: Script,
    pub renew: Script,
    pub acknowledge: Script,
    pub look: Script,
    pub stats: Script,
    pub remove: Script,
    pub batches: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            push: Script::new(include_str!("scripts/push.lua")),
            settle: Script::new(include_str!("scripts/settle.lua")),
            push_once: Script::new(include_str!("scripts/push_once.lua")),
            claim: Script::new(include_str!("scripts/claim.lua")),
            renew: Script::new(include_str!("scripts/renew.lua")),
            acknowledge: Script::new(include_str!("scripts/acknowledge.lua")),
            look: Script::new(include_str!("scripts/look.lua")),
            stats: Script::new(include_str!("scripts/stats.lua")),
            remove: Script::new(include_str!("scripts/remove.lua")),
            batches: Script::new(include_str!("scripts/batches.lua")),
        }
    }
}
