//! The commands, one file for each. Errors are sentences for the operator.

pub(crate) mod doctor;
pub(crate) mod healthcheck;
pub(crate) mod migrate;
pub(crate) mod seed;
pub(crate) mod serve;

use std::io::Write as _;

use api::config::Config;

/// Prints a line to the standard output.
pub(crate) fn print(text: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| error.to_string())
}

/// Reads the settings.
fn config() -> Result<Config, String> {
    Config::from_env().map_err(|errors| errors.to_string())
}
