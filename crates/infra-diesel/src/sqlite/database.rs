//! The file, its writer and its readers.

use std::path::{Path, PathBuf};

use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleResult};
use diesel::{ConnectionError, SqliteConnection};

use super::{connect::open_reader, lock::FileLock, writer::Writer};
use crate::{
    config::{DatabaseConfig, PoolState},
    connection::{Connection, Work},
    error::{DatabaseError, DbError},
};

/// Opens readers for the pool.
pub(crate) struct Readers(PathBuf);

impl Manager for Readers {
    type Type = SqliteConnection;
    type Error = ConnectionError;

    async fn create(&self) -> Result<SqliteConnection, ConnectionError> {
        open_reader(&self.0)
    }

    async fn recycle(&self, _: &mut SqliteConnection, _: &Metrics) -> RecycleResult<ConnectionError> {
        Ok(())
    }
}

/// An SQLite file: one writer, since to queue for it beats busy waiting inside the engine, and several readers.
///
/// Queries run on the calling thread: a query takes less time than to hand it to another thread and to be woken by its
/// result. Writes take longer and have a thread of their own.
pub(crate) struct SqliteDb {
    readers: Pool<Readers>,
    pub(crate) writer: Writer,
    /// Keeps other processes off the file while this lives.
    _lock: FileLock,
}

impl SqliteDb {
    /// Locks and opens the file.
    pub(crate) async fn open(path: &Path, config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let lock = FileLock::take(path)?;
        // The writer creates the file and its log before a reader, which may not write, opens them.
        // Shorter than requests wait, which is 9/10 of the timeout: no write begins after its client has got an error.
        let writer = Writer::start(path, config.timeout * 4 / 5).await?;
        let readers = Pool::builder(Readers(path.to_owned()))
            .max_size(config.connections)
            .wait_timeout(Some(config.timeout))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(DatabaseError::other)?;
        Ok(Self { readers, writer, _lock: lock })
    }

    pub(crate) async fn reader(&self) -> Result<Object<Readers>, DbError> {
        Ok(self.readers.get().await?)
    }

    pub(crate) async fn read<R, F>(&self, work: F) -> Result<R, DbError>
    where
        F: for<'c, 'd> Work<&'c mut Connection<'d>, Result<R, DbError>, Future: Send> + Send,
        R: Send,
    {
        work(&mut Connection::Sqlite(&mut *self.reader().await?)).await
    }

    pub(crate) fn pools(&self) -> Vec<PoolState> {
        vec![PoolState::of("read", &self.readers.status()), self.writer.state()]
    }
}
