//! Media files made by code: accepted ones, with and without metadata, and rejected ones; and the check that the fuzzer
//! runs.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "functions are named for the files that they make; only tests use them"
)]
#![allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "names of chunks and boxes are byte string literals, which are references"
)]

pub mod images;
pub mod refused;
pub mod repaired;
pub mod videos;
pub mod worst;

use std::fs;

use crate::{Error, Format, Limits, Sanitizer};

/// Metadata that no sanitized file may contain.
pub const SECRET: &[u8] = b"52.5163N 13.3777E <script>alert(1)</script>";

/// Returns accepted files of every format.
pub fn accepted() -> Vec<Vec<u8>> {
    vec![
        images::jpeg(),
        images::jpeg_of_a_phone(6, true),
        images::png(),
        images::png_of_a_phone(6),
        images::png_animated(),
        images::png_of_a_palette(),
        images::gif(),
        images::gif_of_a_talker(),
        images::webp(),
        images::webp_of_a_phone(6),
        images::webp_animated(),
        images::WEBP_LOSSY.to_owned(),
        videos::mp4(),
        videos::mp4_fragmented(),
        videos::webm(),
        videos::webm_live(),
        videos::quicktime(),
        videos::webm_with_subtitles(),
    ]
}

/// Returns accepted and rejected files, as seeds of a fuzzer.
pub fn seeds() -> Vec<Vec<u8>> {
    let rejected = [refused::malformed(), refused::unsupported(), refused::too_large()].concat();
    accepted().into_iter().chain(rejected.into_iter().map(|(_, file)| file)).collect()
}

/// Checks for any bytes that sanitizing them twice changes nothing and that no file grows.
///
/// # Panics
/// If the check fails.
pub fn check_invariants(data: &[u8]) {
    let Some((format, sanitized)) = sanitize(data) else { return };
    assert!(sanitized.len() <= data.len() + 64, "it grows from {} to {} bytes", data.len(), sanitized.len());
    assert!(sanitize(&sanitized) == Some((format, sanitized)), "sanitizing twice changes nothing");
}

fn sanitize(data: &[u8]) -> Option<(Format, Vec<u8>)> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upload");
    fs::write(&path, data).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    match runtime.block_on(Sanitizer::new(Limits::default(), 1).sanitize(&path)) {
        Ok(file) => Some((file.format, fs::read(&path).unwrap())),
        Err(
            Error::Malformed(_)
            | Error::TooLarge
            | Error::TooManyPixels
            | Error::Unsupported
            | Error::UnsupportedCodec(_),
        ) => None,
        Err(Error::TimedOut) => panic!("it takes too long"),
        Err(Error::Io(error)) => panic!("{error}"),
    }
}
