//! The Lua scripts. Each is atomic: it is executed completely or, if the server rejects one of its
//! commands, not at all (`scripts/allowed.lua`).
//!
//! Scripts access only the keys passed in `KEYS`, as clusters and other engines require. Where the
//! server decides which batch is meant, the script names the batch and is called again with its keys.

use redis::Script;

/// All scripts of the queue.
pub(super) struct Scripts {
    pub push: Script,
    pub push_once: Script,
    pub settle: Script,
    pub claim: Script,
    pub renew: Script,
    pub acknowledge: Script,
    pub ready_in: Script,
    pub stats: Script,
    pub remove: Script,
    pub replace: Script,
}

/// A script that checks the permission for its commands before it writes.
macro_rules! checked {
    ($file:literal) => {
        Script::new(concat!(include_str!("scripts/allowed.lua"), include_str!($file)))
    };
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            push: checked!("scripts/push.lua"),
            push_once: checked!("scripts/push_once.lua"),
            settle: Script::new(include_str!("scripts/settle.lua")),
            claim: checked!("scripts/claim.lua"),
            renew: Script::new(include_str!("scripts/renew.lua")),
            acknowledge: checked!("scripts/acknowledge.lua"),
            ready_in: Script::new(include_str!("scripts/ready_in.lua")),
            stats: Script::new(include_str!("scripts/stats.lua")),
            remove: checked!("scripts/remove.lua"),
            replace: Script::new(include_str!("scripts/replace.lua")),
        }
    }
}
