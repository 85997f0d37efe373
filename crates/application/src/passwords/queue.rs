//! Work that waits for a thread.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{Error, Result};
use tokio_util::sync::CancellationToken;

use crate::networks::{network_of, site_of};

/// Maximum number of jobs that wait for one address: a fraction of a second of work.
const MAX_PER_ADDRESS: usize = 20;
/// Maximum number of jobs that wait for the networks of one customer (IPv6 /48).
const MAX_PER_SITE: usize = 2 * MAX_PER_ADDRESS;

/// A piece of work.
pub(super) struct Job<W> {
    /// The address of the client.
    pub(super) address: IpAddr,
    /// Cancelled once nothing waits for the result any more.
    pub(super) gone: CancellationToken,
    pub(super) work: W,
}

/// A queue in which clients take turns by address (IPv6: by /48), so that a client with many jobs delays those of others
/// by one job. The number of jobs is bounded per address and in all; if the queue is full, the client with most jobs
/// loses its newest one.
pub(super) struct Queue<W> {
    max_total: usize,
    waiting: Mutex<Waiting<W>>,
    changed: Condvar,
    /// Number of jobs that were refused or lost.
    pub(super) refused: AtomicU64,
    /// Number of jobs that were skipped, since their clients were gone.
    pub(super) abandoned: AtomicU64,
}

struct Waiting<W> {
    /// The jobs of each site, none of which is empty.
    sites: HashMap<IpAddr, VecDeque<Job<W>>>,
    /// The sites in the order of their turns.
    turns: VecDeque<IpAddr>,
    is_closed: bool,
}

impl<W> Queue<W> {
    pub(super) fn new(max_total: usize) -> Self {
        let waiting = Waiting { sites: HashMap::new(), turns: VecDeque::new(), is_closed: false };
        Self {
            max_total,
            waiting: Mutex::new(waiting),
            changed: Condvar::new(),
            refused: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
        }
    }

    /// Adds a job.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there are too many, of all clients or of this one.
    pub(super) fn push(&self, job: Job<W>) -> Result<()> {
        let lost = self.waiting().push(job, self.max_total);
        if !matches!(lost, Ok(None)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        self.changed.notify_one();
        lost.map(drop)
    }

    /// Waits for the next job. `None` once the queue is closed.
    pub(super) fn pop(&self) -> Option<Job<W>> {
        let mut waiting = self.waiting();
        loop {
            if waiting.is_closed {
                return None;
            }
            if let Some(job) = waiting.pop() {
                return Some(job);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends all waits.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.changed.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<W>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Waiting<W> {
    /// Returns the job that another client loses, if any.
    fn push(&mut self, job: Job<W>, max_total: usize) -> Result<Option<Job<W>>> {
        let (site, network) = (site_of(job.address), network_of(job.address));
        let of_site = self.sites.get(&site).map_or(0, VecDeque::len);
        let wanted = self.sites.get(&site).into_iter().flatten().filter(|job| !job.gone.is_cancelled());
        let of_address = wanted.clone().filter(|job| network_of(job.address) == network).count();
        if wanted.count() >= MAX_PER_SITE || of_address >= MAX_PER_ADDRESS {
            return Err(Error::overloaded());
        }
        let mut lost = None;
        if self.sites.values().map(VecDeque::len).sum::<usize>() >= max_total {
            let most = self.sites.values_mut().max_by_key(|jobs| jobs.len());
            // Two more, or the clients would take jobs from each other in turn.
            let most = most.filter(|jobs| jobs.len() >= of_site + 2).ok_or_else(Error::overloaded)?;
            lost = most.pop_back();
        }
        if of_site == 0 {
            self.turns.push_back(site);
        }
        self.sites.entry(site).or_default().push_back(job);
        Ok(lost)
    }

    fn pop(&mut self) -> Option<Job<W>> {
        let site = self.turns.pop_front()?;
        let jobs = self.sites.get_mut(&site)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.sites.remove(&site);
        } else {
            self.turns.push_back(site);
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &Queue<&'static str>, address: &str, work: &'static str) -> bool {
        let address = address.parse().unwrap();
        queue.push(Job { address, gone: CancellationToken::new(), work }).is_ok()
    }

    /// Closes the queue after its last job.
    fn pop_all(queue: &Queue<&'static str>) -> Vec<&'static str> {
        let jobs = std::iter::from_fn(|| queue.waiting().pop().map(|job| job.work)).collect();
        assert!(queue.waiting().sites.is_empty() && queue.waiting().turns.is_empty());
        queue.close();
        assert!(queue.pop().is_none());
        jobs
    }

    #[test]
    fn addresses_take_turns() {
        let queue = Queue::new(100);
        for work in ["a1", "a2", "a3"] {
            push(&queue, "192.0.2.1", work);
        }
        // Networks of one customer share their turns.
        push(&queue, "2001:db8:1:1::1", "b1");
        push(&queue, "2001:db8:1:2::1", "b2");
        push(&queue, "192.0.2.2", "c1");
        assert_eq!(pop_all(&queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[test]
    fn jobs_of_an_address_and_of_a_customer_are_bounded() {
        let queue = Queue::new(1000);
        let accepted = |address: &str| (0..100).filter(|_| push(&queue, address, "")).count();
        assert_eq!(accepted("192.0.2.1"), MAX_PER_ADDRESS);
        assert_eq!(accepted("192.0.2.2"), MAX_PER_ADDRESS);
        let networks = ["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:2::1", "2001:db8:1:3::1"];
        assert_eq!(networks.map(accepted), [MAX_PER_ADDRESS, 0, MAX_PER_ADDRESS, 0]);
        assert_eq!(accepted("2001:db8:2:1::1"), MAX_PER_ADDRESS);
    }

    #[test]
    fn jobs_of_clients_that_are_gone_do_not_count_for_their_address() {
        let (queue, gone) = (Queue::new(1000), CancellationToken::new());
        let address = "192.0.2.1".parse().unwrap();
        for work in ["a"; MAX_PER_ADDRESS] {
            queue.push(Job { address, gone: gone.clone(), work }).unwrap();
        }
        assert!(!push(&queue, "192.0.2.1", "b"));
        gone.cancel();
        assert!(push(&queue, "192.0.2.1", "b"));
    }

    #[test]
    fn client_with_most_jobs_makes_room_in_a_full_queue() {
        let queue = Queue::new(4);
        for work in ["a1", "a2", "a3", "a4"] {
            assert!(push(&queue, "192.0.2.1", work));
        }
        assert!(!push(&queue, "192.0.2.1", "a5"));
        assert!(push(&queue, "192.0.2.2", "b1"));
        assert!(push(&queue, "192.0.2.3", "c1"));
        assert!(!push(&queue, "192.0.2.2", "b2"), "two clients would have two jobs");
        assert_eq!(pop_all(&queue), ["a1", "b1", "c1", "a2"]);
    }

    #[test]
    fn queue_without_room_refuses_everything() {
        assert!(!push(&Queue::new(0), "192.0.2.1", "a1"));
    }
}
