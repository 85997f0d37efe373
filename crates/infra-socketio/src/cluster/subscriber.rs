//! Receives the messages of other processes from Redis.

use std::{convert::Infallible, sync::Arc, time::Duration};

use redis::{
    Client, FromRedisValue, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::{
    cluster::{
        message::ClusterMessage,
        seal::{Received, SealedReceiver},
    },
    delivery::queue::LossySender,
    engine::shared::Engine,
};

/// Maximum time for a response of Redis.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum delay before Redis is connected again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// What Redis delivered.
#[derive(Debug)]
pub(crate) enum ClusterEvent {
    /// The subscription begins. Messages before it may have been missed.
    Subscribed,
    /// A message of another process.
    Message { sender: String, message: ClusterMessage },
}

/// Prepares a connection that reconnects and subscribes again by itself. What other processes publish is sent to `events`,
/// without waiting. Redis need not run yet.
///
/// # Errors
/// If the URL is invalid.
pub(crate) fn connect(
    url: &str,
    engine: Arc<Engine>,
    received: SealedReceiver,
    events: LossySender<ClusterEvent>,
) -> RedisResult<ConnectionManager> {
    let on_push = move |push: PushInfo| {
        match push.kind {
            PushKind::Subscribe => events.send(ClusterEvent::Subscribed),
            PushKind::Message => match received.receive(&payload(push).unwrap_or_default()) {
                Received::Message(sender, message) => {
                    events.send(ClusterEvent::Message { sender, message });
                }
                Received::Own => {}
                Received::Rejected => note_rejected(&engine),
            },
            _ => {}
        }
        Ok::<(), Infallible>(())
    };
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(RESPONSE_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_max_delay(MAX_RECONNECT_DELAY)
        .set_number_of_retries(1)
        .set_automatic_resubscription()
        .set_push_sender(on_push);
    ConnectionManager::new_lazy_with_config(Client::open(info.set_redis_settings(settings))?, config)
}

/// Returns the payload of a published message, which comes after the name of the channel.
fn payload(push: PushInfo) -> Option<Vec<u8>> {
    Vec::from_redis_value(push.data.into_iter().nth(1)?).ok()
}

/// Counts a message that is not from a process with our key. Only the first is logged: there may be very many.
fn note_rejected(engine: &Engine) {
    let mut counters = engine.counters();
    counters.rejected_messages += 1;
    if counters.rejected_messages == 1 {
        tracing::warn!(
            "rejected a message from Redis that was forged, altered or repeated, or is of a process with another \
             SECRET_KEY or version; further ones are only counted"
        );
    }
}
