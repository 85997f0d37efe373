//! The first events of a connection.

use std::sync::Arc;

use domain::notifications::NotificationId;

use crate::{
    delivery::{
        connection::{Connection, ReplayedRange, SendOutcome},
        context::DeliveryContext,
        user::UserChannel,
    },
    events::{Connected, NewNotification, ReplayComplete, names},
};

/// Sends `connected`, replays what was missed since `since`, and makes the connection live.
pub(crate) async fn welcome(
    context: &Arc<DeliveryContext>,
    channel: &Arc<UserChannel>,
    connection: &Connection,
    since: Option<NotificationId>,
) {
    let unread = match context.unread_state(connection.user).await {
        Ok(unread) => unread,
        Err(error) => {
            tracing::warn!(user.id = connection.user.0, %error, "failed to read the state of notifications");
            return context.engine.close(&connection.transport);
        }
    };
    let greeting = Connected {
        message: "Connected to notification service",
        user_id: connection.user.0,
        unread_count: unread.unread_count,
    };
    let mut outcome = connection.send(names::CONNECTED, &greeting);
    let mut cursor = unread.newest;
    if let (Some(since), SendOutcome::Queued) = (since, outcome) {
        let last;
        (last, outcome) = replay(context, connection, since).await;
        cursor = cursor.max(last);
    }
    if outcome == SendOutcome::Queued {
        channel.go_live(context, connection, cursor).await;
    }
    context.close_if_too_slow(connection, outcome);
}

/// Sends the notifications above `since`, then `replay_complete`. Returns the last notification that was sent.
async fn replay(
    context: &DeliveryContext,
    connection: &Connection,
    since: NotificationId,
) -> (NotificationId, SendOutcome) {
    let (limit, timeout) = (context.engine.config.max_replayed, context.engine.config.send_timeout);
    let rows = match context.read_since(connection.user, since, limit + 1).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(user.id = connection.user.0, %error, "failed to read missed notifications");
            context.engine.close(&connection.transport);
            return (since, SendOutcome::Closed);
        }
    };
    let mut last = NotificationId(0);
    for row in rows.iter().take(limit) {
        let body = NewNotification::new(row.clone(), true);
        let outcome = connection.send_when_ready(names::NEW_NOTIFICATION, &body, timeout).await;
        if outcome != SendOutcome::Queued {
            return (last, outcome);
        }
        context.engine.metrics.counters().replayed += 1;
        last = row.id;
    }
    connection.record_replay(ReplayedRange(since, last));
    let complete = ReplayComplete { count: rows.len().min(limit), truncated: rows.len() > limit };
    (last, connection.send_when_ready(names::REPLAY_COMPLETE, &complete, timeout).await)
}
