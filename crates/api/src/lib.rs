//! The server: REST API, documentation, Socket.IO and metrics.

pub mod app;
#[doc(hidden)]
pub mod bench;
pub mod config;
pub mod docs;
pub mod doctor;
#[doc(hidden)]
pub mod fuzz;
pub mod server;
pub mod state;
pub mod telemetry;

mod adapters;
mod background;
mod data_dir;
mod error;
mod middleware;
mod pagination;
mod parse;
mod request;
mod routes;
mod socket_authenticator;
