//! Where the statements of a connection run.

use std::{error::Error, future::ready};

use diesel_async::sync_connection_wrapper::SpawnBlocking;
use futures_util::{FutureExt as _, future::BoxFuture};

/// On the thread that asks: a statement takes less time than to hand it to another thread and to be woken with its
/// answer. What takes longer, a write, is done by a thread of its own (`writer.rs`).
pub(crate) struct Here;

impl SpawnBlocking for Here {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn Error + Send + Sync>>>
    where
        R: Send + 'static,
    {
        ready(Ok(task())).boxed()
    }

    fn get_runtime() -> Self {
        Self
    }
}
