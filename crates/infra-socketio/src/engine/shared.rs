//! State shared by all requests of the engine.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use engineioxide::service::NotFoundService;
use socketioxide::{SocketIo, service::SocketIoService, socket::Sid};
use tokio::{runtime::Handle, time::sleep};
use tower_service::Service;

use crate::{
    config::SocketConfig,
    engine::{
        request::close_packet,
        transport::{Transport, Transports},
    },
    metrics::Metrics,
};

/// How long a refused polling client has for reading the reason.
const REFUSAL_GRACE: Duration = Duration::from_millis(500);

/// The Engine.IO service, its transports and its limits.
pub(crate) struct Engine {
    pub(crate) service: SocketIoService<NotFoundService>,
    pub(crate) config: SocketConfig,
    pub(crate) runtime: Handle,
    pub(crate) transports: Arc<Transports>,
    pub(crate) metrics: Arc<Metrics>,
    is_closing: AtomicBool,
}

impl Engine {
    /// Creates the engine and the Socket.IO server on top of it.
    pub(crate) fn new(config: SocketConfig, runtime: Handle, metrics: Arc<Metrics>) -> (Self, SocketIo) {
        let (service, io) = SocketIo::builder()
            .ping_interval(config.ping_interval)
            .ping_timeout(config.ping_timeout)
            .connect_timeout(config.connect_timeout)
            .upgrade_timeout(config.connect_timeout)
            .max_buffer_size(config.max_queued_packets)
            .max_payload(config.max_message_bytes as u64)
            .ws_max_message_size(config.max_message_bytes)
            .ws_max_frame_size(config.max_message_bytes)
            // Allocated for every websocket. Idle clients send only pings; larger messages take several reads.
            .ws_read_buffer_size(256)
            .build_svc();
        let (transports, is_closing) = (Arc::default(), AtomicBool::new(false));
        (Self { service, config, runtime, transports, metrics, is_closing }, io)
    }

    /// Returns whether the server is stopping.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Refuses new connections from now on.
    pub(crate) fn stop_accepting(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Polls `work` inside the main runtime, so that the tasks it spawns live there: HTTP workers end before their
    /// websockets do. Only tasks spawned while `work` is polled count, so the engine must be called within it.
    pub(crate) async fn on_main_runtime<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            let _guard = self.runtime.enter();
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Closes a transport so that its client may reconnect. After a disconnect packet it would not.
    pub(crate) fn close(&self, transport: &Transport) {
        if transport.closed.is_cancelled() {
            return;
        }
        transport.closed.cancel();
        // The engine ends a session whose websocket closes, but not a polling one.
        if !transport.has_websocket()
            && let Some(sid) = transport.sid()
        {
            self.end_polling(sid);
        }
    }

    /// Closes a transport after its client had time to read the refusal and to leave by itself.
    pub(crate) fn close_after_refusal(self: &Arc<Self>, transport: Arc<Transport>) {
        let engine = self.clone();
        self.runtime.spawn(async move {
            sleep(REFUSAL_GRACE).await;
            engine.close(&transport);
        });
    }

    /// Ends the session of a polling client. Does nothing if the session uses a websocket.
    pub(crate) fn end_polling(&self, sid: Sid) {
        if let Some(packet) = close_packet(sid) {
            self.runtime.spawn(self.service.clone().call(packet));
        }
    }
}
