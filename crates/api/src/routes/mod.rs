//! The routes: a file a noun. Each handler reads the request, calls one use case and shows what it returned.

pub(crate) mod comments;
pub(crate) mod docs;
pub(crate) mod follows;
pub(crate) mod inbox;
pub(crate) mod media;
pub(crate) mod notifications;
pub(crate) mod operations;
pub(crate) mod posts;
pub(crate) mod sessions;
pub(crate) mod socketio;
pub(crate) mod users;

use serde::Serialize;
use utoipa::ToSchema;

/// It is done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// Always true.
    #[schema(example = true)]
    success: bool,
    /// What was done.
    #[schema(example = "Post deleted successfully")]
    message: &'static str,
}

impl Done {
    /// Says what was done.
    pub(crate) fn new(message: &'static str) -> actix_web::web::Json<Self> {
        actix_web::web::Json(Self { success: true, message })
    }
}
