//! Implementations of the pipeline's ports, one folder per engine. Only the composition root names
//! concrete adapters.
//!
//! | folder | queue | store, baseline | tokens | buses | presence | definitions |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | `local/` | | | | in this process | | the tracking id |
//! | `sqlite/` | `queue.db` | `store.db` | `tokens.db` | | | |
//! | `redis/` | a list | | a hash | pub/sub, a stream | sorted sets | |
//! | `clickhouse/` | | Bklit's tables | | | | |
//! | `postgres/` | | | Bklit's tables | | | Bklit's table |

pub mod clickhouse;
pub mod local;
pub mod postgres;
pub mod redis;
pub mod sqlite;
