//! What real clients see: the official one of JavaScript, that of Python, and some that misbehave.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // a test may read the system's time

mod connecting;
mod delivery;
mod limits;
mod python;
mod raw;
mod server;
mod sessions;
mod several;
mod throttling;
