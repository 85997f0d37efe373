//! The HTTP server around the resource: actix-web's, with connections that it can be taken away from.

use std::{fmt, io, net::TcpListener, time::Duration};

use actix_http::{HttpService, Request, Response, error::DispatchError};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::{
    body::MessageBody,
    dev::{AppConfig, Service, ServiceFactory, fn_service},
    rt::net::TcpStream,
};

use crate::bridge::Lent;

/// How long a client that was refused while it sends is listened to, or it would not hear why.
const HANG_UP: Duration = Duration::from_secs(5);

/// How patient the server is with its clients.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For how long a request's head may be under way.
    pub request: Duration,
    /// For how long a client may leave what we sent unacknowledged.
    pub stalled: Duration,
}

/// Lets `server` serve an actix-web application on `listener`, as `HttpServer` would, but so that a websocket leaves
/// it: actix-web holds 16 KiB of buffers for each of its connections.
///
/// A client that drops a poll is noticed at once (half-closed connections are not allowed), and one that has stopped
/// reading in time, which only the system can see (`TCP_USER_TIMEOUT`, on Linux).
pub fn listen<F, I, S, B>(
    server: ServerBuilder,
    listener: TcpListener,
    patience: Patience,
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
{
    let stopping = server.graceful_shutdown_signal();
    server.listen("http", listener, move || {
        let stopping = stopping.clone();
        let application = application().into_factory().map_err(|error| error.into().error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .client_request_timeout(patience.request)
            .client_disconnect_timeout(HANG_UP)
            .h1_allow_half_closed(false)
            .on_connect_ext(|connection: &Lent, data| {
                data.insert(connection.wanted());
            })
            .h1(map_config(application, |()| AppConfig::default()));
        let lend = move |stream: TcpStream| {
            prepare(&stream, patience.stalled);
            let peer = stream.peer_addr().ok();
            async move { Ok::<_, DispatchError>((Lent::new(stream), peer)) }
        };
        fn_service(lend).and_then(http)
    })
}

fn prepare(stream: &TcpStream, stalled: Duration) {
    let socket = socket2::SockRef::from(stream);
    // An event that follows another at once would wait for the acknowledgement of that.
    let prepared = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let prepared = prepared.and_then(|()| socket.set_tcp_user_timeout(Some(stalled)));
    #[cfg(not(target_os = "linux"))]
    let _ = stalled;
    if let Err(error) = prepared {
        tracing::debug!(%error, "the options of a connection cannot be set");
    }
}
