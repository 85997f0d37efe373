//! A user's channel: all their connections, and the order in which these hear of things.
//!
//! Nothing is lost, doubled or out of order, because an event is only the sign that something has come: what is sent
//! is read from the database, above what was sent last. The id of a notification is taken under the lock of its
//! recipient's row, so that among those of one recipient a larger id was committed later: whoever has read up to an
//! id has all below it. Signs may thus come late, twice or in any order, or over Redis without content, and a client
//! that connects with `since` is served by the same reads.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::{
    notifications::{Activity, NotificationId, NotificationView},
    users::UserId,
};
use socketioxide::socket::Sid;
use tokio::time::sleep;

use crate::{
    connection::{Connection, Sent},
    events::{Change, NewNotification, names},
    hub::Hub,
};

/// How many are read at once.
const BATCH: usize = 200;

/// How many changes may wait while the database does not answer.
const MAX_WAITING: usize = 256;

/// A deed that is taken back and done again within a minute causes no sign. Its row must not come along with another
/// one's sign either. A little less than the minute, so that nothing is silenced that did cause a sign.
const QUIET: Duration = Duration::from_secs(55);

/// How long to wait until the database is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// A user's connections.
pub(crate) struct Channel {
    pub(crate) user: UserId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: Vec<Arc<Connection>>,
    waiting: VecDeque<Sign>,
    /// Whether somebody works the queue off.
    is_busy: bool,
    told: Told,
}

/// What the connections should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sign {
    /// There is a notification, this one or some.
    New(Option<NotificationId>),
    /// Something else has changed.
    Change(Change),
}

impl Channel {
    pub(crate) fn new(user: UserId) -> Arc<Self> {
        Arc::new(Self { user, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection.
    pub(crate) fn join(&self, connection: Arc<Connection>) {
        self.state().connections.push(connection);
    }

    /// When each connection began, in milliseconds since 1970.
    #[cfg(feature = "redis")]
    pub(crate) fn times(&self) -> Vec<i64> {
        self.state().connections.iter().map(|connection| connection.began).collect()
    }

    /// Those that are not among the `limit` newest of these connections and of others that began `elsewhere`.
    pub(crate) fn beyond(&self, limit: usize, elsewhere: &[i64]) -> Vec<Arc<Connection>> {
        let state = self.state();
        let newer = |at: usize, began: i64| {
            // The later to join is the newer here, whatever the clock says.
            let here = state.connections.len() - 1 - at;
            here + elsewhere.iter().filter(|other| **other > began).count()
        };
        let connections = state.connections.iter().enumerate();
        connections.filter(|(at, one)| newer(*at, one.began) >= limit).map(|(_, one)| one.clone()).collect()
    }

    /// Takes a connection out, and says how many are left.
    pub(crate) fn leave(&self, id: Sid) -> usize {
        let mut state = self.state();
        state.connections.retain(|connection| connection.id != id);
        state.connections.len()
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.state().connections.clone()
    }

    /// Lets the connections hear of something, in order. It returns at once.
    pub(crate) fn tell(self: &Arc<Self>, hub: &Arc<Hub>, sign: Sign) {
        let mut state = self.state();
        if let (Sign::New(id), Some(Sign::New(last))) = (&sign, state.waiting.back_mut()) {
            // One read serves both.
            *last = id.as_ref().zip(last.as_ref()).map(|(id, last)| *id.max(last));
        } else if state.waiting.len() < MAX_WAITING {
            state.waiting.push_back(sign);
        } else {
            // Whoever connects again sees how things stand.
            state.waiting.clear();
            return state.connections.iter().for_each(|connection| hub.close(&connection.transport));
        }
        if !std::mem::replace(&mut state.is_busy, true) {
            let (channel, worker) = (self.clone(), hub.clone());
            hub.runtime.spawn(async move { channel.work(&worker).await });
        }
    }

    async fn work(self: &Arc<Self>, hub: &Arc<Hub>) {
        loop {
            let sign = {
                let mut state = self.state();
                let Some(sign) = state.waiting.pop_front() else {
                    state.is_busy = false;
                    return;
                };
                sign
            };
            match sign {
                Sign::New(id) => self.send_new(hub, id).await,
                Sign::Change(change) => {
                    for connection in self.connections() {
                        let sent = connection.send_change(&change, hub.config.queue);
                        self.settle(hub, &connection, sent, Some(&change));
                    }
                }
            }
        }
    }

    /// Sends every notification that some connection does not have, in order of their ids.
    async fn send_new(self: &Arc<Self>, hub: &Arc<Hub>, id: Option<NotificationId>) {
        loop {
            // Those that join take note, and look for themselves.
            let Some(cursor) = self.connections().iter().filter_map(|connection| connection.cursor()).min()
            else {
                return;
            };
            if id.is_some_and(|id| id <= cursor) {
                return;
            }
            let rows = match hub.use_cases.missed_since(self.user, cursor, BATCH).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::warn!(user.id = self.user.0, %error, "new notifications cannot be read, trying again");
                    sleep(RETRY).await;
                    continue;
                }
            };
            for row in &rows {
                self.send(hub, row);
            }
            if rows.len() < BATCH {
                return;
            }
        }
    }

    fn send(self: &Arc<Self>, hub: &Arc<Hub>, row: &NotificationView) {
        let body = self.is_news(row).then(|| NewNotification::new(row.clone(), false));
        for connection in self.connections() {
            if let Some(sent) = connection.send_notification(row.id, body.as_ref()) {
                if sent == Sent::Yes {
                    hub.counters.sent.add();
                }
                self.settle(hub, &connection, sent, None);
            }
        }
    }

    fn is_news(&self, row: &NotificationView) -> bool {
        self.state().told.is_new(row, Instant::now())
    }

    /// A client that does not keep up gets the rest by itself, so that the user's others do not wait for it.
    fn settle(
        self: &Arc<Self>,
        hub: &Arc<Hub>,
        connection: &Arc<Connection>,
        sent: Sent,
        change: Option<&Change>,
    ) {
        if sent != Sent::TooSlow {
            return;
        }
        match connection.fall_behind(change) {
            Some(cursor) => {
                let (channel, follower, connection) = (self.clone(), hub.clone(), connection.clone());
                hub.runtime.spawn(async move { channel.follow(&follower, &connection, cursor).await });
            }
            None => hub.settle(connection, sent),
        }
    }

    /// Sends one connection what it does not have, as fast as it takes it, until it has all.
    async fn follow(&self, hub: &Arc<Hub>, connection: &Connection, mut cursor: NotificationId) {
        let patience = hub.config.patience;
        while !connection.transport.closed.is_cancelled() {
            let rows = match hub.use_cases.missed_since(self.user, cursor, BATCH).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::warn!(user.id = self.user.0, %error, "new notifications cannot be read, trying again");
                    sleep(RETRY).await;
                    continue;
                }
            };
            for row in rows.iter().filter(|row| self.is_news(row)) {
                let body = NewNotification::new(row.clone(), false);
                let sent = connection.send_patiently(names::NEW_NOTIFICATION, &body, patience).await;
                if sent != Sent::Yes {
                    return hub.settle(connection, sent);
                }
                hub.counters.sent.add();
            }
            cursor = rows.last().map_or(cursor, |row| row.id);
            if rows.len() < BATCH {
                return hub.let_live(connection, cursor).await;
            }
        }
    }
}

/// What has been told lately.
#[derive(Default)]
struct Told {
    at: HashMap<(UserId, Activity), (NotificationId, Instant)>,
    tidy_at: usize,
}

impl Told {
    /// Whether a notification is not just the repetition of one that was told a moment ago.
    fn is_new(&mut self, row: &NotificationView, now: Instant) -> bool {
        if self.at.len() >= self.tidy_at {
            self.at.retain(|_, (_, at)| now.duration_since(*at) < QUIET);
            self.tidy_at = (2 * self.at.len()).max(16);
        }
        let (told, at) = *self.at.entry((row.actor, row.activity)).or_insert((row.id, now));
        if told == row.id || now.duration_since(at) >= QUIET {
            self.at.insert((row.actor, row.activity), (row.id, now));
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::posts::PostId;

    use super::*;

    fn row(id: i64, actor: i64) -> NotificationView {
        NotificationView {
            id: NotificationId(id),
            recipient: UserId(1),
            actor: UserId(actor),
            actor_username: "ann".into(),
            activity: Activity::Like(PostId(1)),
            is_read: false,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_deed_that_is_done_again_within_a_minute_stays_quiet() {
        let (mut told, now) = (Told::default(), Instant::now());
        assert!(told.is_new(&row(1, 2), now));
        assert!(!told.is_new(&row(2, 2), now));
        assert!(told.is_new(&row(3, 4), now));
        assert!(told.is_new(&row(5, 2), now + QUIET));
    }

    #[test]
    fn the_same_notification_may_be_sent_to_another_connection() {
        let (mut told, now) = (Told::default(), Instant::now());
        assert!(told.is_new(&row(1, 2), now));
        assert!(told.is_new(&row(1, 2), now));
    }

    #[test]
    fn what_was_told_long_ago_is_forgotten() {
        let (mut told, now) = (Told::default(), Instant::now());
        for actor in 0..1000 {
            told.is_new(&row(actor, actor), now);
        }
        for actor in 0..2000 {
            told.is_new(&row(actor, actor + 5000), now + QUIET);
        }
        assert!(told.at.len() <= 2000);
    }
}
