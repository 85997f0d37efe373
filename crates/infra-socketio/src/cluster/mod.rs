//! Several server processes: messages over Redis.

pub(crate) mod message;
pub(crate) mod presence;
pub(crate) mod publisher;
pub(crate) mod seal;
pub(crate) mod subscriber;
