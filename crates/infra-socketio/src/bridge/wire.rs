//! The way from the engine to the client of a websocket.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::io::{AsyncRead, DuplexStream, ReadBuf, ReadHalf};
use tokio_util::sync::CancellationToken;

use super::{PIPE, refusal};
use crate::{hub::Hub, transport::Transport};

/// The engine's words before they are sent. It can be closed while nobody reads it: actix-web does not poll a body
/// whose client has stopped reading, and would keep the pipe, and with it the engine's session, for ever.
pub(super) struct Wire(Mutex<Ends>);

struct Ends {
    from_engine: Option<ReadHalf<DuplexStream>>,
    reader: Option<Waker>,
}

impl Wire {
    pub(super) fn new(from_engine: ReadHalf<DuplexStream>) -> Self {
        Self(Mutex::new(Ends { from_engine: Some(from_engine), reader: None }))
    }

    /// Drops this end of the pipe and tells whoever reads.
    pub(super) fn close(&self) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.from_engine = None;
        if let Some(reader) = ends.reader.take() {
            reader.wake();
        }
    }

    /// The next bytes; none at the end. Read on the stack: an idle connection holds no buffer of ours.
    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(from_engine) = &mut ends.from_engine else { return Poll::Ready(Ok(Bytes::new())) };
        let mut chunk = [const { MaybeUninit::uninit() }; PIPE];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        match Pin::new(from_engine).poll_read(cx, &mut chunk) {
            Poll::Ready(read) => Poll::Ready(read.map(|()| Bytes::copy_from_slice(chunk.filled()))),
            Poll::Pending => {
                if !ends.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                    ends.reader = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// The body of the response. It ends with the engine's session, or with the refusal of the client.
pub(super) fn frames(
    wire: Arc<Wire>,
    stop: CancellationToken,
    transport: Arc<Transport>,
    hub: Arc<Hub>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let stop = stop.drop_guard();
    let mut held = BytesMut::new();
    let mut is_last = false;
    stream::poll_fn(move |cx| {
        let _ends_with_the_body = &stop;
        loop {
            if is_last {
                hub.close(&transport);
                return Poll::Ready(None);
            }
            let chunk = ready!(wire.poll_read(cx))?;
            if chunk.is_empty() {
                return Poll::Ready(None);
            }
            let Some(problem) = transport.rejection() else { return Poll::Ready(Some(Ok(chunk))) };
            held.extend_from_slice(&chunk);
            if let Some(refusal) = refusal::in_frames(&held, &problem) {
                is_last = true;
                return Poll::Ready(Some(Ok(refusal)));
            }
            // Only what may be the beginning of the refusal waits for the rest of it.
            let ready = held.len() - refusal::begun(&held);
            if ready > 0 {
                return Poll::Ready(Some(Ok(held.split_to(ready).freeze())));
            }
        }
    })
}
