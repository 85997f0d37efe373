//! Transports: one for each Engine.IO session, polling or websocket, from its first request to its end.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
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
    sid: OnceLock<Sid>,
    credentials: Credentials,
    state: Mutex<TransportState>,
    transports: Weak<Transports>,
    address: Option<IpAddr>,
}

#[derive(Default)]
struct TransportState {
    budget: Option<BudgetState>,
    admission: Option<Admission>,
    rejection: Option<ProblemDetails>,
    has_websocket: bool,
}

/// The credentials of the first request, taken out of it so that nothing logs them with the request.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) token: Option<String>,
    pub(crate) since: Option<NotificationId>,
}

/// An authenticated client, between authentication and the `connect` handler.
#[derive(Clone, Copy)]
pub(crate) struct Admission {
    pub(crate) caller: Caller,
    /// The last notification that the client knows.
    pub(crate) since: Option<NotificationId>,
}

/// The transport as an extension of the first request, which the engine keeps for the session.
#[derive(Debug, Clone)]
pub(crate) struct TransportExtension(pub(crate) Arc<Transport>);

/// A token bucket.
struct BudgetState {
    left: f64,
    at: Instant,
}

impl Transport {
    pub(crate) fn sid(&self) -> Option<Sid> {
        self.sid.get().copied()
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    fn state(&self) -> MutexGuard<'_, TransportState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks that a websocket was opened for a session that began with polling.
    pub(crate) fn begin_upgrade(&self) {
        self.state().has_websocket = true;
    }

    /// Returns whether an upgrade to a websocket began, finished or not.
    pub(crate) fn has_websocket(&self) -> bool {
        self.state().has_websocket
    }

    /// Takes bytes from the budget, and returns whether it sufficed.
    pub(crate) fn spend(&self, bytes: usize, budget: ByteBudget) -> bool {
        let burst = f64::from(budget.burst);
        let now = Instant::now();
        let mut state = self.state();
        let bucket = state.budget.get_or_insert(BudgetState { left: burst, at: now });
        let refilled =
            bucket.left + now.duration_since(bucket.at).as_secs_f64() * f64::from(budget.per_second);
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        *bucket = BudgetState { left: refilled.min(burst) - bytes, at: now };
        bucket.left >= 0.0
    }

    pub(crate) fn admit(&self, admission: Admission) {
        self.state().admission = Some(admission);
    }

    pub(crate) fn take_admission(&self) -> Option<Admission> {
        self.state().admission.take()
    }

    /// Marks the client as refused: its next `CONNECT_ERROR` packet gets `problem`, then the transport closes.
    pub(crate) fn reject(&self, problem: ProblemDetails) {
        self.state().rejection = Some(problem);
    }

    pub(crate) fn rejection(&self) -> Option<ProblemDetails> {
        self.state().rejection.clone()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("sid", &self.sid).finish_non_exhaustive()
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
            sid: OnceLock::new(),
            credentials,
            state: Mutex::default(),
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
