//! State shared by all requests of the engine.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use engineioxide::service::NotFoundService;
use http_body_util::{BodyExt, Collected, Full};
use socketioxide::{SocketIo, service::SocketIoService, socket::Sid};
use tokio::{runtime::Handle, time::sleep};
use tokio_util::{context::TokioContext, sync::CancellationToken};
use tower_service::Service;

use crate::{
    config::SocketConfig,
    engine::{
        request::PATH,
        transport::{Transport, Transports},
    },
    metrics::MetricsSnapshot,
};

/// How long a refused polling client has for reading the reason.
const REFUSAL_GRACE: Duration = Duration::from_millis(500);

/// The Engine.IO service, its transports and its limits.
pub(crate) struct Engine {
    pub(crate) service: SocketIoService<NotFoundService>,
    pub(crate) config: SocketConfig,
    pub(crate) runtime: Handle,
    pub(crate) transports: Arc<Transports>,
    counters: Mutex<MetricsSnapshot>,
    /// Cancelled when the server stops: it refuses new connections from then on.
    pub(crate) stopping: CancellationToken,
}

impl Engine {
    /// Creates the engine and the Socket.IO server on top of it.
    pub(crate) fn new(config: SocketConfig) -> (Self, SocketIo) {
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
        let engine = Self {
            service,
            config,
            runtime: Handle::current(),
            transports: Arc::default(),
            counters: Mutex::default(),
            stopping: CancellationToken::new(),
        };
        (engine, io)
    }

    /// Locks the counters, to increment one or to read all. The gauges are always 0 here.
    pub(crate) fn counters(&self) -> MutexGuard<'_, MetricsSnapshot> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a polling request inside the main runtime, so that the tasks it spawns live there: HTTP workers end before
    /// their clients leave.
    pub(crate) async fn call(&self, request: http::Request<Full<Bytes>>) -> http::Response<Bytes> {
        // Called within the runtime too, because tasks may be spawned then.
        let response = async { self.service.clone().call(request).await };
        let response = TokioContext::new(response, self.runtime.clone()).await;
        let (head, body) = response.unwrap_or_else(|never| match never {}).into_parts();
        // Never fails: the engine's bodies are in memory.
        let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
        http::Response::from_parts(head, body)
    }

    /// Closes a transport so that its client may reconnect. After a disconnect packet it would not.
    pub(crate) fn close(&self, transport: &Transport) {
        if transport.closed.is_cancelled() {
            return;
        }
        transport.closed.cancel();
        // The engine ends a session whose websocket closes, but not a polling one.
        if !transport.has_websocket.load(Ordering::Relaxed)
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
        // An Engine.IO close packet.
        let request = http::Request::post(format!("{PATH}/?EIO=4&transport=polling&sid={sid}"));
        if let Ok(request) = request.body(Full::new(Bytes::from_static(b"1"))) {
            self.runtime.spawn(self.service.clone().call(request));
        }
    }
}
