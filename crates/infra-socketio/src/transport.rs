//! Transports: one for each Engine.IO session, polling or websocket, from its first request to its end.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Instant,
};

use api_types::ProblemDetails;
use domain::notifications::NotificationId;
use socketioxide::socket::Sid;
use tokio_util::sync::CancellationToken;

use crate::{ByteBudget, SocketCaller};

/// A transport. The engine keeps it as an extension of the session's first request; when the session ends it is
/// dropped, and its place among those of its address is free.
pub(crate) struct Transport {
    /// Cancelled when the transport is to be closed. Whatever carries it stops then.
    pub(crate) closed: CancellationToken,
    sid: OnceLock<Sid>,
    query: Query,
    state: Mutex<State>,
    transports: Weak<Transports>,
    address: Option<IpAddr>,
}

#[derive(Default)]
struct State {
    budget: Option<Budget>,
    admitted: Option<Admitted>,
    rejection: Option<ProblemDetails>,
    is_upgrading: bool,
}

/// What the first request said of its sender. Taken out of the request, so that nothing can log it from there.
#[derive(Clone, Default)]
pub(crate) struct Query {
    pub(crate) token: Option<String>,
    pub(crate) since: Option<NotificationId>,
}

/// Who was let in, and what they have missed.
#[derive(Clone, Copy)]
pub(crate) struct Admitted {
    pub(crate) caller: SocketCaller,
    pub(crate) since: Option<NotificationId>,
}

struct Budget {
    left: f64,
    at: Instant,
}

impl Transport {
    pub(crate) fn sid(&self) -> Option<Sid> {
        self.sid.get().copied()
    }

    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a websocket is there for what began as polling.
    pub(crate) fn upgrade(&self) {
        self.state().is_upgrading = true;
    }

    /// Whether one was there, be it the transport by now or not.
    pub(crate) fn is_upgrading(&self) -> bool {
        self.state().is_upgrading
    }

    /// Whether the client may send this many bytes more.
    pub(crate) fn spend(&self, bytes: usize, budget: ByteBudget) -> bool {
        let burst = f64::from(budget.burst);
        let now = Instant::now();
        let mut state = self.state();
        let mine = state.budget.get_or_insert(Budget { left: burst, at: now });
        let refilled = mine.left + now.duration_since(mine.at).as_secs_f64() * f64::from(budget.per_second);
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        *mine = Budget { left: refilled.min(burst) - bytes, at: now };
        mine.left >= 0.0
    }

    pub(crate) fn admit(&self, admitted: Admitted) {
        self.state().admitted = Some(admitted);
    }

    pub(crate) fn take_admitted(&self) -> Option<Admitted> {
        self.state().admitted.take()
    }

    /// Marks it as refused: the refusal that passes next goes out with `problem`, and the transport closes.
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
            transports.forget(self);
        }
    }
}

/// All transports.
#[derive(Default)]
pub(crate) struct Transports {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_sid: HashMap<Sid, Weak<Transport>>,
    by_address: HashMap<IpAddr, usize>,
}

impl Transports {
    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transport for somebody at `address`; `None` if the address has `limit` already.
    pub(crate) fn begin(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        limit: usize,
        query: Query,
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
            query,
            state: Mutex::default(),
            transports: Arc::downgrade(self),
            address,
        }))
    }

    /// Says which session of the engine it carries.
    pub(crate) fn name(&self, transport: &Arc<Transport>, sid: Sid) {
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

    fn forget(&self, transport: &Transport) {
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

    const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn an_address_has_so_many_places_and_leaving_frees_one() {
        let transports = Arc::new(Transports::default());
        let first = transports.begin(HOME, 2, Query::default()).unwrap();
        let _second = transports.begin(HOME, 2, Query::default()).unwrap();
        assert!(transports.begin(HOME, 2, Query::default()).is_none());
        drop(first);
        assert!(transports.begin(HOME, 2, Query::default()).is_some());
    }

    #[test]
    fn no_limit_is_no_limit() {
        let transports = Arc::new(Transports::default());
        let all: Vec<_> = (0..100).map(|_| transports.begin(HOME, 0, Query::default())).collect();
        assert!(all.iter().all(Option::is_some));
    }

    #[test]
    fn a_transport_is_found_while_it_lives() {
        let transports = Arc::new(Transports::default());
        let transport = transports.begin(None, 1, Query::default()).unwrap();
        let sid = Sid::new();
        transports.name(&transport, sid);
        assert!(transports.find(sid).is_some());
        drop(transport);
        assert!(transports.find(sid).is_none());
        assert_eq!(transports.count(), 0);
    }

    #[test]
    fn who_has_spent_the_budget_may_send_no_more() {
        let transports = Arc::new(Transports::default());
        let transport = transports.begin(None, 1, Query::default()).unwrap();
        let budget = ByteBudget { burst: 100, per_second: 0 };
        assert!(transport.spend(60, budget));
        assert!(transport.spend(40, budget));
        assert!(!transport.spend(1, budget));
    }
}
