//! Takes a TCP connection out of the HTTP server once it has become a websocket.
//!
//! actix-web keeps two buffers of 8 KiB and a state machine for each connection, and an idle websocket needs none of
//! them. So the HTTP server gets its connections wrapped: after the 101 response is written, the TCP connection is moved
//! out of the wrapper, and the HTTP server sees a client that disconnected.

use std::{
    any::Any,
    cell::RefCell,
    io, net,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::rt::net::TcpStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::{Sleep, sleep},
};

/// A connection of the HTTP server that can leave it.
pub(crate) struct UpgradableStream {
    stream: Option<TcpStream>,
    request: UpgradeRequest,
    /// Whether something was written after the upgrade was requested.
    has_responded: bool,
    /// How long the client may accept nothing more, and the timer while it does.
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Dropped when the connection ends or leaves the HTTP server.
    permit: Option<Box<dyn Any>>,
}

/// Lets a handler request the TCP connection of its request.
#[derive(Clone, Default)]
pub(crate) struct UpgradeRequest(Rc<RefCell<Option<oneshot::Sender<net::TcpStream>>>>);

impl UpgradeRequest {
    /// Requests the connection. It is sent after the response of the handler, which must follow, is written. If it breaks
    /// before, the sender is dropped.
    pub(crate) fn hand_over_to(&self, receiver: oneshot::Sender<net::TcpStream>) {
        *self.0.borrow_mut() = Some(receiver);
    }
}

impl UpgradableStream {
    pub(crate) fn new(stream: TcpStream, write_timeout: Duration, permit: Box<dyn Any>) -> Self {
        Self {
            stream: Some(stream),
            request: UpgradeRequest::default(),
            has_responded: false,
            write_timeout,
            stalled: None,
            permit: Some(permit),
        }
    }

    pub(crate) fn upgrade_request(&self) -> UpgradeRequest {
        self.request.clone()
    }

    /// Returns the address at which the connection arrived.
    pub(crate) fn local_address(&self) -> Option<net::SocketAddr> {
        self.stream.as_ref()?.local_addr().ok()
    }

    fn hand_over(&mut self) {
        self.permit = None;
        // Detached from the runtime of this HTTP worker: another one will serve it.
        let stream = self.stream.take().map(TcpStream::into_std);
        if let (Some(receiver), Some(Ok(stream))) = (self.request.0.take(), stream) {
            // The engine may have given up.
            let _ = receiver.send(stream);
        }
    }
}

impl Drop for UpgradableStream {
    fn drop(&mut self) {
        self.request.0.take();
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
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let written = Pin::new(stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let write_timeout = self.write_timeout;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(write_timeout))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
