//! Publishes messages to other processes over Redis.
//!
//! The Redis adapter of the Socket.IO library is not used. It publishes before it delivers locally, so a lost Redis would
//! silence the process itself; its connection does not come back; and it sends straight to clients, past the order that
//! user channels keep.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{Error, Result};
use redis::{RedisResult, aio::ConnectionManager};
use socketioxide::socket::Sid;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    cluster::{
        message::ClusterMessage,
        seal::{Seal, SealedReceiver},
        subscriber::{self, ClusterEvent},
    },
    delivery::{
        queue::{LossyReceiver, LossySender, lossy_queue},
        registry::Registry,
    },
    engine::shared::Engine,
};

/// Maximum number of messages that wait, for Redis or after they were received. Beyond it they are dropped, and the
/// processes that would have received them catch up.
const MAX_QUEUED_MESSAGES: usize = 10_000;

/// Maximum number of messages published in one round trip.
const MAX_BATCH_SIZE: usize = 100;

/// Time between two checks of Redis.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Number of checks between two heartbeats.
const CHECKS_PER_HEARTBEAT: u32 = 5;

/// The sending end of the queue to Redis.
pub(crate) struct ClusterPublisher {
    queue: LossySender<ClusterMessage>,
    is_up: Arc<AtomicBool>,
}

/// The task that publishes.
struct PublisherTask {
    registry: Arc<Registry>,
    engine: Arc<Engine>,
    redis: ConnectionManager,
    seal: Seal,
    own_name: String,
    /// Number of messages so far.
    published: u64,
    queue: LossyReceiver<ClusterMessage>,
    is_up: Arc<AtomicBool>,
    is_lost: bool,
    /// Whether other processes may have missed messages of this one.
    must_catch_up: bool,
}

impl ClusterPublisher {
    /// Starts the task that publishes what is queued, and returns the receiver of what others publish. `None` for a single
    /// process, without Redis.
    ///
    /// # Errors
    /// If the Redis URL is invalid.
    pub(crate) fn start(
        engine: &Arc<Engine>,
        registry: &Arc<Registry>,
    ) -> Result<(Option<Self>, LossyReceiver<ClusterEvent>)> {
        let (events, receiver) = lossy_queue(MAX_QUEUED_MESSAGES);
        let Some(url) = &engine.config.redis_url else { return Ok((None, receiver)) };
        let (seal, own_name) = (Seal::new(&engine.config), Sid::new().to_string());
        let received = SealedReceiver::new(seal.clone(), own_name.clone());
        let redis = subscriber::connect(url, engine.clone(), received, events).map_err(Error::internal)?;
        let (sender, queue) = lossy_queue(MAX_QUEUED_MESSAGES);
        let is_up = Arc::<AtomicBool>::default();
        let task = PublisherTask {
            registry: registry.clone(),
            engine: engine.clone(),
            redis,
            seal,
            own_name,
            published: 0,
            queue,
            is_up: is_up.clone(),
            is_lost: false,
            must_catch_up: false,
        };
        engine.runtime.spawn(task.run());
        Ok((Some(Self { queue: sender, is_up }), receiver))
    }

    /// Returns whether Redis responded to the last command.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Queues a message, without waiting.
    pub(crate) fn publish(&self, message: ClusterMessage) {
        self.queue.send(message);
    }
}

impl PublisherTask {
    /// Publishes until the publisher is dropped.
    async fn run(mut self) {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_subscribed = false;
        let mut checks_until_heartbeat = 0;
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                is_open = self.queue.receive(&mut batch, MAX_BATCH_SIZE) => {
                    if !is_open {
                        return;
                    }
                    self.must_catch_up |= self.queue.take_overflow();
                    // While Redis is lost only the checks ask for it, so that nothing waits for its timeouts.
                    self.must_catch_up |= self.is_lost || !self.publish(&batch).await;
                    batch.clear();
                }
                _ = checks.tick() => {
                    let is_up = self.ping().await;
                    // The connection subscribes again by itself after a loss; a second subscription does no harm.
                    is_subscribed &= is_up;
                    if is_up && !is_subscribed {
                        is_subscribed = self.redis.subscribe(&self.engine.config.redis_channel).await.is_ok();
                    }
                    if is_up && self.must_catch_up {
                        self.must_catch_up = !self.publish(&[ClusterMessage::CatchUp]).await;
                    }
                    checks_until_heartbeat = match checks_until_heartbeat {
                        0 if is_up && self.send_heartbeat().await => CHECKS_PER_HEARTBEAT - 1,
                        checks => u32::saturating_sub(checks, 1),
                    };
                }
            }
        }
    }

    async fn publish(&mut self, messages: &[ClusterMessage]) -> bool {
        let mut pipe = redis::pipe();
        for message in messages {
            self.published += 1;
            match self.seal.seal(&self.own_name, self.published, message) {
                Ok(payload) => pipe.publish(&self.engine.config.redis_channel, payload).ignore(),
                Err(error) => {
                    tracing::error!(%error, "failed to serialize a message to other processes");
                    continue;
                }
            };
        }
        let result = pipe.query_async::<()>(&mut self.redis).await;
        self.note_result(&result)
    }

    /// Publishes all connections of this process, which corrects whatever got lost of the changes in between.
    async fn send_heartbeat(&mut self) -> bool {
        if self.engine.stopping.is_cancelled() {
            return true;
        }
        let channels = self.registry.channels();
        let users = channels.iter().map(|channel| (channel.user.0, channel.opening_times())).collect();
        self.publish(&[ClusterMessage::PresenceSnapshot(users)]).await
    }

    async fn ping(&mut self) -> bool {
        let result = redis::cmd("PING").query_async::<()>(&mut self.redis).await;
        self.note_result(&result)
    }

    /// Records whether Redis responds, and logs each loss and each return once.
    fn note_result(&mut self, result: &RedisResult<()>) -> bool {
        match result {
            Ok(()) if self.is_lost => {
                tracing::info!("connected to Redis again, live events reach other processes");
            }
            Err(error) if !self.is_lost => {
                self.engine.counters().redis_losses += 1;
                tracing::warn!(%error, "lost Redis, live events do not reach other processes until it is back");
            }
            _ => {}
        }
        self.is_lost = result.is_err();
        self.is_up.store(result.is_ok(), Ordering::Relaxed);
        result.is_ok()
    }
}
