//! Notifications.

use actix_web::{HttpResponse, delete, get, put, web::Json};
use api_types::Notification;
use domain::{notifications::NotificationId, page::PageSize, users::UserId};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Done;
use crate::{
    error::Result,
    pagination::{List, PageInfo, PageQuery},
    request::context::RequestContext,
};

/// A page of notifications.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotificationsResponse {
    /// The newest first.
    notifications: Vec<Notification>,
    /// How many unread ones there are in all.
    #[schema(example = 1)]
    unread_count: i64,
    /// With `since` only: whether more was missed than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    #[serde(flatten)]
    info: PageInfo,
}

/// What the list is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // read by `Call`; this documents it
pub(crate) struct NotificationFilter {
    /// Whether only unread ones are listed.
    unread_only: Option<bool>,
    /// Only what came after the notification with this id, oldest first: what a client missed. The page is the first
    /// `page_size` of them; `truncated` says that there are more, which come with the last id as `since`.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    since: Option<i64>,
}

/// One's notifications.
#[utoipa::path(
    path = "/notifications/",
    tag = "notifications",
    security(("access" = [])),
    params(NotificationFilter, PageQuery),
    responses((status = 200, body = NotificationsResponse))
)]
#[get("/notifications")]
pub(crate) async fn list(context: RequestContext) -> Result<HttpResponse> {
    let me = context.verified().await?.user;
    let unread_only = context.flag("unread_only")?;
    if let Some(since) = context.since()? {
        return missed(&context, me, since).await;
    }
    let paging = context.page(List(format!("notifications of {} {unread_only}", me.0)), PageSize::DEFAULT)?;
    let request = paging.request;
    let found = context
        .run(|services| async move { services.notifications.list(me, unread_only, request).await })
        .await?;
    let unread_count = found.unread_count;
    context.list_response(&paging, found.page, |items, info| NotificationsResponse {
        notifications: items.into_iter().map(Into::into).collect(),
        unread_count,
        truncated: None,
        info,
    })
}

async fn missed(context: &RequestContext, me: UserId, since: NotificationId) -> Result<HttpResponse> {
    let size = context.page(List(String::new()), PageSize::MAX)?.request.size.get();
    let missed =
        context.run(|services| async move { services.notifications.missed(me, since, size).await }).await?;
    let total = i64::try_from(missed.notifications.len()).unwrap_or(i64::MAX);
    Ok(HttpResponse::Ok().json(NotificationsResponse {
        notifications: missed.notifications.into_iter().map(Into::into).collect(),
        truncated: Some(missed.truncated),
        unread_count: missed.unread_count,
        info: PageInfo {
            total,
            page: 1,
            page_size: size,
            total_pages: i64::from(total > 0),
            next_cursor: None,
        },
    }))
}

/// Marks all as read.
#[utoipa::path(tag = "notifications", security(("access" = [])), responses((status = 200, body = Done)))]
#[put("/notifications/read-all")]
pub(crate) async fn mark_all_read(context: RequestContext) -> Result<Json<Done>> {
    let me = context.verified().await?.user;
    context.run(|services| async move { services.notifications.mark_all_read(me).await }).await?;
    Ok(Done::new("All notifications marked as read"))
}

/// Marks one as read; repeating is fine.
#[utoipa::path(
    tag = "notifications",
    security(("access" = [])),
    params(("notification_id" = i64, Path, description = "Which one")),
    responses((status = 200, body = Done))
)]
#[put("/notifications/{notification_id}/read")]
pub(crate) async fn mark_read(context: RequestContext) -> Result<Json<Done>> {
    let me = context.verified().await?.user;
    let id = NotificationId(context.id("notification_id")?);
    context.run(|services| async move { services.notifications.mark_read(me, id).await }).await?;
    Ok(Done::new("Notification marked as read"))
}

/// Deletes one.
#[utoipa::path(
    tag = "notifications",
    security(("access" = [])),
    params(("notification_id" = i64, Path, description = "Which one")),
    responses((status = 200, body = Done))
)]
#[delete("/notifications/{notification_id}")]
pub(crate) async fn delete(context: RequestContext) -> Result<Json<Done>> {
    let me = context.verified().await?.user;
    let id = NotificationId(context.id("notification_id")?);
    context.run(|services| async move { services.notifications.delete(me, id).await }).await?;
    Ok(Done::new("Notification deleted"))
}
