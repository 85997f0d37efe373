//! Who is connected to the other server processes, as far as they have said so.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::users::UserId;

/// For how long a process that says nothing is believed to be there: as long as it says three times over all it has.
const SILENCE: Duration = Duration::from_secs(15);

/// When each connection of a user to one process began, in milliseconds since 1970.
pub(crate) type Times = Vec<i64>;

/// The other processes, by the names they give themselves. Without Redis there are none.
#[derive(Default)]
pub(crate) struct Peers(Mutex<HashMap<String, Peer>>);

struct Peer {
    users: HashMap<UserId, Times>,
    heard_at: Instant,
}

impl Peers {
    fn peers(&self) -> MutexGuard<'_, HashMap<String, Peer>> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|_, peer| peer.heard_at.elapsed() < SILENCE);
        peers
    }

    /// A process has these connections of a user now.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn has(&self, process: &str, user: UserId, times: Times) {
        let mut peers = self.peers();
        // One that is not known yet will say all it has.
        let Some(peer) = peers.get_mut(process) else { return };
        if times.is_empty() {
            peer.users.remove(&user);
        } else {
            peer.users.insert(user, times);
        }
    }

    /// A process has these connections now, and no others.
    #[cfg(any(feature = "redis", test))]
    pub(crate) fn has_all(&self, process: String, users: impl IntoIterator<Item = (UserId, Times)>) {
        let peer = Peer { users: users.into_iter().collect(), heard_at: Instant::now() };
        self.peers().insert(process, peer);
    }

    /// When the connections of a user to other processes began.
    pub(crate) fn times(&self, user: UserId) -> Times {
        self.peers().values().filter_map(|peer| peer.users.get(&user)).flatten().copied().collect()
    }

    /// How many users are connected to other processes who are not `here`.
    pub(crate) fn count_except(&self, here: impl Fn(UserId) -> bool) -> usize {
        let peers = self.peers();
        let users: HashSet<_> = peers.values().flat_map(|peer| peer.users.keys()).collect();
        users.into_iter().filter(|user| !here(**user)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn two() -> Peers {
        let peers = Peers::default();
        peers.has_all("a".into(), [(ANN, vec![10, 30])]);
        peers.has_all("b".into(), [(ANN, vec![20]), (BOB, vec![40])]);
        peers
    }

    fn sorted(mut times: Times) -> Times {
        times.sort_unstable();
        times
    }

    #[test]
    fn a_user_of_several_processes_counts_once() {
        let peers = two();
        assert_eq!(peers.count_except(|_| false), 2);
        assert_eq!(peers.count_except(|user| user == BOB), 1);
        assert_eq!(sorted(peers.times(ANN)), [10, 20, 30]);
    }

    #[test]
    fn what_a_process_says_last_holds() {
        let peers = two();
        peers.has("a", ANN, vec![30]);
        assert_eq!(sorted(peers.times(ANN)), [20, 30]);
        peers.has("b", BOB, Vec::new());
        peers.has_all("a".into(), []);
        assert_eq!(peers.times(ANN), [20]);
        assert_eq!(peers.count_except(|_| false), 1);
    }

    #[test]
    fn a_process_that_falls_silent_is_gone() {
        let peers = two();
        let long_ago = Instant::now().checked_sub(SILENCE).unwrap();
        peers.peers().get_mut("b").unwrap().heard_at = long_ago;
        assert_eq!(peers.times(BOB), Times::new());
        assert_eq!(peers.count_except(|_| false), 1);
        // Only after it has said all it has is it believed again.
        peers.has("b", BOB, vec![50]);
        assert_eq!(peers.times(BOB), Times::new());
    }
}
