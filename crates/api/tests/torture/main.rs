//! What the server promises when things go wrong, tried on the program itself: killed, starved, attacked.
//!
//! The short forms run with all tests. `just torture` runs the long ones, and prints what was tried and violated.

#![allow(clippy::unwrap_used)] // a test may panic anywhere

mod crashes;
mod database;
mod guesses;
mod http;
mod load;
mod mail;
mod once;
mod program;
mod secrets;
mod settings;
mod stop;
mod tables;
mod tokens;

/// Prints what was tried and how often the promise did not hold, which must be never.
///
/// # Panics
/// If it did not hold, or nothing was tried.
#[allow(clippy::print_stdout)] // the figures are what it is run for
fn report(what: &str, tried: usize, violated: &[String]) {
    println!("{what}: tried {tried}, violated {}", violated.len());
    assert!(tried > 0, "{what}: nothing was tried");
    assert!(violated.is_empty(), "{what}: {:?}", &violated[..violated.len().min(20)]);
}
