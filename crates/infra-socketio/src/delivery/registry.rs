//! All connections of this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{
    notifications::NotificationRepository,
    sessions::{Caller, SessionId},
    users::UserId,
};
use socketioxide::socket::Sid;

use crate::{
    delivery::{connection::Connection, user::UserChannel},
    engine::shared::Engine,
};

/// The connections by id, by user (in channels) and by session.
pub(crate) struct Registry {
    engine: Arc<Engine>,
    notifications: Arc<dyn NotificationRepository>,
    maps: Mutex<Maps>,
}

#[derive(Default)]
struct Maps {
    connections: HashMap<Sid, Arc<Connection>>,
    channels: HashMap<UserId, Arc<UserChannel>>,
    /// Channels whose last connection left recently, until they have nothing to remember.
    idle_channels: HashMap<UserId, Arc<UserChannel>>,
    sessions: HashMap<SessionId, Vec<Sid>>,
}

impl Registry {
    pub(crate) fn new(engine: Arc<Engine>, notifications: Arc<dyn NotificationRepository>) -> Self {
        Self { engine, notifications, maps: Mutex::default() }
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection to its user's channel.
    pub(crate) fn join(&self, connection: &Arc<Connection>) -> Arc<UserChannel> {
        let (user, mut maps) = (connection.user, self.maps());
        maps.connections.insert(connection.id, connection.clone());
        maps.sessions.entry(connection.session()).or_default().push(connection.id);
        let idle = maps.idle_channels.remove(&user);
        let new = || UserChannel::new(user, self.engine.clone(), self.notifications.clone());
        let channel = maps.channels.entry(user).or_insert_with(|| idle.unwrap_or_else(new));
        channel.join(connection.clone());
        channel.clone()
    }

    /// Replaces the token of a connection by one of the same user. `None` if the user has no such connection.
    pub(crate) fn renew(&self, id: Sid, caller: &Caller) -> Option<Arc<Connection>> {
        let mut maps = self.maps();
        let connection = maps.connections.get(&id).filter(|one| one.user == caller.user)?.clone();
        maps.remove_from_session(&connection);
        connection.renew(caller);
        maps.sessions.entry(caller.session).or_default().push(id);
        Some(connection)
    }

    /// Removes a connection.
    pub(crate) fn leave(&self, id: Sid) -> Option<Arc<Connection>> {
        let mut maps = self.maps();
        let connection = maps.connections.remove(&id)?;
        maps.remove_from_session(&connection);
        if maps.channels.get(&connection.user).is_some_and(|channel| channel.leave(id))
            && let Some(channel) = maps.channels.remove(&connection.user)
            && channel.must_be_kept()
        {
            maps.idle_channels.insert(connection.user, channel);
        }
        Some(connection)
    }

    /// Drops channels without connections that have nothing to remember any more.
    pub(crate) fn drop_idle_channels(&self) {
        self.maps().idle_channels.retain(|_, channel| channel.must_be_kept());
    }

    pub(crate) fn of_sessions(&self, sessions: &[SessionId]) -> Vec<Arc<Connection>> {
        let maps = self.maps();
        let ids = sessions.iter().filter_map(|session| maps.sessions.get(session)).flatten();
        ids.filter_map(|id| maps.connections.get(id)).cloned().collect()
    }

    /// Returns the sessions of all connections.
    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.maps().sessions.keys().copied().collect()
    }

    /// Returns the channel of a connected user.
    pub(crate) fn channel(&self, user: UserId) -> Option<Arc<UserChannel>> {
        self.maps().channels.get(&user).cloned()
    }

    /// Returns when the connections of a user were opened, in milliseconds since 1970.
    pub(crate) fn opening_times(&self, user: UserId) -> Vec<i64> {
        self.channel(user).map(|channel| channel.opening_times()).unwrap_or_default()
    }

    /// Returns the channels of all connected users.
    pub(crate) fn channels(&self) -> Vec<Arc<UserChannel>> {
        self.maps().channels.values().cloned().collect()
    }

    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.maps().connections.values().cloned().collect()
    }

    /// Returns the number of connections and of connected users.
    pub(crate) fn count(&self) -> (usize, usize) {
        let maps = self.maps();
        (maps.connections.len(), maps.channels.len())
    }
}

impl Maps {
    fn remove_from_session(&mut self, connection: &Connection) {
        let session = connection.session();
        if let Some(ids) = self.sessions.get_mut(&session) {
            ids.retain(|id| *id != connection.id);
            if ids.is_empty() {
                self.sessions.remove(&session);
            }
        }
    }
}
