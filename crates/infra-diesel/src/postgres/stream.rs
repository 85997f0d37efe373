//! The stream to a server: TLS or not, and read along for the SQLSTATEs of its errors.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::either::Either;

use super::sqlstate::ErrorReader;

/// Asks a server to continue with TLS. It replies with a single byte.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const TLS_ACCEPTED: u8 = b'S';

/// Begins connections. tokio-postgres passes every new socket to it, if its `sslnegotiation` is `direct`.
#[derive(Clone)]
pub(super) struct Connector {
    /// `None`: connections are not encrypted.
    pub(super) tls: Option<MakeRustlsConnect>,
    /// Whether connections are not encrypted if the server offers no TLS.
    pub(super) is_tls_optional: bool,
    /// Whether the server expects TLS without being asked.
    pub(super) is_direct: bool,
}

/// A [`Connector`] with the host's name.
pub(super) struct Handshake {
    connector: Connector,
    host: String,
}

/// A stream on a socket `S`.
pub(super) struct ServerStream<S>
where
    MakeRustlsConnect: MakeTlsConnect<S>,
{
    stream: Either<S, <MakeRustlsConnect as MakeTlsConnect<S>>::Stream>,
    errors: ErrorReader,
}

impl Connector {
    pub(super) fn handshake(&self, host: &str) -> Handshake {
        Handshake { connector: self.clone(), host: host.to_owned() }
    }
}

impl Handshake {
    async fn open<S>(self, mut socket: S) -> io::Result<ServerStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let opened = |stream| ServerStream { stream, errors: ErrorReader::default() };
        let Some(mut tls) = self.connector.tls else { return Ok(opened(Either::Left(socket))) };
        if !self.connector.is_direct {
            socket.write_all(&TLS_REQUEST).await?;
            if socket.read_u8().await? != TLS_ACCEPTED {
                return if self.connector.is_tls_optional {
                    Ok(opened(Either::Left(socket)))
                } else {
                    Err(io::Error::other("the server offers no TLS"))
                };
            }
        }
        let Ok(tls) = MakeTlsConnect::<S>::make_tls_connect(&mut tls, &self.host);
        Ok(opened(Either::Right(tls.connect(socket).await?)))
    }
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = ServerStream<S>;
    type TlsConnect = Handshake;
    type Error = Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Infallible> {
        Ok(self.handshake(host))
    }
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = ServerStream<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<ServerStream<S>>>;

    fn connect(self, socket: S) -> Self::Future {
        self.open(socket).boxed()
    }
}

impl<S> TlsStream for ServerStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn channel_binding(&self) -> ChannelBinding {
        match &self.stream {
            Either::Left(_) => ChannelBinding::none(),
            Either::Right(tls) => tls.channel_binding(),
        }
    }
}

impl<S> AsyncRead for ServerStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.errors.read(&buffer.filled()[before..]);
        polled
    }
}

impl<S> AsyncWrite for ServerStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
