//! A TCP connection that leaves the HTTP server when it has become a websocket.
//!
//! actix-web holds two buffers of 8 KiB and a state machine for each of its connections, of which an idle websocket
//! needs nothing. So the server gets its connections only on loan: once the 101 is written, the connection is taken
//! out from under it, and what it sees is a client that has gone. All before that is an ordinary request.

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

/// A connection as the HTTP server has it.
pub(crate) struct Lent {
    stream: Option<TcpStream>,
    wanted: Wanted,
    /// Whether something has been written since it is wanted.
    has_answered: bool,
}

/// By whom it is wanted, for its handlers to say.
#[derive(Clone, Default)]
pub(crate) struct Wanted(Rc<RefCell<Option<Arc<Slot>>>>);

impl Wanted {
    /// Asks for the connection. It comes when the answer of the handler, which must follow, has been written.
    pub(super) fn by(&self, slot: Arc<Slot>) {
        *self.0.borrow_mut() = Some(slot);
    }
}

impl Lent {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream: Some(stream), wanted: Wanted::default(), has_answered: false }
    }

    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    fn hand_over(&mut self) {
        if let Some(slot) = self.wanted.0.borrow_mut().take() {
            // Without the runtime of the HTTP server: another will take it.
            slot.put(self.stream.take().map_or_else(gone, TcpStream::into_std));
        }
    }
}

/// What comes instead of a connection that broke off.
fn gone() -> io::Result<net::TcpStream> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(slot) = self.wanted.0.borrow_mut().take() {
            slot.put(gone());
        }
    }
}

impl AsyncRead for Lent {
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

impl AsyncWrite for Lent {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let is_wanted = self.wanted.0.borrow().is_some();
        self.has_answered |= is_wanted;
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Called when the HTTP server has nothing more to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_answered && self.stream.is_some() {
            self.hand_over();
            // For the server to see that the client is gone.
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

/// Where a connection is put for whoever wants it.
#[derive(Default)]
pub(super) struct Slot(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    stream: Option<io::Result<net::TcpStream>>,
    waiting: Vec<Waker>,
}

impl Slot {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, stream: io::Result<net::TcpStream>) {
        let mut inside = self.inside();
        inside.stream = Some(stream);
        inside.waiting.drain(..).for_each(Waker::wake);
    }

    /// Takes the connection once it is there. To be called on the runtime that is to serve it.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<io::Result<tokio::net::TcpStream>> {
        let mut inside = self.inside();
        if let Some(stream) = inside.stream.take() {
            return Poll::Ready(stream.and_then(tokio::net::TcpStream::from_std));
        }
        if !inside.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            inside.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
