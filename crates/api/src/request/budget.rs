//! Bounds on what clients hold at the same time: bytes of bodies in memory, bytes of files on disk, connections.

use std::{
    collections::HashMap,
    hash::Hash,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use application::networks::site_of;

use crate::error::ApiError;

const RETRY_AFTER: Duration = Duration::from_secs(5);
/// What the networks of one customer (IPv6 /48) may hold together, as a multiple of what one of them may.
const SITE_FACTOR: usize = 4;

/// An amount that clients share. Each key, an address or a user, holds at most its part, so that none of them can take
/// all of it. Clones share one budget.
#[derive(Debug, Clone)]
pub struct Budget<K> {
    max_total: usize,
    max_per_key: usize,
    max_per_group: usize,
    /// Returns the group of a key, whose keys share a bound of their own.
    group_of: fn(K) -> K,
    held: Arc<Mutex<Held<K>>>,
}

#[derive(Debug)]
struct Held<K> {
    total: usize,
    by_key: HashMap<K, usize>,
    by_group: HashMap<K, usize>,
    refused: u64,
}

/// What one request or connection holds of a budget. Released when dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Copy + Eq + Hash> {
    budget: Budget<K>,
    key: K,
    amount: usize,
}

/// The bound that a share would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    PerKey,
    Total,
}

impl<K: Copy + Eq + Hash> Budget<K> {
    /// Makes a budget of `max_total`, of which a key may hold `max_per_key`.
    pub(crate) fn new(max_total: usize, max_per_key: usize) -> Self {
        let held = Held { total: 0, by_key: HashMap::new(), by_group: HashMap::new(), refused: 0 };
        let held = Arc::new(Mutex::new(held));
        Self { max_total, max_per_key, max_per_group: usize::MAX, group_of: |key| key, held }
    }

    /// Returns how often a bound was reached.
    pub(crate) fn refused(&self) -> u64 {
        self.held().refused
    }

    /// Returns an empty share.
    pub(crate) fn share(&self, key: K) -> Share<K> {
        Share { budget: self.clone(), key, amount: 0 }
    }

    fn held(&self) -> MutexGuard<'_, Held<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget<IpAddr> {
    /// Makes a budget of which an address may hold `max_per_address`, and all networks of one customer a multiple of it.
    pub(crate) fn of_addresses(max_total: usize, max_per_address: usize) -> Self {
        let max_per_group = max_per_address.saturating_mul(SITE_FACTOR);
        Self { max_per_group, group_of: site_of, ..Self::new(max_total, max_per_address) }
    }
}

impl<K: Copy + Eq + Hash> Share<K> {
    /// Adds to the share, or leaves it unchanged if that would exceed a bound.
    pub(crate) fn grow(&mut self, amount: usize) -> Result<(), Exceeded> {
        let group = (self.budget.group_of)(self.key);
        let mut held = self.budget.held();
        let of_key = held.by_key.get(&self.key).copied().unwrap_or(0).saturating_add(amount);
        let of_group = held.by_group.get(&group).copied().unwrap_or(0).saturating_add(amount);
        let total = held.total.saturating_add(amount);
        if of_key > self.budget.max_per_key || of_group > self.budget.max_per_group {
            held.refused += 1;
            return Err(Exceeded::PerKey);
        }
        if total > self.budget.max_total {
            held.refused += 1;
            return Err(Exceeded::Total);
        }
        held.total = total;
        held.by_key.insert(self.key, of_key);
        held.by_group.insert(group, of_group);
        drop(held);
        self.amount += amount;
        Ok(())
    }

    /// Releases a part of the share.
    pub(crate) fn shrink(&mut self, amount: usize) {
        let amount = amount.min(self.amount);
        if amount == 0 {
            return;
        }
        self.amount -= amount;
        let mut held = self.budget.held();
        held.total -= amount;
        subtract(&mut held.by_key, &self.key, amount);
        subtract(&mut held.by_group, &(self.budget.group_of)(self.key), amount);
    }
}

fn subtract<K: Eq + Hash>(amounts: &mut HashMap<K, usize>, key: &K, amount: usize) {
    if let Some(held) = amounts.get_mut(key) {
        *held -= amount;
        if *held == 0 {
            amounts.remove(key);
        }
    }
}

impl<K: Copy + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        self.shrink(self.amount);
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::PerKey => Self::rate_limited(RETRY_AFTER),
            Exceeded::Total => domain::Error::overloaded().into(),
        }
    }
}

/// For streams, whose errors are those of I/O.
impl From<Exceeded> for io::Error {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::PerKey => io::ErrorKind::QuotaExceeded.into(),
            Exceeded::Total => io::ErrorKind::ResourceBusy.into(),
        }
    }
}

impl Exceeded {
    /// Returns the bound that an error of a stream reports, if it does.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::QuotaExceeded => Some(Self::PerKey),
            io::ErrorKind::ResourceBusy => Some(Self::Total),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_bounded_per_key_and_in_total() {
        let budget = Budget::new(10, 6);
        let (mut ann, mut anns_second, mut bob) =
            (budget.share("ann"), budget.share("ann"), budget.share("bob"));
        assert_eq!(ann.grow(4), Ok(()));
        assert_eq!(anns_second.grow(3), Err(Exceeded::PerKey));
        assert_eq!(anns_second.grow(2), Ok(()));
        assert_eq!(bob.grow(5), Err(Exceeded::Total));
        assert_eq!(bob.grow(4), Ok(()));
        ann.shrink(1);
        assert_eq!(bob.grow(1), Ok(()));
        assert_eq!(ann.grow(usize::MAX), Err(Exceeded::PerKey));
        assert_eq!(budget.refused(), 3);
    }

    #[test]
    fn networks_of_one_customer_have_a_wider_bound_together() {
        let budget = Budget::of_addresses(100, 2);
        let mut shares: Vec<_> =
            (0..6).map(|n| budget.share(IpAddr::from([0x2001, 0xdb8, 1, n, 0, 0, 0, 0]))).collect();
        let grown: Vec<_> = shares.iter_mut().map(|share| share.grow(2).is_ok()).collect();
        assert_eq!(grown, [true, true, true, true, false, false]);
        assert_eq!(budget.share(IpAddr::from([0x2001, 0xdb8, 2, 0, 0, 0, 0, 0])).grow(2), Ok(()));
        drop(shares);
        let held = budget.held();
        assert!(held.by_key.is_empty() && held.by_group.is_empty(), "{held:?}");
    }

    #[test]
    fn dropped_shares_leave_nothing() {
        let budget = Budget::new(10, 10);
        let mut shares = [budget.share(1), budget.share(1), budget.share(2)];
        for share in &mut shares {
            share.grow(3).unwrap();
            share.shrink(1);
        }
        drop(shares);
        let held = budget.held();
        assert!(held.total == 0 && held.by_key.is_empty(), "{held:?}");
    }
}
