//! The line between the engine and the client of a websocket.

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

use super::{handover::Slot, refusal};
use crate::{hub::Hub, transport::Transport};

/// How long a client takes at most to change over to its websocket.
const UPGRADE: Duration = Duration::from_millis(500);

/// What the engine reads from and writes to. It ends when its transport is closed, whether or not the client reads.
pub(super) struct Line {
    way: Way,
    /// What the client sent before the connection was handed over.
    early: Bytes,
    refusing: Option<Box<Refusing>>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    transport: Arc<Transport>,
    /// Where the session began as a polling one: until when its client may still be about to change over.
    upgrade: Option<Instant>,
    /// Waits for that, if it must.
    grace: Option<Pin<Box<Sleep>>>,
    hub: Arc<Hub>,
}

enum Way {
    Coming(Arc<Slot>),
    Here(TcpStream),
}

/// The end of a line whose client is refused: the refusal, made whole, and nothing after it.
#[derive(Default)]
struct Refusing {
    /// What may be the beginning of the refusal.
    held: BytesMut,
    ready: Bytes,
    is_last: bool,
}

impl Line {
    pub(super) fn new(
        hub: Arc<Hub>,
        transport: Arc<Transport>,
        is_upgrade: bool,
        early: Bytes,
    ) -> (Self, Arc<Slot>) {
        let slot = Arc::<Slot>::default();
        let closed = Box::pin(transport.closed.clone().cancelled_owned());
        let way = Way::Coming(slot.clone());
        let upgrade = is_upgrade.then(|| Instant::now() + UPGRADE);
        if is_upgrade {
            transport.upgrade();
        }
        (Self { way, early, refusing: None, closed, transport, upgrade, grace: None, hub }, slot)
    }

    /// Whether it is to end. Not in the middle of an upgrade: its client has stopped polling and waits to change over to
    /// the websocket, and would hear of no end of either.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.closed.as_mut().poll(cx));
        let Some(upgrade) = self.upgrade else { return Poll::Ready(()) };
        self.grace.get_or_insert_with(|| Box::pin(sleep_until(upgrade))).as_mut().poll(cx)
    }

    /// The connection, once it is there and while the transport is open.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TcpStream>>> {
        if self.poll_end(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Way::Coming(slot) = &self.way {
            self.way = Way::Here(ready!(slot.poll_take(cx))?);
        }
        match &mut self.way {
            Way::Here(stream) => Poll::Ready(Ok(Pin::new(stream))),
            Way::Coming(_) => Poll::Pending,
        }
    }

    /// Writes what is left of the words to a refused client; then there is nothing more to say.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(mut refusing) = self.refusing.take() else { return Poll::Ready(Ok(())) };
        let written = loop {
            if refusing.ready.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match self.poll_stream(cx)?.map(|stream| stream.poll_write(cx, &refusing.ready)) {
                Poll::Ready(Poll::Ready(Ok(written))) => refusing.ready.advance(written),
                Poll::Ready(Poll::Ready(Err(error))) => break Poll::Ready(Err(error)),
                _ => break Poll::Pending,
            }
        };
        if refusing.is_last && written.is_ready() {
            self.transport.closed.cancel();
        }
        self.refusing = Some(refusing);
        written
    }
}

impl AsyncRead for Line {
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
            ready!(ready!(self.poll_stream(cx))?.poll_read(cx, buffer))?;
        }
        let read = buffer.filled().len() - before;
        if read > 0 && !self.transport.spend(read, self.hub.config.budget) {
            self.hub.counters.too_much_data.add();
            self.transport.closed.cancel();
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(problem) = self.transport.rejection() else {
            return ready!(self.poll_stream(cx))?.poll_write(cx, bytes);
        };
        ready!(self.poll_refuse(cx))?;
        let refusing = self.refusing.get_or_insert_default();
        refusing.held.extend_from_slice(bytes);
        if let Some(refusal) = refusal::in_frames(&refusing.held, &problem) {
            (refusing.ready, refusing.is_last) = (refusal, true);
        } else {
            // Only what may be the beginning of the refusal waits for the rest of it.
            let ready = refusing.held.len() - refusal::begun(&refusing.held);
            refusing.ready = refusing.held.split_to(ready).freeze();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refuse(cx))?;
        ready!(self.poll_stream(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_stream(cx))?.poll_shutdown(cx)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.upgrade.is_some()
            && let Some(sid) = self.transport.sid()
        {
            // The engine does not notice an upgrade that broke off. A session that did upgrade is not affected.
            self.hub.end_polling(sid);
        }
    }
}
