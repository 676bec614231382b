//! Everything that crosses between processes, or between the pipeline and the console, and text
//! helpers that every part needs. Does no I/O. Formats that other programs rely on are documented
//! at the type.
//!
//! - `backend`: the port for what a console can query and change
//! - `debug_bus`: the port for debug lines and gauges
//! - `debug_log`: debug lines
//! - `diagnostic`: results of `doctor`'s checks
//! - `duration`: durations as text, `90s`
//! - `edit_rule`: rules that edit events
//! - `event`: the event in each of its forms
//! - `event_lookup`: the JSON of `GET /api/event`
//! - `gauges`: the gauges of a process
//! - `history`: the JSON of `GET /api/history`
//! - `js_date`: dates as JavaScript writes them
//! - `json`: repairs JSON text of other programs; the fields of an object
//! - `json_text`: JSON as text for people and back
//! - `lenient`: converts values to the types of their fields
//! - `live_view`: the JSON of `GET /api/live`
//! - `numbers`: numbers formatted for people
//! - `object`: a JSON object that is passed on as it was sent
//! - `queue`: the JSON of `/api/queue…`
//! - `reason`: chains of causes in a given space
//! - `refused`: the JSON of `GET /api/refused`
//! - `session`: the key of a visitor's session
//! - `session_lookup`: the JSON of `GET /api/session`
//! - `setting`: deserialises settings
//! - `sql`: the JSON of `/api/sql…`, and results of queries as text
//! - `suggestion`: what a mistyped name was probably meant to be
//! - `table`: text tables for a terminal
//! - `text`: untrusted text made safe for terminals
//! - `time`: timestamps
//! - `verification`: messages of dual-write verification
//! - `who`: the JSON of `GET /api/who`

pub mod backend;
pub mod debug_bus;
pub mod debug_log;
pub mod diagnostic;
pub mod duration;
pub mod edit_rule;
pub mod event;
pub mod event_lookup;
pub mod gauges;
pub mod history;
mod js_date;
pub mod json;
pub mod json_text;
pub mod lenient;
pub mod live_view;
pub mod numbers;
pub mod object;
pub mod pause;
pub mod queue;
pub mod reason;
pub mod refused;
pub mod session;
pub mod session_lookup;
pub mod setting;
pub mod sql;
pub mod suggestion;
pub mod table;
pub mod text;
pub mod time;
pub mod verification;
pub mod who;
