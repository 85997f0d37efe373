//! SQLite: the file, its writer, its readers and what only it does.

pub(crate) mod admin;
pub(crate) mod connect;
pub(crate) mod database;
pub(crate) mod lock;
mod reserve;
pub(crate) mod writer;
pub(crate) mod writes;
