//! The byte stream between the engine and the client of a websocket.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Duration, Instant, Sleep, sleep_until},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::engine::{connect_error, shared::Engine, transport::Transport, upgrade::Handover};

/// Maximum time for a client to switch from polling to its websocket.
const UPGRADE_TIMEOUT: Duration = Duration::from_millis(500);

/// A websocket's bytes. It ends when its transport closes, whether or not the client reads.
pub(crate) struct WebSocketStream {
    connection: PendingConnection,
    /// What the client sent before the connection was handed over.
    early: Bytes,
    refusal: Option<Box<RefusalBuffer>>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    transport: Arc<Transport>,
    /// For a session that began with polling: until when its client may still be switching.
    upgrade_deadline: Option<Instant>,
    upgrade_timer: Option<Pin<Box<Sleep>>>,
    engine: Arc<Engine>,
}

enum PendingConnection {
    Pending(Arc<Handover>),
    Ready(TcpStream),
}

/// The last bytes for a refused client: the completed refusal, and nothing after it.
#[derive(Default)]
struct RefusalBuffer {
    /// May be the beginning of the refusal.
    held: BytesMut,
    ready: Bytes,
    is_last: bool,
}

impl WebSocketStream {
    /// Creates a stream whose TCP connection arrives by the returned handover.
    pub(crate) fn new(
        engine: Arc<Engine>,
        transport: Arc<Transport>,
        is_upgrade: bool,
        early: Bytes,
    ) -> (Self, Arc<Handover>) {
        let handover = Arc::<Handover>::default();
        let closed = Box::pin(transport.closed.clone().cancelled_owned());
        let connection = PendingConnection::Pending(handover.clone());
        let upgrade_deadline = is_upgrade.then(|| Instant::now() + UPGRADE_TIMEOUT);
        if is_upgrade {
            transport.begin_upgrade();
        }
        let (refusal, upgrade_timer) = (None, None);
        (
            Self { connection, early, refusal, closed, transport, upgrade_deadline, upgrade_timer, engine },
            handover,
        )
    }

    /// Ready when the stream should end. Not during an upgrade: the client has stopped polling and would learn of no end
    /// before its websocket becomes the transport.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.closed.as_mut().poll(cx));
        let Some(deadline) = self.upgrade_deadline else { return Poll::Ready(()) };
        self.upgrade_timer.get_or_insert_with(|| Box::pin(sleep_until(deadline))).as_mut().poll(cx)
    }

    /// Returns the connection once it has arrived, while the transport is open.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TcpStream>>> {
        if self.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let PendingConnection::Pending(handover) = &self.connection {
            self.connection = PendingConnection::Ready(ready!(handover.poll_stream(cx))?);
        }
        match &mut self.connection {
            PendingConnection::Ready(stream) => Poll::Ready(Ok(Pin::new(stream))),
            PendingConnection::Pending(_) => Poll::Pending,
        }
    }

    /// Writes the buffered bytes for a refused client. Closes the transport after the refusal.
    fn poll_write_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(mut refusal) = self.refusal.take() else { return Poll::Ready(Ok(())) };
        let written = loop {
            if refusal.ready.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match self.poll_connection(cx)?.map(|stream| stream.poll_write(cx, &refusal.ready)) {
                Poll::Ready(Poll::Ready(Ok(written))) => refusal.ready.advance(written),
                Poll::Ready(Poll::Ready(Err(error))) => break Poll::Ready(Err(error)),
                _ => break Poll::Pending,
            }
        };
        if refusal.is_last && written.is_ready() {
            self.transport.closed.cancel();
        }
        self.refusal = Some(refusal);
        written
    }
}

impl AsyncRead for WebSocketStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let early = self.early.len().min(buffer.remaining());
        if early > 0 {
            buffer.put_slice(&self.early.split_to(early));
        } else {
            ready!(ready!(self.poll_connection(cx))?.poll_read(cx, buffer))?;
        }
        let read = buffer.filled().len() - before;
        if read > 0 && !self.transport.spend(read, self.engine.config.budget) {
            self.engine.metrics.too_much_data.increment();
            self.transport.closed.cancel();
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocketStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(problem) = self.transport.rejection() else {
            return ready!(self.poll_connection(cx))?.poll_write(cx, bytes);
        };
        ready!(self.poll_write_refusal(cx))?;
        let refusal = self.refusal.get_or_insert_default();
        refusal.held.extend_from_slice(bytes);
        if let Some(complete) = connect_error::complete_frames(&refusal.held, &problem) {
            (refusal.ready, refusal.is_last) = (complete, true);
        } else {
            // Only what may be the beginning of the refusal waits for its rest.
            let ready = refusal.held.len() - connect_error::partial_length(&refusal.held);
            refusal.ready = refusal.held.split_to(ready).freeze();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_refusal(cx))?;
        ready!(self.poll_connection(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_connection(cx))?.poll_shutdown(cx)
    }
}

impl Drop for WebSocketStream {
    fn drop(&mut self) {
        if self.upgrade_deadline.is_some()
            && let Some(sid) = self.transport.sid()
        {
            // The engine does not notice an upgrade that broke off. A completed upgrade is not affected.
            self.engine.end_polling(sid);
        }
    }
}
