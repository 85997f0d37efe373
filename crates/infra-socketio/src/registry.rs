//! Who is connected.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::{sessions::SessionId, users::UserId};
use socketioxide::socket::Sid;

#[cfg(feature = "redis")]
use crate::peers::Times;
use crate::{SocketCaller, channel::Channel, connection::Connection};

/// For how long an ended session is remembered: longer than anybody takes between showing a token and connecting.
const REMEMBERED: Duration = Duration::from_mins(5);

/// All connections: by id, by user (whose channel has them), by session.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Maps>);

#[derive(Default)]
struct Maps {
    connections: HashMap<Sid, Arc<Connection>>,
    channels: HashMap<UserId, Arc<Channel>>,
    sessions: HashMap<SessionId, Vec<Sid>>,
    ended: HashMap<SessionId, Instant>,
}

impl Registry {
    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection; `false` if its session has ended, after its token was checked.
    pub(crate) fn join(&self, connection: &Arc<Connection>) -> bool {
        let session = connection.session();
        let mut maps = self.maps();
        if maps.ended.contains_key(&session) {
            return false;
        }
        maps.connections.insert(connection.id, connection.clone());
        maps.sessions.entry(session).or_default().push(connection.id);
        let channel = maps.channels.entry(connection.user).or_insert_with(|| Channel::new(connection.user));
        channel.join(connection.clone());
        true
    }

    /// Lets a connection live by another token; `false` if its session has ended.
    pub(crate) fn renew(&self, connection: &Connection, caller: &SocketCaller) -> bool {
        let mut maps = self.maps();
        if maps.ended.contains_key(&caller.session) || !maps.connections.contains_key(&connection.id) {
            return false;
        }
        maps.unbind(connection);
        connection.renew(caller);
        maps.sessions.entry(caller.session).or_default().push(connection.id);
        true
    }

    /// Takes a connection out.
    pub(crate) fn leave(&self, id: Sid) -> Option<Arc<Connection>> {
        let mut maps = self.maps();
        let connection = maps.connections.remove(&id)?;
        maps.unbind(&connection);
        if let Some(channel) = maps.channels.get(&connection.user)
            && channel.leave(id) == 0
        {
            maps.channels.remove(&connection.user);
        }
        Some(connection)
    }

    /// The connections of sessions that have just ended. None of them can join again.
    pub(crate) fn end(&self, sessions: &[SessionId]) -> Vec<Arc<Connection>> {
        let now = Instant::now();
        let mut maps = self.maps();
        maps.ended.retain(|_, at| now.duration_since(*at) < REMEMBERED);
        maps.ended.extend(sessions.iter().map(|session| (*session, now)));
        let ids = sessions.iter().filter_map(|session| maps.sessions.get(session)).flatten();
        ids.filter_map(|id| maps.connections.get(id)).cloned().collect()
    }

    pub(crate) fn find(&self, id: Sid) -> Option<Arc<Connection>> {
        self.maps().connections.get(&id).cloned()
    }

    pub(crate) fn channel(&self, user: UserId) -> Option<Arc<Channel>> {
        self.maps().channels.get(&user).cloned()
    }

    /// When the connections of a user began, in milliseconds since 1970.
    #[cfg(feature = "redis")]
    pub(crate) fn times(&self, user: UserId) -> Times {
        self.channel(user).map(|channel| channel.times()).unwrap_or_default()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn channels(&self) -> Vec<Arc<Channel>> {
        self.maps().channels.values().cloned().collect()
    }

    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.maps().connections.values().cloned().collect()
    }

    /// How many connections, and how many users.
    pub(crate) fn count(&self) -> (usize, usize) {
        let maps = self.maps();
        (maps.connections.len(), maps.channels.len())
    }
}

impl Maps {
    fn unbind(&mut self, connection: &Connection) {
        let session = connection.session();
        if let Some(ids) = self.sessions.get_mut(&session) {
            ids.retain(|id| *id != connection.id);
            if ids.is_empty() {
                self.sessions.remove(&session);
            }
        }
    }
}
