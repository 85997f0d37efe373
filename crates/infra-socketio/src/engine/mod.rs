//! Bytes: from HTTP requests to the Engine.IO library and back.

pub(crate) mod connect_error;
pub(crate) mod listen;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod route;
pub(crate) mod shared;
pub(crate) mod transport;
pub(crate) mod upgrade;
pub(crate) mod websocket;
