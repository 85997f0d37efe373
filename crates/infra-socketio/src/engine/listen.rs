//! The HTTP server of actix-web, with connections that websockets take out of it.

use std::{
    fmt, io,
    net::{IpAddr, TcpListener},
    time::Duration,
};

use actix_http::{HttpService, Request, Response, error::DispatchError};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::{
    body::MessageBody,
    dev::{AppConfig, Service, ServiceFactory, fn_service},
    rt::net::TcpStream,
};

use crate::engine::upgrade::UpgradableStream;

/// How long the server keeps reading from a client that it refused in the middle of a body: a client that is still
/// sending would not see the response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeouts of HTTP connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionTimeouts {
    /// Maximum time to receive the head of a request.
    pub request_head: Duration,
    /// Maximum time for which the client's system leaves sent data unacknowledged.
    pub unacknowledged: Duration,
    /// Maximum time for which the client reads too little for anything more to be sent.
    pub unread: Duration,
}

/// Bytes that the operating system buffers for a client beyond those under way. A client that does not read would
/// otherwise make it buffer megabytes.
const MAX_UNSENT_BYTES: u32 = 128 * 1024;

/// Adds an actix-web application to `server`, as `HttpServer` would, but lets websockets leave the HTTP server: actix-web
/// keeps 16 KiB of buffers for each of its connections.
///
/// A client that aborts a poll is noticed at once (half-closed connections are not allowed). A client that has vanished
/// is noticed by the operating system only (`TCP_USER_TIMEOUT`, on Linux).
///
/// The address at which a connection arrived is its connection data, as [`SocketAddr`](std::net::SocketAddr).
///
/// `admit` gets the address of each new connection and returns `None` to close it. The permit is dropped when the
/// connection ends or becomes a websocket.
///
/// # Errors
/// Errors of the listener.
pub fn listen<F, I, S, B, P>(
    server: ServerBuilder,
    listener: TcpListener,
    timeouts: ConnectionTimeouts,
    admit: impl Fn(IpAddr) -> Option<P> + Send + Clone + 'static,
    application: F,
) -> io::Result<ServerBuilder>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
    P: 'static,
{
    let stopping = server.graceful_shutdown_signal();
    server.listen("http", listener, move || {
        let (stopping, admit) = (stopping.clone(), admit.clone());
        let application = application().into_factory().map_err(|error| error.into().error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .client_request_timeout(timeouts.request_head)
            .client_disconnect_timeout(LINGER_TIMEOUT)
            .h1_allow_half_closed(false)
            .on_connect_ext(|connection: &UpgradableStream, data| {
                data.insert(connection.upgrade_request());
                if let Some(address) = connection.local_address() {
                    data.insert(address);
                }
            })
            .h1(map_config(application, |()| AppConfig::default()));
        let wrap = move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            let permit = peer.and_then(|peer| admit(peer.ip()));
            let admitted = permit.map(|permit| {
                set_options(&stream, timeouts.unacknowledged);
                (UpgradableStream::new(stream, timeouts.unread, Box::new(permit)), peer)
            });
            async move { admitted.ok_or(DispatchError::Io(io::ErrorKind::QuotaExceeded.into())) }
        };
        fn_service(wrap).and_then(http)
    })
}

fn set_options(stream: &TcpStream, unacknowledged: Duration) {
    let socket = socket2::SockRef::from(stream);
    // Otherwise an event that follows another at once waits for the acknowledgement of the first.
    let result = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let result = result
        .and_then(|()| socket.set_tcp_user_timeout(Some(unacknowledged)))
        .and_then(|()| socket.set_tcp_notsent_lowat(MAX_UNSENT_BYTES));
    #[cfg(not(target_os = "linux"))]
    let _ = unacknowledged;
    if let Err(error) = result {
        tracing::debug!(%error, "failed to set the options of a connection");
    }
}
