//! Several server processes: what one of them is told, all of them hear of, by Redis.
//!
//! The adapter of the Socket.IO library is not used for it. It publishes before it delivers locally, so that a lost
//! Redis would silence the process itself; its connection does not come back; and it sends straight to clients, past
//! the order that `crate::channel` keeps. Here words cross over that are no more than signs: what clients get is
//! read from the database by their own process. So a word may be lost, and is made up for when Redis is back: every
//! process then looks for itself what it has missed.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use domain::{Error, Result, notifications::NotificationId, sessions::SessionId, users::UserId};
use redis::{
    Client, FromRedisValue, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{MissedTickBehavior, interval},
};

use crate::{channel::Sign, events::Change, hub::Hub};

/// How many words may wait for Redis. What is beyond is made up for later.
const MAX_WAITING: usize = 10_000;

/// How many are published in one round trip.
const BATCH: usize = 100;

/// How long Redis has for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often it is looked whether Redis is there.
const ROUND: Duration = Duration::from_secs(1);

/// What one process tells the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    /// A user has this notification, or some.
    New(i64, Option<i64>),
    /// Something else of a user has changed.
    Change(i64, Change),
    /// Sessions have ended.
    Ended(Vec<i64>),
    /// Words may have been lost.
    CatchUp,
}

impl Word {
    pub(crate) fn of(user: UserId, sign: &Sign) -> Self {
        match sign {
            Sign::New(id) => Self::New(user.0, id.map(|id| id.0)),
            Sign::Change(change) => Self::Change(user.0, change.clone()),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Message<W> {
    /// The process that says it. It has heard it already.
    from: String,
    word: W,
}

/// The way to the other processes.
pub(crate) struct Backplane {
    words: Sender<Word>,
}

impl Backplane {
    /// Begins to speak and to listen. Redis need not be there yet.
    pub(crate) fn start(hub: Weak<Hub>, url: &str, topic: String) -> Result<(Self, Speaker)> {
        let (words, waiting) = channel(MAX_WAITING);
        let from = socketioxide::socket::Sid::new().to_string();
        let manager = connect(hub.clone(), url, topic.clone(), from.clone()).map_err(Error::internal)?;
        Ok((
            Self { words },
            Speaker { hub, manager, topic, from, waiting, is_lost: false, owes_catch_up: false },
        ))
    }

    /// Tells the others. It never waits: a word for which there is no room is made up for later.
    pub(crate) fn say(&self, word: Word) {
        let _ = self.words.try_send(word);
    }
}

fn connect(hub: Weak<Hub>, url: &str, topic: String, from: String) -> RedisResult<ConnectionManager> {
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let client = Client::open(info.set_redis_settings(settings))?;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(TIMEOUT))
        .set_max_delay(ROUND)
        .set_number_of_retries(1)
        .set_automatic_resubscription()
        .set_push_sender(move |push: PushInfo| {
            if let Some(hub) = hub.upgrade() {
                hear(&hub, push, &topic, &from);
            }
            Ok::<(), Infallible>(())
        });
    ConnectionManager::new_lazy_with_config(client, config)
}

/// Takes what Redis sends. It does not wait for anything.
fn hear(hub: &Arc<Hub>, push: PushInfo, topic: &str, from: &str) {
    match push.kind {
        // From now on nothing is missed; until now something may have been.
        PushKind::Subscribe => catch_up(hub),
        PushKind::Message => match read(push, topic) {
            Some(message) if message.from != from => obey(hub, message.word),
            Some(_) => {}
            None => tracing::warn!("a message of another process cannot be read"),
        },
        _ => {}
    }
}

fn read(push: PushInfo, topic: &str) -> Option<Message<Word>> {
    let mut parts = push.data.into_iter();
    let heard_on = String::from_redis_value(parts.next()?).ok()?;
    let payload = Vec::<u8>::from_redis_value(parts.next()?).ok()?;
    if heard_on != topic {
        return None;
    }
    serde_json::from_slice(&payload).ok()
}

fn obey(hub: &Arc<Hub>, word: Word) {
    match word {
        Word::New(user, id) => hub.tell(UserId(user), Sign::New(id.map(NotificationId))),
        Word::Change(user, change) => hub.tell(UserId(user), Sign::Change(change)),
        Word::Ended(sessions) => {
            let sessions: Vec<_> = sessions.into_iter().map(SessionId).collect();
            hub.use_cases.revoked(&sessions);
            hub.close_sessions(&sessions);
        }
        Word::CatchUp => catch_up(hub),
    }
}

fn catch_up(hub: &Arc<Hub>) {
    let catcher = hub.clone();
    hub.runtime.spawn(async move { catcher.catch_up().await });
}

/// Publishes the words, and sees to it that Redis is heard.
pub(crate) struct Speaker {
    hub: Weak<Hub>,
    manager: ConnectionManager,
    topic: String,
    from: String,
    waiting: Receiver<Word>,
    is_lost: bool,
    /// The others may have missed words of ours.
    owes_catch_up: bool,
}

impl Speaker {
    /// Works for as long as the hub lives.
    pub(crate) async fn work(mut self) {
        let mut round = interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_subscribed = false;
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = self.waiting.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    // The queue was full: words have been dropped.
                    self.owes_catch_up |= self.waiting.len() + count >= MAX_WAITING;
                    // While Redis is lost only the rounds ask for it, and nobody waits for its time-outs.
                    self.owes_catch_up |= self.is_lost || !self.publish(&batch).await;
                    batch.clear();
                }
                _ = round.tick() => {
                    let is_there = self.ask().await;
                    // The manager subscribes again by itself whenever it has lost the connection. Once more does not harm.
                    is_subscribed &= is_there;
                    if is_there && !is_subscribed {
                        is_subscribed = self.manager.subscribe(&self.topic).await.is_ok();
                    }
                    if is_there && self.owes_catch_up {
                        self.owes_catch_up = !self.publish(&[Word::CatchUp]).await;
                    }
                }
            }
            if self.hub.strong_count() == 0 {
                return;
            }
        }
    }

    async fn publish(&mut self, words: &[Word]) -> bool {
        let mut pipe = redis::pipe();
        for word in words {
            let message = Message { from: self.from.clone(), word };
            match serde_json::to_vec(&message) {
                Ok(payload) => pipe.cmd("PUBLISH").arg(&self.topic).arg(payload).ignore(),
                Err(error) => {
                    tracing::error!(%error, "a word for other processes cannot be serialized");
                    continue;
                }
            };
        }
        let result = pipe.query_async::<()>(&mut self.manager).await;
        self.note(&result)
    }

    async fn ask(&mut self) -> bool {
        let result = redis::cmd("PING").query_async::<()>(&mut self.manager).await;
        self.note(&result)
    }

    /// Logs the loss of Redis, and its return, once.
    fn note(&mut self, result: &RedisResult<()>) -> bool {
        match result {
            Ok(()) if self.is_lost => {
                tracing::info!("Redis is back, live events reach other processes again");
            }
            Err(error) if !self.is_lost => {
                tracing::warn!(%error, "Redis is lost, live events stay in this process until it is back");
            }
            _ => {}
        }
        self.is_lost = result.is_err();
        result.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{NotificationDeleted, NotificationRead};

    #[test]
    fn words_survive_the_way() {
        for word in [
            Word::New(1, Some(2)),
            Word::New(1, None),
            Word::Change(1, Change::Read(NotificationRead::These { ids: vec![5], unread_count: 4 })),
            Word::Change(1, Change::Read(NotificationRead::All { all: true, unread_count: 0 })),
            Word::Change(1, Change::Deleted(NotificationDeleted { id: 5, unread_count: 4 })),
            Word::Ended(vec![7, 8]),
            Word::CatchUp,
        ] {
            let sent = serde_json::to_vec(&Message { from: "a".into(), word: &word }).unwrap();
            let heard: Message<Word> = serde_json::from_slice(&sent).unwrap();
            assert_eq!(heard.word, word);
        }
    }
}
