//! PostgreSQL: connections, pools, batches and what only it does.

pub(crate) mod admin;
pub(crate) mod connect;
pub(crate) mod database;
pub(crate) mod deeds;
pub(crate) mod groups;
pub(crate) mod lanes;
pub(crate) mod pools;
pub(crate) mod replica;
