//! Metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::refusal::Refusal;

/// A counter that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters since the start of the process.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) connected: Counter,
    pub(crate) rejected: Counter,
    pub(crate) sent: Counter,
    pub(crate) deferred: Counter,
    pub(crate) replayed: Counter,
    pub(crate) too_slow: Counter,
    pub(crate) too_much_data: Counter,
    pub(crate) evicted: Counter,
    pub(crate) revoked: Counter,
    pub(crate) expired: Counter,
    pub(crate) queue_overflows: Counter,
    pub(crate) redis_losses: Counter,
    refused: [Counter; Refusal::ALL.len()],
}

/// The gauges and counters of this process. Counters start with the process.
///
/// Every connection ends with its client, or is closed for one of the reasons `too_slow`, `too_much_data`, `evicted`,
/// `revoked`, `expired` and `queue_overflows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Open, authenticated connections.
    pub open: usize,
    /// Users with at least one connection to this process.
    pub users: usize,
    /// Engine.IO sessions, authenticated or not.
    pub transports: usize,
    /// Whether Redis responds; `None` without Redis.
    pub is_redis_up: Option<bool>,
    /// Authenticated connections.
    pub connected: u64,
    /// Connections refused because of their token.
    pub rejected: u64,
    /// Requests refused before their token was checked, by reason.
    pub refused: [(Refusal, u64); Refusal::ALL.len()],
    /// Live notifications queued for a connection.
    pub sent: u64,
    /// Live notifications deferred because their action was undone and repeated.
    pub deferred: u64,
    /// Missed notifications queued for a connection.
    pub replayed: u64,
    /// Connections closed because their client did not read fast enough.
    pub too_slow: u64,
    /// Connections closed because their client sent too much data.
    pub too_much_data: u64,
    /// Connections closed because their user opened newer ones.
    pub evicted: u64,
    /// Connections closed because their session ended.
    pub revoked: u64,
    /// Connections closed because their token expired.
    pub expired: u64,
    /// How often the signal queue was full, so that all connections were closed.
    pub queue_overflows: u64,
    /// How often the connection to Redis was lost.
    pub redis_losses: u64,
}

/// The current values of what is not counted.
pub(crate) struct Gauges {
    pub(crate) open: usize,
    pub(crate) users: usize,
    pub(crate) transports: usize,
    pub(crate) is_redis_up: Option<bool>,
}

impl Metrics {
    pub(crate) fn increment_refused(&self, reason: Refusal) {
        let counter = Refusal::ALL.iter().zip(&self.refused).find(|(refusal, _)| **refusal == reason);
        if let Some((_, counter)) = counter {
            counter.increment();
        }
    }

    pub(crate) fn snapshot(&self, gauges: &Gauges) -> MetricsSnapshot {
        MetricsSnapshot {
            open: gauges.open,
            users: gauges.users,
            transports: gauges.transports,
            is_redis_up: gauges.is_redis_up,
            connected: self.connected.get(),
            rejected: self.rejected.get(),
            refused: std::array::from_fn(|at| (Refusal::ALL[at], self.refused[at].get())),
            sent: self.sent.get(),
            deferred: self.deferred.get(),
            replayed: self.replayed.get(),
            too_slow: self.too_slow.get(),
            too_much_data: self.too_much_data.get(),
            evicted: self.evicted.get(),
            revoked: self.revoked.get(),
            expired: self.expired.get(),
            queue_overflows: self.queue_overflows.get(),
            redis_losses: self.redis_losses.get(),
        }
    }
}
