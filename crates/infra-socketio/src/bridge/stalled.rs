//! Connections whose clients have stopped reading.

use std::{any::Any, time::Duration};

use actix_web::{dev::Extensions, rt::net::TcpStream};

/// For `HttpServer::on_connect`: lets the system end a TCP connection whose client has taken nothing for this long.
///
/// actix-web does not look at a response again while its client does not read. The engine's side of such a websocket
/// is closed by us, but only the system can end the connection itself (`TCP_USER_TIMEOUT`, Linux).
pub fn end_stalled(after: Duration) -> impl Fn(&dyn Any, &mut Extensions) + Send + Sync + Clone + 'static {
    move |connection, _| {
        #[cfg(target_os = "linux")]
        if let Some(stream) = connection.downcast_ref::<TcpStream>()
            && let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(after))
        {
            tracing::warn!(%error, "the time for which a connection may stall cannot be set");
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (connection.downcast_ref::<TcpStream>(), after);
    }
}
