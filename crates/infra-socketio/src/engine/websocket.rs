//! The byte stream between the engine and the client of a websocket.

use std::{
    io, net,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::{Duration, Sleep, sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::engine::{connect_error, shared::Engine, transport::Transport};

/// Maximum time for a client to switch from polling to its websocket.
const UPGRADE_TIMEOUT: Duration = Duration::from_millis(500);

/// A websocket's bytes. It ends when its transport closes, whether or not the client reads.
pub(crate) struct WebSocketStream {
    connection: PendingConnection,
    /// What the client sent before the connection was handed over.
    early: Bytes,
    /// What is still to be written of the completed refusal, the last bytes for a refused client.
    refusal: Option<Bytes>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    transport: Arc<Transport>,
    /// For a session that began with polling: until when its client may still be switching.
    upgrade_timer: Option<Pin<Box<Sleep>>>,
    engine: Arc<Engine>,
}

enum PendingConnection {
    Pending(oneshot::Receiver<net::TcpStream>),
    Ready(TcpStream),
    Aborted,
}

impl WebSocketStream {
    /// Creates a stream whose TCP connection arrives later. Call it on the runtime that will serve the connection.
    pub(crate) fn new(
        engine: Arc<Engine>,
        transport: Arc<Transport>,
        is_upgrade: bool,
        early: Bytes,
        connection: oneshot::Receiver<net::TcpStream>,
    ) -> Self {
        if is_upgrade {
            transport.has_websocket.store(true, Ordering::Relaxed);
        }
        Self {
            connection: PendingConnection::Pending(connection),
            early,
            refusal: None,
            closed: Box::pin(transport.closed.clone().cancelled_owned()),
            transport,
            upgrade_timer: is_upgrade.then(|| Box::pin(sleep(UPGRADE_TIMEOUT))),
            engine,
        }
    }

    /// Ready when the stream should end. Not during an upgrade: the client has stopped polling and would learn of no end
    /// before its websocket becomes the transport.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.closed.as_mut().poll(cx));
        self.upgrade_timer.as_mut().map_or(Poll::Ready(()), |timer| timer.as_mut().poll(cx))
    }

    /// Returns the connection once it has arrived, while the transport is open.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TcpStream>>> {
        if self.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        // Reader and writer may be different tasks. The library's wakers wake both, so one waker suffices.
        if let PendingConnection::Pending(receiver) = &mut self.connection {
            let received = ready!(Pin::new(receiver).poll(cx)).ok();
            self.connection = received
                .and_then(|stream| TcpStream::from_std(stream).ok())
                .map_or(PendingConnection::Aborted, PendingConnection::Ready);
        }
        match &mut self.connection {
            PendingConnection::Ready(stream) => Poll::Ready(Ok(Pin::new(stream))),
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    /// Writes the completed refusal, then closes the transport.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let complete = self.transport.rejection().map(connect_error::complete_frame);
        let mut rest = self.refusal.take().or(complete).unwrap_or_default();
        while !rest.is_empty() {
            let written = self.poll_connection(cx)?.map(|stream| stream.poll_write(cx, &rest));
            let Poll::Ready(Poll::Ready(written)) = written else {
                self.refusal = Some(rest);
                return Poll::Pending;
            };
            rest.advance(written?);
        }
        self.transport.closed.cancel();
        Poll::Ready(Ok(()))
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
            self.engine.counters().too_much_data += 1;
            self.transport.closed.cancel();
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocketStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // The library buffers whole frames, and writes from the beginning of its buffer.
        let refused_at = self.transport.rejection().and_then(|_| connect_error::find_frame(bytes));
        if refused_at == Some(0) {
            return self.poll_refusal(cx).map_ok(|()| bytes.len());
        }
        let before = &bytes[..refused_at.unwrap_or(bytes.len())];
        ready!(self.poll_connection(cx))?.poll_write(cx, before)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_connection(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_connection(cx))?.poll_shutdown(cx)
    }
}

impl Drop for WebSocketStream {
    fn drop(&mut self) {
        if self.upgrade_timer.is_some()
            && let Some(sid) = self.transport.sid()
        {
            // The engine does not notice an upgrade that broke off. A completed upgrade is not affected.
            self.engine.end_polling(sid);
        }
    }
}

#[cfg(test)]
mod tests {
    use api_types::ProblemDetails;
    use domain::Error;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpSocket,
    };

    use super::*;
    use crate::{
        config::SocketConfig,
        engine::{connect_error::tests::refused_frames, transport::Credentials},
    };

    /// The frames are larger than what the system buffers, so that both are written in pieces.
    #[tokio::test]
    async fn refusal_gets_its_data_however_slowly_the_client_reads() {
        const LARGE: usize = 64 << 10;
        let engine = Arc::new(Engine::new(SocketConfig::default()).0);
        let transport = engine.transports.create(None, 0, Credentials::default()).unwrap();
        let problem =
            ProblemDetails { detail: "d".repeat(LARGE), ..ProblemDetails::from(&Error::INVALID_TOKEN) };
        transport.authentication.get_or_init(|| Err(problem.clone())).as_ref().unwrap_err();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4 << 10).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (sender, connection) = oneshot::channel();
        sender.send(listener.accept().await.unwrap().0.into_std().unwrap()).unwrap();
        let mut stream = WebSocketStream::new(engine, transport, false, Bytes::new(), connection);

        let (written, expected) = refused_frames(&"m".repeat(LARGE), &problem);
        let writing = async { stream.write_all(&written).await.unwrap() };
        let reading = async {
            let mut received = Vec::with_capacity(expected.len());
            while received.len() < expected.len() && client.read_buf(&mut received).await.unwrap() > 0 {}
            received
        };
        let ((), received) = tokio::join!(writing, reading);
        assert!(received == expected, "{} bytes of {}", received.len(), expected.len());
    }
}
