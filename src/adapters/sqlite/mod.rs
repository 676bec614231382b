//! SQLite, the embedded default.
//!
//! | module | contents |
//! | --- | --- |
//! | `figures` | the history of figures, `figures.db` |
//! | `file` | opening a file: settings, migrations, integrity check |
//! | `locks` | finds the process that has locked a file |
//! | `queue` | the queue, `queue.db` |
//! | `store` | the event store, `store.db` |
//! | `tokens` | the token store, `tokens.db` |

pub mod figures;
pub mod file;
mod locks;
pub mod queue;
pub mod store;
pub mod tokens;
