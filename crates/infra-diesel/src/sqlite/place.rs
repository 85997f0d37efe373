//! Where the statements of a connection run.

use std::{
    error::Error,
    future::ready,
    pin::Pin,
    task::{Context, Poll},
};

use diesel_async::sync_connection_wrapper::SpawnBlocking;
use futures_util::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use tokio::{runtime::Handle, task::JoinHandle};

/// Of a connection that is opened within a runtime, on the runtime's threads for blocking work; else on the
/// thread that asks, where each is done once it has been called.
pub(crate) enum Place {
    Runtime(Handle),
    Here,
}

impl SpawnBlocking for Place {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn Error + Send + Sync>>>
    where
        R: Send + 'static,
    {
        match self {
            Self::Runtime(handle) => {
                let running = Running { task: handle.spawn_blocking(task), handle: handle.clone() };
                running.map_err(Into::into).boxed()
            }
            Self::Here => ready(Ok(task())).boxed(),
        }
    }

    fn get_runtime() -> Self {
        Handle::try_current().map_or(Self::Here, Self::Runtime)
    }
}

/// A statement that runs. Dropping it waits for its end: the connection must be nobody else's before that.
struct Running<R> {
    task: JoinHandle<R>,
    handle: Handle,
}

impl<R> Future for Running<R> {
    type Output = Result<R, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.task.poll_unpin(cx)
    }
}

impl<R> Drop for Running<R> {
    fn drop(&mut self) {
        if !self.task.is_finished() {
            tokio::task::block_in_place(|| drop(self.handle.block_on(&mut self.task)));
        }
    }
}
