//! Runs a query in a session of its own.

use std::io::Write;
use std::os::fd::AsRawFd;

use rustix::fs::MemfdFlags;

use crate::engine::{Answer, Engine, Session};
use crate::exception::Exception;
use crate::request::Query;
use crate::sql::{Statement, analyse};

/// Runs `query`. Blocks until it is done.
pub fn execute(engine: &Engine, query: &Query) -> Result<Answer, Exception> {
    let mut session = engine.session().map_err(Exception::from_engine)?;
    if let Some(database) = &query.database {
        run(&mut session, format!("USE {}", identifier(database)).as_bytes(), "Null")?;
    }
    if let Some(set) = settings(query)? {
        run(&mut session, set.as_bytes(), "Null")?;
    }
    match analyse(&query.sql) {
        Statement::Plain(sql) => run(&mut session, sql, &query.format),
        Statement::Insert { head, tail, data } => insert(&mut session, head, tail, data),
        Statement::Empty => Err(Exception::new(62, "Empty query. (SYNTAX_ERROR)")),
        Statement::IntoFile => {
            Err(Exception::new(358, "INTO OUTFILE is not allowed. (INTO_OUTFILE_NOT_ALLOWED)"))
        }
        Statement::Several => Err(Exception::new(
            62,
            "Syntax error (Multi-statements are not allowed): one statement a request. (SYNTAX_ERROR)",
        )),
    }
}

/// The statement without its data, for the log and for faults to match.
pub fn text(query: &Query) -> String {
    /// Longer than any of our statements.
    const LONGEST: usize = 16 * 1024;
    let sql = match analyse(&query.sql) {
        Statement::Insert { head, tail, .. } => [head, tail].concat(),
        _ => query.sql[..query.sql.len().min(LONGEST)].to_vec(),
    };
    String::from_utf8_lossy(&sql).into_owned()
}

fn insert(
    session: &mut Session<'_>,
    head: &[u8],
    tail: &[u8],
    data: &[u8],
) -> Result<Answer, Exception> {
    let failed = |error: std::io::Error| Exception::new(74, &format!("the insert's data: {error}"));
    let memory = rustix::fs::memfd_create("insert", MemfdFlags::CLOEXEC)
        .map_err(|error| failed(error.into()))?;
    let mut file = std::fs::File::from(memory);
    file.write_all(data).map_err(failed)?;
    let source = format!(" FROM INFILE '/proc/self/fd/{}' ", file.as_raw_fd());
    run(session, &[head, source.as_bytes(), tail].concat(), "Null")
}

fn run(session: &mut Session<'_>, sql: &[u8], format: &str) -> Result<Answer, Exception> {
    session.run(sql, format).map_err(Exception::from_engine)
}

fn settings(query: &Query) -> Result<Option<String>, Exception> {
    let mut all = Vec::new();
    for (name, value) in &query.settings {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(valid) {
            return Err(Exception::new(
                115,
                &format!("Unknown setting '{name}'. (UNKNOWN_SETTING)"),
            ));
        }
        let value = value.replace('\\', "\\\\").replace('\'', "\\'");
        all.push(format!("{name} = '{value}'"));
    }
    if query.read_only && query.setting("readonly").is_none() {
        all.push("readonly = 2".into());
    }
    Ok((!all.is_empty()).then(|| format!("SET {}", all.join(", "))))
}

fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}
