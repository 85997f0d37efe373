//! Takes a TCP connection out of the HTTP server once it has become a websocket.
//!
//! actix-web keeps two buffers of 8 KiB and a state machine for each connection, and an idle websocket needs none of
//! them. So the HTTP server gets its connections wrapped: after the 101 response is written, the TCP connection is moved
//! out of the wrapper, and the HTTP server sees a client that disconnected.

use std::{
    cell::RefCell,
    io, net,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection of the HTTP server that can leave it.
pub(crate) struct UpgradableStream {
    stream: Option<TcpStream>,
    request: UpgradeRequest,
    /// Whether something was written after the upgrade was requested.
    has_responded: bool,
}

/// Lets a handler request the TCP connection of its request.
#[derive(Clone, Default)]
pub(crate) struct UpgradeRequest(Rc<RefCell<Option<Arc<Handover>>>>);

impl UpgradeRequest {
    /// Requests the connection. It arrives after the response of the handler, which must follow, is written.
    pub(crate) fn hand_over_to(&self, handover: Arc<Handover>) {
        *self.0.borrow_mut() = Some(handover);
    }
}

impl UpgradableStream {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream: Some(stream), request: UpgradeRequest::default(), has_responded: false }
    }

    pub(crate) fn upgrade_request(&self) -> UpgradeRequest {
        self.request.clone()
    }

    fn hand_over(&mut self) {
        if let Some(handover) = self.request.0.borrow_mut().take() {
            // Detached from the runtime of this HTTP worker: another one will serve it.
            handover.complete(self.stream.take().map_or_else(aborted, TcpStream::into_std));
        }
    }
}

fn aborted() -> io::Result<net::TcpStream> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

impl Drop for UpgradableStream {
    fn drop(&mut self) {
        if let Some(handover) = self.request.0.borrow_mut().take() {
            handover.complete(aborted());
        }
    }
}

impl AsyncRead for UpgradableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for UpgradableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let is_requested = self.request.0.borrow().is_some();
        self.has_responded |= is_requested;
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// The HTTP server flushes when it has nothing more to write, so the response is complete.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_responded && self.stream.is_some() {
            self.hand_over();
            // Makes the server read, and so notice that the client is gone.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Passes a TCP connection from the HTTP server to a websocket. Reader and writer of the websocket may be different
/// tasks, so several wakers wait.
#[derive(Default)]
pub(crate) struct Handover(Mutex<HandoverState>);

#[derive(Default)]
struct HandoverState {
    stream: Option<io::Result<net::TcpStream>>,
    wakers: Vec<Waker>,
}

impl Handover {
    fn state(&self) -> MutexGuard<'_, HandoverState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, stream: io::Result<net::TcpStream>) {
        let mut state = self.state();
        state.stream = Some(stream);
        state.wakers.drain(..).for_each(Waker::wake);
    }

    /// Returns the connection once it has arrived. Call it on the runtime that will serve the connection.
    pub(crate) fn poll_stream(&self, cx: &mut Context<'_>) -> Poll<io::Result<tokio::net::TcpStream>> {
        let mut state = self.state();
        if let Some(stream) = state.stream.take() {
            return Poll::Ready(stream.and_then(tokio::net::TcpStream::from_std));
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
