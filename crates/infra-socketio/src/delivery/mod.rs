//! Delivery: what each user's connections receive, and in which order.

pub(crate) mod connection;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod signal;
pub(crate) mod user;
