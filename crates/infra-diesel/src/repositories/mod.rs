//! The repositories, one file a noun, for both databases.

pub(crate) mod accounts;
pub(crate) mod comments;
mod follows;
mod health;
mod maintenance;
mod media;
pub(crate) mod notifications;
mod outbox;
pub(crate) mod posts;
mod sessions;
pub(crate) mod username_holds;

use crate::sql::row::row;
pub(crate) use crate::{
    db::Repositories,
    paging::{FAR_FUTURE, upper_bound},
};

row! {
    /// A single number.
    pub(crate) struct NumberRow {
        pub(crate) value: i64,
    }
}
