//! The server: HTTP and documentation on one port.

pub mod app;
#[doc(hidden)]
pub mod bench;
pub mod config;
pub mod doctor;
#[doc(hidden)]
pub mod fuzz;
pub mod metrics;
pub mod openapi;
pub mod server;
pub mod telemetry;

mod call;
mod client;
mod data_dir;
mod error;
mod fields;
mod limits;
mod observe;
mod pages;
mod places;
mod query;
mod routes;
mod security;
mod upload;
mod values;
