//! What has happened so far.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) connected: Counter,
    pub(crate) rejected: Counter,
    pub(crate) sent: Counter,
    pub(crate) replayed: Counter,
    pub(crate) too_slow: Counter,
    pub(crate) too_much_data: Counter,
    pub(crate) evicted: Counter,
    pub(crate) revoked: Counter,
    pub(crate) expired: Counter,
}

/// Counters since the start, and the gauges `open` and `users`, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Connections that are open and authenticated.
    pub open: usize,
    /// Users who have at least one.
    pub users: usize,
    /// Engine.IO sessions, authenticated or not yet.
    pub transports: usize,
    /// Connections that were let in.
    pub connected: u64,
    /// Connections that were refused.
    pub rejected: u64,
    /// Live notifications handed to a connection.
    pub sent: u64,
    /// Missed notifications handed to a connection.
    pub replayed: u64,
    /// Connections closed because their client did not keep up.
    pub too_slow: u64,
    /// Connections closed because their client sent too much.
    pub too_much_data: u64,
    /// Connections closed because their user opened newer ones.
    pub evicted: u64,
    /// Connections closed because their session ended.
    pub revoked: u64,
    /// Connections closed because their token expired.
    pub expired: u64,
}

impl Counts {
    pub(crate) fn read(&self, open: usize, users: usize, transports: usize) -> Counters {
        Counters {
            open,
            users,
            transports,
            connected: self.connected.get(),
            rejected: self.rejected.get(),
            sent: self.sent.get(),
            replayed: self.replayed.get(),
            too_slow: self.too_slow.get(),
            too_much_data: self.too_much_data.get(),
            evicted: self.evicted.get(),
            revoked: self.revoked.get(),
            expired: self.expired.get(),
        }
    }
}
