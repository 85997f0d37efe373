//! The server as clients see it: the official JavaScript client, the Python client, and handwritten ones.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // a test may read the system's time

mod cluster;
mod connecting;
mod delivery;
mod limits;
mod python;
mod raw;
mod server;
mod sessions;
mod throttling;
