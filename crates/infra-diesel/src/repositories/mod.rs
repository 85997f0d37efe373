//! The repositories, one file a noun, for both databases.

pub(crate) mod accounts;
pub(crate) mod comments;
mod deleted_posts;
pub(crate) mod follows;
mod health;
mod maintenance;
pub(crate) mod media;
pub(crate) mod notifications;
mod outbox;
pub(crate) mod posts;
pub(crate) mod profiles;
mod sessions;
pub(crate) mod username_holds;
pub(crate) mod usernames;

pub(crate) use crate::db::Repositories;
