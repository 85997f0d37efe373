//! Notifications of the caller.

use actix_web::{
    HttpRequest, HttpResponse, delete, get, put,
    web::{Data, Json},
};
use api_types::Notification;
use domain::{notifications::NotificationId, page::PageSize, users::UserId};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::SuccessResponse;
use crate::{
    error::Result,
    pagination::{List, PageInfo, PageParams},
    request::{AuthenticatedUser, Checked, PathId, Query, request_fields},
    state::AppState,
};

/// A page of notifications.
#[derive(Serialize, ToSchema)]
pub(crate) struct NotificationsResponse {
    /// Notifications, newest first; with `since` oldest first.
    notifications: Vec<Notification>,
    /// Number of all unread notifications.
    #[schema(example = 1)]
    unread_count: i64,
    /// With `since` only: whether more notifications were missed than this page has.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    #[serde(flatten)]
    info: PageInfo,
}

request_fields! {
    /// Filters the list of notifications.
    #[derive(IntoParams)]
    #[into_params(parameter_in = Query)]
    pub(crate) struct NotificationFilter {
        /// Only unread notifications.
        unread_only: Option<bool>,
        /// Only notifications after the one with this id, oldest first: those that a client missed. Returns the first
        /// `page_size` of them. If `truncated` is true, continue with the last id as `since`.
        #[param(value_type = Option<i64>, minimum = 0, maximum = 9_007_199_254_740_991_i64)]
        since: Option<NotificationId>,
    }
}

/// Lists the caller's notifications.
#[utoipa::path(
    operation_id = "listNotifications",
    path = "/notifications/",
    tag = "notifications",
    security(("access" = [])),
    params(NotificationFilter, PageParams),
    responses((status = 200, description = "A page of notifications", body = NotificationsResponse))
)]
#[get("/notifications")]
pub(crate) async fn list(
    Checked((caller, filter, params)): Checked<(
        AuthenticatedUser,
        Query<NotificationFilter>,
        Query<PageParams>,
    )>,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse> {
    if let Some(since) = filter.since {
        return missed(&state, caller.user, since, &params).await;
    }
    let unread_only = filter.unread_only.unwrap_or(false);
    let list = List(format!("notifications of {} {unread_only}", caller.user.0));
    let paging = params.paging(&state.cursors, list, PageSize::DEFAULT)?;
    let found =
        state
            .run(|services| async move {
                services.notifications.list(caller.user, unread_only, paging.request).await
            })
            .await?;
    let unread_count = found.unread_count;
    paging.respond(&state.cursors, &request, found.page, |items, info| NotificationsResponse {
        notifications: items.into_iter().map(Into::into).collect(),
        unread_count,
        truncated: None,
        info,
    })
}

async fn missed(
    state: &AppState,
    user: UserId,
    since: NotificationId,
    params: &PageParams,
) -> Result<HttpResponse> {
    let size = params.paging(&state.cursors, List(String::new()), PageSize::MAX)?.request.size.get();
    let missed =
        state.run(|services| async move { services.notifications.missed(user, since, size).await }).await?;
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

/// Marks all notifications as read.
#[utoipa::path(
    operation_id = "markAllNotificationsRead",
    tag = "notifications",
    security(("access" = [])),
    responses((status = 200, description = "All notifications are read", body = SuccessResponse))
)]
#[put("/notifications/read-all")]
pub(crate) async fn mark_all_read(
    Checked(caller): Checked<AuthenticatedUser>,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    state.run(|services| async move { services.notifications.mark_all_read(caller.user).await }).await?;
    Ok(SuccessResponse::new("All notifications marked as read"))
}

/// Marks a notification as read.
#[utoipa::path(
    operation_id = "markNotificationRead",
    tag = "notifications",
    security(("access" = [])),
    params(("notification_id" = i64, Path, description = "Id of the notification")),
    responses((status = 200, description = "The notification is read", body = SuccessResponse))
)]
#[put("/notifications/{notification_id}/read")]
pub(crate) async fn mark_read(
    Checked((caller, id)): Checked<(AuthenticatedUser, PathId<NotificationId>)>,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    state.run(|services| async move { services.notifications.mark_read(caller.user, id).await }).await?;
    Ok(SuccessResponse::new("Notification marked as read"))
}

/// Deletes a notification.
#[utoipa::path(
    operation_id = "deleteNotification",
    tag = "notifications",
    security(("access" = [])),
    params(("notification_id" = i64, Path, description = "Id of the notification")),
    responses((status = 200, description = "The notification is deleted", body = SuccessResponse))
)]
#[delete("/notifications/{notification_id}")]
pub(crate) async fn delete(
    Checked((caller, id)): Checked<(AuthenticatedUser, PathId<NotificationId>)>,
    state: Data<AppState>,
) -> Result<Json<SuccessResponse>> {
    state.run(|services| async move { services.notifications.delete(caller.user, id).await }).await?;
    Ok(SuccessResponse::new("Notification deleted"))
}
