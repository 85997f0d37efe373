//! Metrics.

use crate::engine::refusal::Refusal;

/// The gauges and counters of this process. Counters start with the process.
///
/// Every connection ends with its client, or is closed for one of the reasons `too_slow`, `too_much_data`, `evicted`,
/// `revoked`, `expired` and `queue_overflows`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    /// Requests refused before their token was checked, in the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
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
    /// Messages from Redis that no process with our key sent, or that were repeated.
    pub rejected_messages: u64,
}
