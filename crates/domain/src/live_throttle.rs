//! Throttling of live events, so that repeating and undoing an action does not flood its recipient.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    notifications::{Activity, NotificationId, NotificationView},
    users::UserId,
};

/// Minimum time between two live events of the same recipient, actor, type and target.
pub const LIVE_EVENT_INTERVAL: Duration = Duration::from_mins(1);

/// Maximum number of remembered events of one recipient. Further events are sent without being remembered: a recipient
/// of more than these within one interval gets no protection from a repetition of the further ones.
const MAX_REMEMBERED_EVENTS: usize = 10_000;

/// Minimum time between two searches for expired events, each of which visits all remembered ones.
const PRUNE_INTERVAL: Duration = Duration::from_secs(1);

/// Decides which notifications of one recipient are sent live at once and which are deferred.
///
/// The first event of an action is sent at once. If the action is undone and repeated, the next event is deferred until
/// the interval since the last event that was actually sent has passed. Time is passed in; nothing here does I/O.
#[derive(Debug)]
pub struct LiveThrottle {
    interval: Duration,
    sent: HashMap<Action, Sent>,
    pruned_at: Option<Instant>,
}

/// What is throttled together. The recipient is the throttle's own.
type Action = (UserId, Activity);

/// The last event of an action that was sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    id: NotificationId,
    at: Instant,
    /// The newest repetition. It replaces the deferral of the row that its undoing deleted.
    deferred: Option<Deferred>,
}

#[derive(Debug, Clone, Copy)]
struct Deferred {
    id: NotificationId,
    due: Instant,
}

/// What to do with a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Send it now, and report it with [`LiveThrottle::record_sent`].
    SendNow,
    /// Do not send it. At this time the caller asks [`LiveThrottle::due`].
    DeferUntil(Instant),
    /// Do not send it. An earlier decision named the time.
    AlreadyDeferred,
    /// Do not send it. The action was undone and repeated, so its row is gone.
    Superseded,
}

impl LiveThrottle {
    /// Creates the throttle of one recipient.
    pub fn new(interval: Duration) -> Self {
        Self { interval, sent: HashMap::new(), pruned_at: None }
    }

    /// Decides about a notification. The same one may be decided about several times, once for each connection that lacks
    /// it, and for a slow connection after newer ones of the same action.
    pub fn decide(&mut self, notification: &NotificationView, now: Instant) -> Decision {
        let id = notification.id;
        let Some(sent) = self.sent.get_mut(&action(notification)) else { return Decision::SendNow };
        if let Some(deferred) = &mut sent.deferred {
            if id < deferred.id {
                return Decision::Superseded;
            }
            if id == deferred.id || now < deferred.due {
                deferred.id = id;
                return Decision::AlreadyDeferred;
            }
        }
        let due = sent.at + self.interval;
        if id < sent.id {
            Decision::Superseded
        } else if id > sent.id && now < due {
            sent.deferred = Some(Deferred { id, due });
            Decision::DeferUntil(due)
        } else {
            Decision::SendNow
        }
    }

    /// Records that at least one client was sent the notification. It is no longer deferred; a newer one of the same
    /// action still is.
    pub fn record_sent(&mut self, notification: &NotificationView, now: Instant) {
        if self.pruned_at.is_none_or(|pruned_at| now >= pruned_at + PRUNE_INTERVAL) {
            self.prune(now);
        }
        let (action, id) = (action(notification), notification.id);
        if let Some(sent) = self.sent.get_mut(&action) {
            sent.deferred.take_if(|deferred| deferred.id <= id);
            // For another client of the recipient: the first one counts.
            if id > sent.id {
                (sent.id, sent.at) = (id, now);
            }
        } else if self.sent.len() < MAX_REMEMBERED_EVENTS {
            self.sent.insert(action, Sent { id, at: now, deferred: None });
        }
    }

    /// Returns the deferred notifications whose interval has passed, in order of their ids. Each stays deferred until
    /// [`record_sent`](Self::record_sent) or [`cancel`](Self::cancel).
    pub fn due(&self, now: Instant) -> Vec<NotificationId> {
        let deferred = self.sent.values().filter_map(|sent| sent.deferred);
        let mut due: Vec<_> = deferred.filter(|one| one.due <= now).map(|one| one.id).collect();
        due.sort_unstable();
        due
    }

    /// Forgets a deferred notification that does not exist any more.
    pub fn cancel(&mut self, id: NotificationId) {
        for sent in self.sent.values_mut() {
            sent.deferred.take_if(|deferred| deferred.id == id);
        }
    }

    /// Returns whether nothing needs to be remembered any more.
    pub fn is_idle(&mut self, now: Instant) -> bool {
        self.prune(now);
        self.sent.is_empty()
    }

    fn prune(&mut self, now: Instant) {
        self.sent.retain(|_, sent| now < sent.at + self.interval || sent.deferred.is_some());
        self.pruned_at = Some(now);
    }
}

fn action(notification: &NotificationView) -> Action {
    (notification.actor, notification.activity)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::posts::PostId;

    const INTERVAL: Duration = LIVE_EVENT_INTERVAL;

    fn like(id: i64, actor: i64) -> NotificationView {
        NotificationView {
            id: NotificationId(id),
            recipient: UserId(1),
            actor: UserId(actor),
            actor_username: "ann".into(),
            activity: Activity::Like(PostId(1)),
            is_read: false,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    fn throttle() -> (LiveThrottle, Instant) {
        (LiveThrottle::new(INTERVAL), Instant::now())
    }

    fn send(throttle: &mut LiveThrottle, notification: &NotificationView, now: Instant) {
        assert_eq!(throttle.decide(notification, now), Decision::SendNow);
        throttle.record_sent(notification, now);
    }

    #[test]
    fn repetition_within_the_interval_is_deferred_until_the_interval_has_passed() {
        let (mut throttle, start) = throttle();
        send(&mut throttle, &like(1, 2), start);
        let soon = start + INTERVAL / 2;
        assert_eq!(throttle.decide(&like(2, 2), soon), Decision::DeferUntil(start + INTERVAL));
        assert_eq!(throttle.decide(&like(2, 2), soon), Decision::AlreadyDeferred);
        assert_eq!(throttle.due(soon), []);
        assert_eq!(throttle.due(start + INTERVAL), [NotificationId(2)]);
        throttle.record_sent(&like(2, 2), start + INTERVAL);
        assert_eq!(throttle.due(start + 9 * INTERVAL), []);
        // The interval begins anew with the deferred event.
        let due = start + 2 * INTERVAL;
        assert_eq!(throttle.decide(&like(3, 2), start + INTERVAL), Decision::DeferUntil(due));
    }

    #[test]
    fn only_the_last_of_many_repetitions_is_deferred() {
        let (mut throttle, start) = throttle();
        send(&mut throttle, &like(1, 2), start);
        for id in 2..1000 {
            throttle.decide(&like(id, 2), start);
        }
        assert_eq!(throttle.due(start + INTERVAL), [NotificationId(999)]);
        assert_eq!(throttle.sent.len(), 1);
    }

    #[test]
    fn undone_action_that_was_never_sent_does_not_count() {
        let (mut throttle, start) = throttle();
        // Decided, but its row was gone or no client was connected.
        assert_eq!(throttle.decide(&like(1, 2), start), Decision::SendNow);
        send(&mut throttle, &like(2, 2), start);
        // Deferred, and undone before it was sent: the last event is still the one of `start`.
        throttle.decide(&like(3, 2), start);
        throttle.cancel(NotificationId(3));
        send(&mut throttle, &like(4, 2), start + INTERVAL);
    }

    #[test]
    fn other_actions_are_independent() {
        let (mut throttle, start) = throttle();
        send(&mut throttle, &like(1, 2), start);
        send(&mut throttle, &like(2, 3), start);
        send(&mut throttle, &NotificationView { activity: Activity::Follow, ..like(3, 2) }, start);
    }

    #[test]
    fn sent_notification_may_be_sent_to_further_connections() {
        let (mut throttle, start) = throttle();
        send(&mut throttle, &like(1, 2), start);
        send(&mut throttle, &like(1, 2), start + INTERVAL / 2);
        let due = start + INTERVAL;
        assert_eq!(throttle.decide(&like(2, 2), start + INTERVAL / 2), Decision::DeferUntil(due));
    }

    #[test]
    fn overdue_notification_stays_deferred_until_it_is_sent() {
        let (mut throttle, start) = throttle();
        send(&mut throttle, &like(1, 2), start);
        throttle.decide(&like(2, 2), start);
        let late = start + 2 * INTERVAL;
        assert_eq!(throttle.decide(&like(2, 2), late), Decision::AlreadyDeferred);
        assert!(!throttle.is_idle(late));
        send(&mut throttle, &like(3, 2), late);
        assert_eq!(throttle.due(late + INTERVAL), []);
    }

    #[test]
    fn expired_events_are_forgotten_and_their_number_is_bounded() {
        let (mut throttle, start) = throttle();
        for actor in 0..1000 {
            send(&mut throttle, &like(actor, actor), start);
        }
        for actor in 0..30_000 {
            send(&mut throttle, &like(actor, actor + 5000), start + INTERVAL);
        }
        assert_eq!(throttle.sent.len(), MAX_REMEMBERED_EVENTS);
        assert!(throttle.is_idle(start + 2 * INTERVAL));
    }

    #[test]
    fn older_notification_of_the_same_action_leaves_the_newer_one_deferred() {
        let (mut throttle, start) = throttle();
        send(&mut throttle, &like(1, 2), start);
        throttle.decide(&like(5, 2), start);
        // A slow connection still has row 2, which was deleted since.
        let due = start + INTERVAL;
        assert_eq!(throttle.decide(&like(2, 2), start), Decision::Superseded);
        assert_eq!(throttle.decide(&like(2, 2), due), Decision::Superseded);
        assert_eq!(throttle.due(due), [NotificationId(5)]);
        // It was decided about before row 5.
        throttle.record_sent(&like(2, 2), due);
        assert_eq!(throttle.due(due), [NotificationId(5)]);
    }

    #[test]
    fn older_notification_of_the_same_action_does_not_defer_the_sent_one_again() {
        let (mut throttle, start) = throttle();
        send(&mut throttle, &like(5, 2), start);
        assert_eq!(throttle.decide(&like(2, 2), start), Decision::Superseded);
        throttle.record_sent(&like(2, 2), start);
        send(&mut throttle, &like(5, 2), start);
        assert_eq!(throttle.due(start + INTERVAL), []);
    }

    #[test]
    fn full_memory_forgets_expired_events_once_a_second() {
        let (mut throttle, start) = throttle();
        let half = PRUNE_INTERVAL / 2;
        for actor in 0..10_000 {
            send(&mut throttle, &like(1, actor), start + if actor < 5000 { Duration::ZERO } else { half });
        }
        let mut is_remembered = |actor, now| {
            send(&mut throttle, &like(1, actor), now);
            assert!(throttle.sent.len() <= MAX_REMEMBERED_EVENTS);
            throttle.decide(&like(2, actor), now) != Decision::SendNow
        };
        assert!(!is_remembered(10_000, start + half));
        // The first half has expired.
        assert!((10_000..15_000).all(|actor| is_remembered(actor, start + INTERVAL)));
        assert!(!is_remembered(15_000, start + INTERVAL));
        // The other one has expired too.
        assert!(!is_remembered(15_001, start + INTERVAL + half));
        assert!(is_remembered(15_002, start + INTERVAL + PRUNE_INTERVAL));
    }
}
