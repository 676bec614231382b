//! The engine: `libchdb.so`, opened at run time. All unsafe code is here.
//!
//! One process opens one data directory; within it, every connection is a separate session with its
//! own settings and database, and connections work in parallel. Each request gets a new one, which
//! costs less than a millisecond, so that no setting outlives its request.

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use libloading::Library;

/// What the library returns for a connection: a pointer to the pointer that it takes.
type Handle = *mut Connection;
type Connection = *mut std::ffi::c_void;
type Outcome = *mut std::ffi::c_void;

/// The functions of the library that are used here. Copied out of the library, which
/// is never closed.
#[derive(Clone, Copy)]
struct Functions {
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> Handle,
    close: unsafe extern "C" fn(Handle),
    query: unsafe extern "C" fn(Connection, *const u8, usize, *const u8, usize) -> Outcome,
    free: unsafe extern "C" fn(Outcome),
    buffer: unsafe extern "C" fn(Outcome) -> *const u8,
    length: unsafe extern "C" fn(Outcome) -> usize,
    error: unsafe extern "C" fn(Outcome) -> *const c_char,
    rows_read: unsafe extern "C" fn(Outcome) -> u64,
    bytes_read: unsafe extern "C" fn(Outcome) -> u64,
    rows_written: unsafe extern "C" fn(Outcome) -> u64,
    bytes_written: unsafe extern "C" fn(Outcome) -> u64,
}

/// The engine over one data directory.
pub struct Engine {
    functions: Functions,
    arguments: Vec<CString>,
    /// Opening and closing are done one at a time; queries are not.
    opening: Mutex<()>,
    /// Keeps the engine alive while no request has a session.
    base: Handle,
}

// SAFETY: the library's connections may be used from any thread; `base` is only
// opened and closed here, under `opening` or with exclusive access.
unsafe impl Send for Engine {}
// SAFETY: as above; sessions share no connection.
unsafe impl Sync for Engine {}

/// The result of a statement.
#[derive(Debug, Default)]
pub struct Answer {
    pub body: Vec<u8>,
    pub rows_read: u64,
    pub bytes_read: u64,
    pub rows_written: u64,
    pub bytes_written: u64,
}

impl Engine {
    /// Loads the library and opens `path`.
    pub fn open(library: &Path, path: &Path) -> Result<Self, String> {
        let functions = load(library)?;
        let path = path.to_str().ok_or("the data directory's name is not UTF-8")?;
        let arguments = ["clickhouse".to_owned(), format!("--path={path}")]
            .into_iter()
            .map(|argument| CString::new(argument).map_err(|error| error.to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut engine =
            Engine { functions, arguments, opening: Mutex::new(()), base: std::ptr::null_mut() };
        engine.base = engine.connect()?;
        Ok(engine)
    }

    /// A fresh session.
    pub fn session(&self) -> Result<Session<'_>, String> {
        Ok(Session { engine: self, handle: self.connect()? })
    }

    fn connect(&self) -> Result<Handle, String> {
        let _guard = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let mut arguments: Vec<_> =
            self.arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(arguments.len()).map_err(|error| error.to_string())?;
        // SAFETY: `arguments` holds `count` valid C strings for the time of the call;
        // the library copies them.
        let handle = unsafe { (self.functions.connect)(count, arguments.as_mut_ptr()) };
        // SAFETY: a handle that is not null points to the connection.
        if handle.is_null() || unsafe { *handle }.is_null() {
            return Err(
                "the engine could not open its data directory; is another process using it?".into(),
            );
        }
        Ok(handle)
    }

    fn close(&self, handle: Handle) {
        let _guard = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: every handle comes from `connect` and is closed once, by its owner.
        unsafe { (self.functions.close)(handle) };
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.base.is_null() {
            self.close(self.base);
        }
    }
}

/// A connection with its own settings and its own current database.
pub struct Session<'a> {
    engine: &'a Engine,
    handle: Handle,
}

impl Session<'_> {
    /// Runs one statement; the error is ClickHouse's own text.
    pub fn run(&mut self, sql: &[u8], format: &str) -> Result<Answer, String> {
        let functions = &self.engine.functions;
        // SAFETY: the handle is open, this session is its only user (`&mut`), and both
        // texts are given with their lengths.
        let outcome = unsafe {
            (functions.query)(*self.handle, sql.as_ptr(), sql.len(), format.as_ptr(), format.len())
        };
        if outcome.is_null() {
            return Err("the engine gave no result".into());
        }
        // SAFETY: `outcome` is a result that was not freed yet.
        let answer = unsafe { read(functions, outcome) };
        // SAFETY: freed once; everything was copied out of it.
        unsafe { (functions.free)(outcome) };
        answer
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.engine.close(self.handle);
    }
}

/// Copies a result.
///
/// # Safety
/// `outcome` must be a result of the library that was not freed.
unsafe fn read(functions: &Functions, outcome: Outcome) -> Result<Answer, String> {
    // SAFETY: by the caller's promise. The error is a C string or null; the buffer
    // holds `length` bytes; the counters are only defined without an error.
    unsafe {
        let error = (functions.error)(outcome);
        if !error.is_null() {
            return Err(CStr::from_ptr(error).to_string_lossy().into_owned());
        }
        let length = (functions.length)(outcome);
        let buffer = (functions.buffer)(outcome);
        let body = if length == 0 || buffer.is_null() {
            Vec::new()
        } else {
            std::slice::from_raw_parts(buffer, length).to_vec()
        };
        Ok(Answer {
            body,
            rows_read: (functions.rows_read)(outcome),
            bytes_read: (functions.bytes_read)(outcome),
            rows_written: (functions.rows_written)(outcome),
            bytes_written: (functions.bytes_written)(outcome),
        })
    }
}

fn load(path: &Path) -> Result<Functions, String> {
    let explain = |error: libloading::Error| format!("{}: {error}", path.display());
    // SAFETY: loading runs the library's initialisers. It is the pinned release that
    // scripts/servers.sh fetched and verified, or one the caller chose.
    let library = unsafe { Library::new(path) }.map_err(explain)?;
    // Unloading an engine with running threads is not safe, so it stays loaded until the process
    // exits.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: names and signatures are those of the library's C header.
    unsafe {
        let quiet: unsafe extern "C" fn(c_int) =
            *library.get(b"chdb_set_signal_handlers_enabled").map_err(explain)?;
        // We handle SIGTERM ourselves.
        quiet(0);
        Ok(Functions {
            connect: *library.get(b"chdb_connect").map_err(explain)?,
            close: *library.get(b"chdb_close_conn").map_err(explain)?,
            query: *library.get(b"chdb_query_n").map_err(explain)?,
            free: *library.get(b"chdb_destroy_query_result").map_err(explain)?,
            buffer: *library.get(b"chdb_result_buffer").map_err(explain)?,
            length: *library.get(b"chdb_result_length").map_err(explain)?,
            error: *library.get(b"chdb_result_error").map_err(explain)?,
            rows_read: *library.get(b"chdb_result_storage_rows_read").map_err(explain)?,
            bytes_read: *library.get(b"chdb_result_storage_bytes_read").map_err(explain)?,
            rows_written: *library.get(b"chdb_result_rows_written").map_err(explain)?,
            bytes_written: *library.get(b"chdb_result_bytes_written").map_err(explain)?,
        })
    }
}
