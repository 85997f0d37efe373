//! Presence: who is connected to the other server processes, as far as they have reported it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use domain::users::UserId;

use crate::cluster::message::OpeningTimes;

/// How long a process without heartbeats counts as running: the time of three heartbeats.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(15);

/// How much the clocks of two processes may differ, in milliseconds.
const CLOCK_TOLERANCE: i64 = 60_000;

/// Lets connections that another process reports from the future count as the oldest ones, so that a wrong clock closes no
/// sockets here.
pub(crate) fn plausible(mut times: OpeningTimes, now: DateTime<Utc>) -> OpeningTimes {
    let latest = now.timestamp_millis().saturating_add(CLOCK_TOLERANCE);
    for time in &mut times {
        if *time > latest {
            *time = 0;
        }
    }
    times
}

/// The other processes, by the names they chose. Empty without Redis.
#[derive(Default)]
pub(crate) struct Presence(Mutex<HashMap<String, ProcessPresence>>);

struct ProcessPresence {
    users: HashMap<UserId, OpeningTimes>,
    last_heartbeat: Instant,
}

impl Presence {
    fn processes(&self) -> MutexGuard<'_, HashMap<String, ProcessPresence>> {
        let mut processes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        processes.retain(|_, process| process.last_heartbeat.elapsed() < HEARTBEAT_TIMEOUT);
        processes
    }

    /// Replaces the connections of one user to a process.
    pub(crate) fn update(&self, process: &str, user: UserId, times: OpeningTimes) {
        let mut processes = self.processes();
        // An unknown process will send a snapshot.
        let Some(process) = processes.get_mut(process) else { return };
        if times.is_empty() {
            process.users.remove(&user);
        } else {
            process.users.insert(user, times);
        }
    }

    /// Replaces all connections to a process.
    pub(crate) fn replace(&self, process: String, users: impl IntoIterator<Item = (UserId, OpeningTimes)>) {
        let presence = ProcessPresence { users: users.into_iter().collect(), last_heartbeat: Instant::now() };
        self.processes().insert(process, presence);
    }

    /// Returns when the connections of a user to other processes were opened.
    pub(crate) fn opening_times(&self, user: UserId) -> OpeningTimes {
        self.processes().values().filter_map(|process| process.users.get(&user)).flatten().copied().collect()
    }

    /// Returns the number of users that are connected to other processes but not here.
    pub(crate) fn count_elsewhere(&self, is_here: impl Fn(UserId) -> bool) -> usize {
        let processes = self.processes();
        let users: HashSet<_> = processes.values().flat_map(|process| process.users.keys()).collect();
        users.into_iter().filter(|user| !is_here(**user)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn two_processes() -> Presence {
        let presence = Presence::default();
        presence.replace("a".into(), [(ANN, vec![10, 30])]);
        presence.replace("b".into(), [(ANN, vec![20]), (BOB, vec![40])]);
        presence
    }

    fn sorted(mut times: OpeningTimes) -> OpeningTimes {
        times.sort_unstable();
        times
    }

    #[test]
    fn user_of_several_processes_counts_once() {
        let presence = two_processes();
        assert_eq!(presence.count_elsewhere(|_| false), 2);
        assert_eq!(presence.count_elsewhere(|user| user == BOB), 1);
        assert_eq!(sorted(presence.opening_times(ANN)), [10, 20, 30]);
    }

    #[test]
    fn latest_report_of_a_process_replaces_earlier_ones() {
        let presence = two_processes();
        presence.update("a", ANN, vec![30]);
        assert_eq!(sorted(presence.opening_times(ANN)), [20, 30]);
        presence.update("b", BOB, Vec::new());
        presence.replace("a".into(), []);
        assert_eq!(presence.opening_times(ANN), [20]);
        assert_eq!(presence.count_elsewhere(|_| false), 1);
    }

    #[test]
    fn connections_from_the_future_count_as_the_oldest() {
        let now = DateTime::from_timestamp_millis(1_000_000).unwrap();
        let times = vec![999_999, 1_060_000, 1_060_001, 9_999_999_999_999, i64::MAX];
        assert_eq!(plausible(times, now), [999_999, 1_060_000, 0, 0, 0]);
    }

    #[test]
    fn process_without_heartbeats_is_forgotten() {
        let presence = two_processes();
        let long_ago = Instant::now().checked_sub(HEARTBEAT_TIMEOUT).unwrap();
        presence.processes().get_mut("b").unwrap().last_heartbeat = long_ago;
        assert_eq!(presence.opening_times(BOB), OpeningTimes::new());
        assert_eq!(presence.count_elsewhere(|_| false), 1);
        // Its changes count again only after a snapshot.
        presence.update("b", BOB, vec![50]);
        assert_eq!(presence.opening_times(BOB), OpeningTimes::new());
    }
}
