//! What tests of the server need from inside.

use crate::{SocketConfig, cluster::message::ClusterMessage, cluster::seal::Seal};

/// Returns the message by which a process asks those with the same configuration to catch up. Numbers increase from one
/// message of a process to the next.
///
/// # Errors
/// None that can be expected.
pub fn catch_up_message(
    config: &SocketConfig,
    process: &str,
    number: u64,
) -> Result<Vec<u8>, serde_json::Error> {
    Seal::new(config).seal(process, number, &ClusterMessage::CatchUp)
}
