//! Receives the messages of other processes from Redis.

use std::{convert::Infallible, time::Duration};

use redis::{
    Client, FromRedisValue, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::{
    cluster::message::{ClusterMessage, Envelope},
    delivery::queue::LossySender,
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

/// Prepares a connection that reconnects and subscribes again by itself. What Redis pushes is sent to `events`, without
/// waiting, unless it is from `own_name`, this process. Redis need not run yet.
///
/// # Errors
/// If the URL is invalid.
pub(crate) fn connect(
    url: &str,
    channel: String,
    own_name: String,
    events: LossySender<ClusterEvent>,
) -> RedisResult<ConnectionManager> {
    let on_push = move |push: PushInfo| {
        match push.kind {
            PushKind::Subscribe => events.send(ClusterEvent::Subscribed),
            PushKind::Message => match parse(push, &channel) {
                Some(Envelope { sender, .. }) if sender == own_name => {}
                Some(Envelope { sender, message }) => events.send(ClusterEvent::Message { sender, message }),
                None => tracing::warn!("ignored a message that is not from a server process"),
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

fn parse(push: PushInfo, channel: &str) -> Option<Envelope<ClusterMessage>> {
    let mut parts = push.data.into_iter();
    let published_on = String::from_redis_value(parts.next()?).ok()?;
    let payload = Vec::<u8>::from_redis_value(parts.next()?).ok()?;
    serde_json::from_slice(&payload).ok().filter(|_| published_on == channel)
}
