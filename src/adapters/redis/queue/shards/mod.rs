//! Several lists as one queue.
//!
//! Events are spread over the shards by project. Each shard is a list with keys of its own, so that
//! a script needs the keys of only one, and the shards of a cluster are on different nodes.
//!
//! The number of shards can be changed while processes push and claim. It is stored next to the first
//! shard, together with all earlier ones, so workers serve every list that may have events. When it
//! changes, some projects move to another shard, and a client may repeat an event that the earlier
//! shard has accepted. Two copies in two lists are not acceptable, as two workers could store them at
//! the same time. So each change begins an *epoch*, and before an event with a remembered id is added
//! to another shard than in an earlier epoch, it is looked up in the earlier one. That look-up also
//! raises the *fence* of the earlier shard to the new epoch: from then on it refuses such events from
//! processes that still use an earlier layout, which then read the new one. Events with new ids cannot
//! be repeated, so they need neither.
//!
//! | file | contents |
//! | --- | --- |
//! | `layout.rs` | which shard an event goes to, now and in earlier epochs |
//! | `layouts.rs` | reads and changes the stored layout |
//! | `pushes.rs` | pushes to several shards |
//! | `turns.rs` | claims from the shards in turn |
//! | `pages.rs` | pages of all shards' items |

pub(super) mod layout;
pub(super) mod layouts;
pub(super) mod pages;
pub(super) mod pushes;
pub(super) mod turns;
