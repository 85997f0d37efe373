//! Promises that hold when things go wrong: the server killed, starved or attacked.
//!
//! The short tests run with all others. `just resilience` runs the long ones and prints how much was checked.

mod account_enumeration;
mod anonymous_load;
mod cluster;
mod counters;
mod crashes;
mod database;
mod faults;
mod full_disk;
mod http;
mod killed_uploads;
mod load;
mod mail;
mod secrets;
mod settings;
mod single_use;
mod slow_uploads;
mod sockets;
mod stop;
mod table_dump;
mod tokens;

/// Prints how many checks ran and how many failed.
///
/// # Panics
/// If a check failed, or none ran.
#[allow(clippy::print_stdout)] // read by the person who runs the long tests
fn report(subject: &str, checks: usize, failures: &[String]) {
    println!("{subject}: {checks} checks, {} failures", failures.len());
    assert!(checks > 0, "{subject}: nothing was checked");
    assert!(failures.is_empty(), "{subject}: {:?}", &failures[..failures.len().min(20)]);
}
