//! The server under test, in this process or in its own, and a client for it.

mod client;
mod cloudinary;
mod media;
mod openapi;
mod process;
mod server;
mod users;

use std::time::{Duration, Instant};

use test_support::socketio::Clients;

pub(crate) use client::{ApiClient, PASSWORD, Response, User};
pub(crate) use cloudinary::{
    cloudinary_settings, make_deletions_due, pending_deletions, start_with_cloudinary,
};
pub(crate) use media::{contains_secret, file_form, files_in, media_path, stored_files, upload};
pub(crate) use openapi::{
    BodyOperation, closed_operations, operation_paths, operations, operations_with_body,
};
pub(crate) use process::{Process, command, run_command};
pub(crate) use server::Server;
pub(crate) use users::create_users;

/// Waits until `condition` returns true.
///
/// # Panics
/// After half a minute, with `description`.
pub(crate) async fn wait_until(description: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(30), "timed out waiting until {description}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Starts the official JavaScript client.
pub(crate) fn start_socket_clients() -> Clients {
    Clients::start(env!("CARGO_TARGET_TMPDIR"))
}
