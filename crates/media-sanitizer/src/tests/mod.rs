//! Tests of the public interface on real files. All files are made by code.

mod accepted;
mod cost;
mod mutations;
mod polyglots;
mod refused;
mod repaired;

use std::{fs, future::Future, path::Path, time::Duration};

use image::{
    AnimationDecoder as _, DynamicImage, Frame, ImageDecoder as _, ImageReader, metadata::Orientation,
};

use crate::testing::{SECRET, images as make, videos};

use super::{Error, Format, Limits, SanitizedFile, Sanitizer};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Sanitizes a file with these bytes; returns its format and its bytes afterwards.
fn inspect(bytes: &[u8], limits: Limits) -> Result<(SanitizedFile, Vec<u8>), Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("upload");
    fs::write(&path, bytes).unwrap();
    let result = run(Sanitizer::new(limits, 1).sanitize(&path));
    let after = fs::read(&path).unwrap();
    assert_eq!(names_in(directory.path()), ["upload"], "no temporary file remains");
    match result {
        Ok(file) => {
            assert_eq!(file.size, after.len() as u64);
            Ok((file, after))
        }
        Err(error) => {
            assert!(after == bytes, "a rejected file stays unchanged");
            Err(error)
        }
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Sanitizes a file that must be accepted as this format; a second pass must not change it.
fn clean(kind: Format, bytes: &[u8]) -> Vec<u8> {
    let (file, cleaned) = inspect(bytes, Limits::default()).unwrap();
    assert_eq!(file.format, kind);
    let (_, again) = inspect(&cleaned, Limits::default()).unwrap();
    assert!(again == cleaned, "sanitizing twice changes nothing");
    cleaned
}

fn refuse(bytes: &[u8]) -> Error {
    inspect(bytes, Limits::default()).unwrap_err()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn decode(bytes: &[u8]) -> DynamicImage {
    image::load_from_memory(bytes).unwrap()
}

/// The orientation and the color profile that a decoder finds.
fn shown_as(bytes: &[u8]) -> (Orientation, Option<Vec<u8>>) {
    let reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format().unwrap();
    let mut decoder = reader.into_decoder().unwrap();
    (decoder.orientation().unwrap(), decoder.icc_profile().unwrap())
}

/// The frames of an animation with their delays.
fn frames(kind: Format, bytes: &[u8]) -> Vec<(Vec<u8>, u32)> {
    use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
    let bytes = std::io::Cursor::new(bytes);
    let frames = match kind {
        Format::Gif => GifDecoder::new(bytes).unwrap().into_frames(),
        Format::Png => PngDecoder::new(bytes).unwrap().apng().unwrap().into_frames(),
        Format::Webp => WebPDecoder::new(bytes).unwrap().into_frames(),
        _ => unreachable!("not an animation"),
    };
    let frames = frames.collect_frames().unwrap();
    let parts = |frame: &Frame| (frame.buffer().as_raw().clone(), frame.delay().numer_denom_ms().0);
    frames.iter().map(parts).collect()
}

fn is_malformed(error: &Error) -> bool {
    matches!(error, Error::Malformed(_))
}
