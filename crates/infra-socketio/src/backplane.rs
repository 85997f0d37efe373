//! Several server processes: what one of them is told, all of them hear of, by Redis.
//!
//! The adapter of the Socket.IO library is not used for it. It publishes before it delivers locally, so that a lost
//! Redis would silence the process itself; its connection does not come back; and it sends straight to clients, past
//! the order that `crate::channel` keeps. Here words cross over that are no more than signs: what clients get is
//! read from the database by their own process. So a word may be lost, and is made up for when Redis is back: every
//! process then looks for itself what it has missed.

use std::{
    convert::Infallible,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
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

use crate::{channel::Sign, events::Change, hub::Hub, peers::Times};

/// How many words may wait for Redis. What is beyond is made up for later.
const MAX_WAITING: usize = 10_000;

/// How many are published in one round trip.
const BATCH: usize = 100;

/// How long Redis has for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often it is looked whether Redis is there.
const ROUND: Duration = Duration::from_secs(1);

/// Every so many rounds a process says which connections it has.
const ROLL_CALL: u32 = 5;

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
    /// A user has these connections to this process now; when each began.
    Has(i64, Times),
    /// This process has these connections now, and no others.
    HasAll(Vec<(i64, Times)>),
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
    is_up: Arc<AtomicBool>,
}

impl Backplane {
    /// Begins to speak and to listen. Redis need not be there yet.
    pub(crate) fn start(hub: Weak<Hub>, url: &str, topic: String) -> Result<(Self, Speaker)> {
        let (words, waiting) = channel(MAX_WAITING);
        let from = socketioxide::socket::Sid::new().to_string();
        let manager = connect(hub.clone(), url, topic.clone(), from.clone()).map_err(Error::internal)?;
        let is_up = Arc::<AtomicBool>::default();
        let speaker = Speaker {
            hub,
            manager,
            topic,
            from,
            waiting,
            is_up: is_up.clone(),
            is_lost: false,
            owes_catch_up: false,
        };
        Ok((Self { words, is_up }, speaker))
    }

    /// Whether Redis answered when it was last asked.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
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
            Some(message) if message.from != from => obey(hub, message.from, message.word),
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

fn obey(hub: &Arc<Hub>, from: String, word: Word) {
    match word {
        Word::New(user, id) => hub.tell(UserId(user), Sign::New(id.map(NotificationId))),
        Word::Change(user, change) => hub.tell(UserId(user), Sign::Change(change)),
        Word::Ended(sessions) => {
            let sessions: Vec<_> = sessions.into_iter().map(SessionId).collect();
            hub.use_cases.revoked(&sessions);
            hub.close_sessions(&sessions);
        }
        Word::CatchUp => catch_up(hub),
        Word::Has(user, times) => {
            hub.peers.has(&from, UserId(user), times);
            hub.hold_to_limit(UserId(user));
        }
        Word::HasAll(users) => {
            let users: Vec<_> = users.into_iter().map(|(user, times)| (UserId(user), times)).collect();
            hub.peers.has_all(from, users.iter().cloned());
            for (user, _) in users {
                hub.hold_to_limit(user);
            }
        }
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
    is_up: Arc<AtomicBool>,
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
        let mut until_roll_call = 0;
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
                    until_roll_call = match until_roll_call {
                        0 if is_there && self.call_roll().await => ROLL_CALL - 1,
                        rounds => u32::saturating_sub(rounds, 1),
                    };
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

    /// Says which connections there are. What gets lost of the words in between is mended by it.
    async fn call_roll(&mut self) -> bool {
        let Some(hub) = self.hub.upgrade() else { return false };
        if hub.is_closing() {
            return true;
        }
        let channels = hub.registry.channels();
        let users = channels.iter().map(|channel| (channel.user.0, channel.times())).collect();
        self.publish(&[Word::HasAll(users)]).await
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
        if result.is_err()
            && !self.is_lost
            && let Some(hub) = self.hub.upgrade()
        {
            hub.counters.others_lost.add();
        }
        self.is_lost = result.is_err();
        self.is_up.store(result.is_ok(), Ordering::Relaxed);
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
            Word::Has(1, vec![2, 3]),
            Word::HasAll(vec![(1, vec![2, 3]), (4, vec![5])]),
        ] {
            let sent = serde_json::to_vec(&Message { from: "a".into(), word: &word }).unwrap();
            let heard: Message<Word> = serde_json::from_slice(&sent).unwrap();
            assert_eq!(heard.word, word);
        }
    }
}
