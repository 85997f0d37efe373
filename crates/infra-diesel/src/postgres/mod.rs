//! PostgreSQL: connections, pools, batches and what only it does.

pub(crate) mod admin;
pub(crate) mod batch;
mod checks;
mod connect;
pub(crate) mod database;
pub(crate) mod pipeline;
pub(crate) mod pool;
pub(crate) mod replica;
pub(crate) mod server;
pub(crate) mod sqlstate;
mod stream;
mod tls;
pub(crate) mod writes;
