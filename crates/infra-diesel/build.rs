//! Migrations are embedded by a macro, whose folder Cargo does not watch by itself.

#![allow(clippy::print_stdout)] // that is how a build script speaks

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
