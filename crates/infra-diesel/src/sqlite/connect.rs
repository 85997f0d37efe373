//! Opens connections to the SQLite file.

use std::path::Path;

use diesel::{
    Connection as _, ConnectionError, ConnectionResult, SqliteConnection, connection::SimpleConnection as _,
};

use super::reserve::release_if_full;

/// An acknowledged commit survives a power cut: `synchronous = FULL`.
const WRITER_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000;";
/// A small cache: each reader has one, and the system caches the file for all of them.
const READER_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; \
    PRAGMA cache_size = -2000;";

/// Opens the file for writing, which creates it and its log if they do not exist.
pub(crate) fn open_writer(path: &Path) -> ConnectionResult<SqliteConnection> {
    release_if_full(path);
    open(path, WRITER_PRAGMAS)
}

/// Opens an existing file for reading.
pub(crate) fn open_reader(path: &Path) -> ConnectionResult<SqliteConnection> {
    open(path, READER_PRAGMAS)
}

fn open(path: &Path, pragmas: &str) -> ConnectionResult<SqliteConnection> {
    let mut conn = SqliteConnection::establish(&path.to_string_lossy())?;
    conn.batch_execute(pragmas).map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
    Ok(conn)
}
