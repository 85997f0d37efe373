//! Media files made by code: good ones, good ones with something in them that nobody should see, and refused ones.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a maker is named for what it makes, and used by tests alone"
)]
#![allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "names of chunks and boxes are byte strings, which are references"
)]

pub mod images;
pub mod refused;
pub mod videos;

/// What no cleaned file may contain.
pub const SECRET: &[u8] = b"52.5163N 13.3777E <script>alert(1)</script>";
