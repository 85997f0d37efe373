//! Writes of several statements each, which the writer executes as one transaction. There is no network, so nothing is
//! gained by fewer statements.

pub(crate) mod comments;
pub(crate) mod follows;
pub(crate) mod likes;
pub(crate) mod posts;

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _};
use domain::{
    notifications::{Activity, NotificationId, NotificationView},
    users::UserId,
};

use crate::{
    connection::Connection,
    error::DbError,
    repositories::usernames::username_of,
    schema::{Timestamp, later_of, notifications, user_counters},
};

/// Stores and counts a notification, unless the actor is the recipient. It is never older than the recipient's last one.
async fn notify(
    tx: &mut Connection<'_>,
    recipient: UserId,
    actor: UserId,
    activity: Activity,
    at: DateTime<Utc>,
) -> Result<Option<NotificationView>, DbError> {
    if recipient == actor {
        return Ok(None);
    }
    let Some(actor_username) = username_of(tx, actor).await? else { return Ok(None) };
    let count = diesel::update(user_counters::table.find(recipient.0))
        .set((
            user_counters::notifications.eq(user_counters::notifications + 1),
            user_counters::unread.eq(user_counters::unread + 1),
            user_counters::last_notification_at
                .eq(later_of(user_counters::last_notification_at, Timestamp(at))),
        ))
        .returning(user_counters::last_notification_at);
    let Some(created_at) = tx.first::<DateTime<Utc>, _>(count).await? else { return Ok(None) };
    let insert = diesel::insert_into(notifications::table)
        .values((
            notifications::recipient_id.eq(recipient.0),
            notifications::actor_id.eq(actor.0),
            notifications::kind.eq(activity.kind()),
            notifications::post_id.eq(activity.post().map(|post| post.0)),
            notifications::comment_id.eq(activity.comment().map(|comment| comment.0)),
            notifications::created_at.eq(Timestamp(created_at)),
        ))
        .returning(notifications::id);
    let id: Option<i64> = tx.first(insert).await?;
    Ok(id.map(|id| NotificationView {
        id: NotificationId(id),
        recipient,
        actor,
        actor_username,
        activity,
        is_read: false,
        created_at,
    }))
}
