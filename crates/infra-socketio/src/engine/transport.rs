//! Transports: one for each Engine.IO session, polling or websocket, from its first request to its end.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, atomic::AtomicBool},
    time::Instant,
};

use api_types::ProblemDetails;
use domain::{notifications::NotificationId, sessions::Caller};
use socketioxide::socket::Sid;
use tokio_util::sync::CancellationToken;

use crate::config::ByteBudget;

/// A transport. The engine stores it as an extension of the session's first request and drops it with the session, which
/// reduces the number of transports of its address.
pub(crate) struct Transport {
    /// Cancelled when the transport should close.
    pub(crate) closed: CancellationToken,
    pub(crate) credentials: Credentials,
    /// The result of the only authentication. After a refusal the next `CONNECT_ERROR` packet gets the problem, and the
    /// transport closes.
    pub(crate) authentication: OnceLock<Result<Admission, ProblemDetails>>,
    /// Whether a session that began with polling has opened a websocket, finished its upgrade or not.
    pub(crate) has_websocket: AtomicBool,
    /// Locked while a message of a polling client arrives and is handled.
    pub(crate) sending: tokio::sync::Mutex<()>,
    sid: OnceLock<Sid>,
    spending: Mutex<Spending>,
    transports: Weak<Transports>,
    address: Option<IpAddr>,
}

/// The credentials of the first request, taken out of it so that nothing logs them with the request.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) token: Option<String>,
    pub(crate) since: Option<NotificationId>,
}

/// An authenticated client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admission {
    pub(crate) caller: Caller,
    /// The last notification that the client knows.
    pub(crate) since: Option<NotificationId>,
}

/// How much of its budget a client has used.
struct Spending {
    bytes: f64,
    at: Instant,
}

impl Transport {
    pub(crate) fn sid(&self) -> Option<Sid> {
        self.sid.get().copied()
    }

    /// Takes bytes from the budget, and returns whether it sufficed.
    pub(crate) fn spend(&self, bytes: usize, budget: ByteBudget) -> bool {
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        let now = Instant::now();
        let mut spent = self.spending.lock().unwrap_or_else(PoisonError::into_inner);
        let recovered = now.duration_since(spent.at).as_secs_f64() * f64::from(budget.per_second);
        *spent = Spending { bytes: (spent.bytes - recovered).max(0.0) + bytes, at: now };
        spent.bytes <= f64::from(budget.burst)
    }

    /// Returns why the client was refused.
    pub(crate) fn rejection(&self) -> Option<&ProblemDetails> {
        self.authentication.get()?.as_ref().err()
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.closed.cancel();
        if let Some(transports) = self.transports.upgrade() {
            transports.remove(self);
        }
    }
}

/// All transports of this process.
#[derive(Default)]
pub(crate) struct Transports {
    open: Mutex<OpenTransports>,
}

#[derive(Default)]
struct OpenTransports {
    by_sid: HashMap<Sid, Weak<Transport>>,
    by_address: HashMap<IpAddr, usize>,
}

impl Transports {
    fn open(&self) -> MutexGuard<'_, OpenTransports> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a transport. `None` if the address has `limit` transports already; 0 means no limit.
    pub(crate) fn create(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        limit: usize,
        credentials: Credentials,
    ) -> Option<Arc<Transport>> {
        if let Some(address) = address {
            let mut open = self.open();
            let count = open.by_address.entry(address).or_default();
            if limit > 0 && *count >= limit {
                return None;
            }
            *count += 1;
        }
        Some(Arc::new(Transport {
            closed: CancellationToken::new(),
            credentials,
            authentication: OnceLock::new(),
            has_websocket: AtomicBool::new(false),
            sending: tokio::sync::Mutex::default(),
            sid: OnceLock::new(),
            spending: Mutex::new(Spending { bytes: 0.0, at: Instant::now() }),
            transports: Arc::downgrade(self),
            address,
        }))
    }

    /// Sets the engine session of a transport, once.
    pub(crate) fn set_sid(&self, transport: &Arc<Transport>, sid: Sid) {
        if transport.sid.set(sid).is_ok() {
            self.open().by_sid.insert(sid, Arc::downgrade(transport));
        }
    }

    pub(crate) fn find(&self, sid: Sid) -> Option<Arc<Transport>> {
        self.open().by_sid.get(&sid).and_then(Weak::upgrade)
    }

    pub(crate) fn count(&self) -> usize {
        self.open().by_sid.len()
    }

    fn remove(&self, transport: &Transport) {
        let mut open = self.open();
        if let Some(sid) = transport.sid() {
            open.by_sid.remove(&sid);
        }
        if let Some(address) = transport.address
            && let Some(count) = open.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn address_has_a_limited_number_of_transports() {
        let transports = Arc::new(Transports::default());
        let first = transports.create(ADDRESS, 2, Credentials::default()).unwrap();
        let _second = transports.create(ADDRESS, 2, Credentials::default()).unwrap();
        assert!(transports.create(ADDRESS, 2, Credentials::default()).is_none());
        drop(first);
        assert!(transports.create(ADDRESS, 2, Credentials::default()).is_some());
    }

    #[test]
    fn limit_zero_means_no_limit() {
        let transports = Arc::new(Transports::default());
        let all: Vec<_> = (0..100).map(|_| transports.create(ADDRESS, 0, Credentials::default())).collect();
        assert!(all.iter().all(Option::is_some));
    }

    #[test]
    fn transport_is_found_until_it_is_dropped() {
        let transports = Arc::new(Transports::default());
        let transport = transports.create(None, 1, Credentials::default()).unwrap();
        let sid = Sid::new();
        transports.set_sid(&transport, sid);
        assert!(transports.find(sid).is_some());
        drop(transport);
        assert!(transports.find(sid).is_none());
        assert_eq!(transports.count(), 0);
    }

    #[test]
    fn spent_budget_refuses_further_bytes() {
        let transports = Arc::new(Transports::default());
        let transport = transports.create(None, 1, Credentials::default()).unwrap();
        let budget = ByteBudget { burst: 100, per_second: 0 };
        assert!(transport.spend(60, budget));
        assert!(transport.spend(40, budget));
        assert!(!transport.spend(1, budget));
    }
}
