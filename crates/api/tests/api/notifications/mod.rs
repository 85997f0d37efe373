mod list;
mod update;

use serde_json::Value;

use crate::harness::{ApiClient, User};

/// Returns the user's notifications, their total and the number of unread ones.
pub(crate) async fn notifications_of(server: &ApiClient, user: &User) -> (Vec<Value>, i64, i64) {
    let list = server.get("/notifications/", user).await.ok();
    let number = |key: &str| list[key].as_i64().unwrap();
    (list["notifications"].as_array().unwrap().clone(), number("total"), number("unread_count"))
}
