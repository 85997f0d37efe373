//! A cache of the names of users.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;

/// Bounds the memory of the cache: a name takes about 80 bytes.
const MAX_CARDS: usize = 200_000;

/// A cache of usernames, shared by all workers.
#[derive(Clone)]
pub(crate) struct UserCards(pub(crate) Arc<Cards>);

pub(crate) struct Cards {
    pub(crate) names: Cache<i64, Arc<str>>,
    /// When changes were last looked for.
    pub(crate) checked_at: Mutex<Option<DateTime<Utc>>>,
}

impl UserCards {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Cards { names: Cache::new(MAX_CARDS), checked_at: Mutex::new(None) }))
    }
}
