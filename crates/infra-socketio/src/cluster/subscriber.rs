//! Receives the messages of other processes from Redis.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, FromRedisValue, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::cluster::message::{ClusterMessage, Envelope};

/// Maximum time for a response of Redis.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum delay before Redis is connected again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Maximum number of received messages that wait to be handled. Beyond it they are dropped, and the process catches up.
const MAX_QUEUED_EVENTS: usize = 10_000;

/// What Redis delivered.
#[derive(Debug)]
pub(crate) enum ClusterEvent {
    /// The subscription begins. Messages before it may have been missed.
    Subscribed,
    /// A message of another process.
    Message { sender: String, message: ClusterMessage },
}

/// The receiving end of the subscription.
pub(crate) struct ClusterReceiver {
    events: mpsc::Receiver<ClusterEvent>,
    has_overflowed: Arc<AtomicBool>,
}

struct ClusterSender {
    events: mpsc::Sender<ClusterEvent>,
    has_overflowed: Arc<AtomicBool>,
    channel: String,
    /// The name of this process.
    own_name: String,
}

impl ClusterReceiver {
    /// Returns the next event; `None` without Redis.
    pub(crate) async fn receive(&mut self) -> Option<ClusterEvent> {
        self.events.recv().await
    }

    /// Returns whether events were dropped since the last call.
    pub(crate) fn take_overflow(&self) -> bool {
        self.has_overflowed.swap(false, Ordering::Relaxed)
    }

    /// Creates a receiver that receives nothing, for a single process.
    pub(crate) fn closed() -> Self {
        Self { events: mpsc::channel(1).1, has_overflowed: Arc::default() }
    }
}

/// Prepares a connection that reconnects, and the receiver of what is published on `channel`. Redis need not run yet.
///
/// # Errors
/// If the URL is invalid.
pub(crate) fn connect(
    url: &str,
    channel: String,
    own_name: String,
) -> RedisResult<(ConnectionManager, ClusterReceiver)> {
    let (sender, events) = mpsc::channel(MAX_QUEUED_EVENTS);
    let has_overflowed = Arc::<AtomicBool>::default();
    let receiver = ClusterReceiver { events, has_overflowed: has_overflowed.clone() };
    let sender = ClusterSender { events: sender, has_overflowed, channel, own_name };
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let client = Client::open(info.set_redis_settings(settings))?;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(RESPONSE_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_max_delay(MAX_RECONNECT_DELAY)
        .set_number_of_retries(1)
        .set_automatic_resubscription()
        .set_push_sender(move |push: PushInfo| {
            sender.on_push(push);
            Ok::<(), Infallible>(())
        });
    Ok((ConnectionManager::new_lazy_with_config(client, config)?, receiver))
}

impl ClusterSender {
    /// Queues what Redis pushed, without waiting.
    fn on_push(&self, push: PushInfo) {
        let event = match push.kind {
            PushKind::Subscribe => ClusterEvent::Subscribed,
            PushKind::Message => match self.parse(push) {
                Some(Envelope { sender, .. }) if sender == self.own_name => return,
                Some(Envelope { sender, message }) => ClusterEvent::Message { sender, message },
                None => return tracing::warn!("ignored a message that is not from a server process"),
            },
            _ => return,
        };
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            self.has_overflowed.store(true, Ordering::Relaxed);
        }
    }

    fn parse(&self, push: PushInfo) -> Option<Envelope<ClusterMessage>> {
        let mut parts = push.data.into_iter();
        let channel = String::from_redis_value(parts.next()?).ok()?;
        let payload = Vec::<u8>::from_redis_value(parts.next()?).ok()?;
        if channel != self.channel {
            return None;
        }
        serde_json::from_slice(&payload).ok()
    }
}
