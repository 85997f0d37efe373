//! What has happened so far.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bridge::Refusal;

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
    pub(crate) others_lost: Counter,
    refused: [Counter; Refusal::ALL.len()],
}

/// Counters since the start, and the gauges `open`, `users`, `transports` and `others_up`, of this process.
///
/// Each socket that was let in leaves in its own time, or is closed for one of the reasons `too_slow`,
/// `too_much_data`, `evicted`, `revoked` and `expired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Connections that are open and authenticated.
    pub open: usize,
    /// Users who have at least one, in this process.
    pub users: usize,
    /// Engine.IO sessions, authenticated or not yet.
    pub transports: usize,
    /// Connections that were let in.
    pub connected: u64,
    /// Connections that were refused for their token.
    pub rejected: u64,
    /// Requests that were refused before that, by reason; its `code()` is the label for metrics.
    pub refused: [(Refusal, u64); Refusal::ALL.len()],
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
    /// Whether Redis, and so the other server processes, are in reach; `None` without Redis.
    pub others_up: Option<bool>,
    /// How often Redis was lost.
    pub others_lost: u64,
}

impl Counts {
    pub(crate) fn refuse(&self, reason: Refusal) {
        let counted = Refusal::ALL.iter().zip(&self.refused).find(|(one, _)| **one == reason);
        if let Some((_, counter)) = counted {
            counter.add();
        }
    }

    pub(crate) fn read(
        &self,
        open: usize,
        users: usize,
        transports: usize,
        others_up: Option<bool>,
    ) -> Counters {
        Counters {
            open,
            users,
            transports,
            connected: self.connected.get(),
            rejected: self.rejected.get(),
            refused: std::array::from_fn(|at| (Refusal::ALL[at], self.refused[at].get())),
            sent: self.sent.get(),
            replayed: self.replayed.get(),
            too_slow: self.too_slow.get(),
            too_much_data: self.too_much_data.get(),
            evicted: self.evicted.get(),
            revoked: self.revoked.get(),
            expired: self.expired.get(),
            others_up,
            others_lost: self.others_lost.get(),
        }
    }
}
