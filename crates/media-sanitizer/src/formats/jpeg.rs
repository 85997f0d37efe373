//! JPEG (ITU-T T.81): a sequence of segments, with compressed data after each start of scan.

use std::io::{Seek as _, SeekFrom, Write as _};

use super::{exif, jpeg_scan::Layout};
use crate::{
    error::{Error, TRUNCATED},
    source::{Sink, Source},
};

const PROGRESSIVE: u8 = 0xC2;
const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DHT: u8 = 0xC4;
const DQT: u8 = 0xDB;
const DRI: u8 = 0xDD;
const COM: u8 = 0xFE;
const APP0: u8 = 0xE0;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;
const APP15: u8 = 0xEF;

/// Maximum number of scans. Encoders write about a dozen; files with thousands are made to overload decoders.
const MAX_SCANS: u32 = 200;

const ICC: &[u8] = b"ICC_PROFILE\0";

#[derive(Default)]
struct Jpeg {
    has_frame: bool,
    scans: u32,
    has_profile: bool,
    /// Application segments found so far that must not repeat, as bits.
    found: u16,
    /// Whether the frame is progressive.
    is_progressive: bool,
    layout: Layout,
}

/// Copies the segments that decoding, colors and orientation need.
pub(crate) fn clean(source: &mut Source, sink: &mut Sink) -> Result<(), Error> {
    if source.array()? != [0xFF, SOI] {
        return Err(Error::Unsupported);
    }
    sink.write_all(&[0xFF, SOI])?;
    let mut jpeg = Jpeg::default();
    let mut marker = next_marker(source)?;
    while marker != EOI {
        let segment = match segment(source) {
            // Browsers show files without an end.
            Err(error) if jpeg.scans > 0 && is_removed(marker) && error.is_truncation() => break,
            segment => segment?,
        };
        match marker {
            0xC0..=0xC2 => {
                jpeg.check_frame(source, &segment)?;
                jpeg.is_progressive = marker == PROGRESSIVE;
                jpeg.layout.set_frame(&segment);
            }
            SOS => jpeg.check_scan(&segment)?,
            DHT => jpeg.layout.set_tables(&segment)?,
            DQT => check_quantization_tables(&segment)?,
            DRI if segment.len() == 2 => jpeg.layout.set_restart_interval(&segment),
            _ if is_removed(marker) => {
                if let Some(copy) = jpeg.sanitize_segment(marker, segment) {
                    write_segment(sink, marker, &copy)?;
                }
                marker = match next_marker(source) {
                    Err(error) if jpeg.scans > 0 && error.is_truncation() => EOI,
                    marker => marker?,
                };
                continue;
            }
            _ => return Err(Error::Malformed("it has a JPEG segment that browsers cannot show")),
        }
        write_segment(sink, marker, &segment)?;
        marker = if marker == SOS { jpeg.copy_scan(source, sink, &segment)? } else { next_marker(source)? };
    }
    if jpeg.scans == 0 {
        return Err(Error::Malformed("the JPEG has no picture"));
    }
    Ok(sink.write_all(&[0xFF, EOI])?)
}

impl Jpeg {
    fn check_frame(&mut self, source: &Source, segment: &[u8]) -> Result<(), Error> {
        let &[precision, height_1, height_0, width_1, width_0, components, ref rest @ ..] = segment else {
            return Err(Error::Malformed("the JPEG frame is too short"));
        };
        let has_right_shape =
            precision == 8 && matches!(components, 1 | 3 | 4) && rest.len() == 3 * usize::from(components);
        if self.has_frame || !has_right_shape {
            return Err(Error::Malformed("the JPEG frame is not one that browsers can show"));
        }
        self.has_frame = true;
        let measure = |high, low| u64::from(u16::from_be_bytes([high, low]));
        source.check_pixels(measure(width_1, width_0), measure(height_1, height_0))
    }

    fn check_scan(&mut self, segment: &[u8]) -> Result<(), Error> {
        self.scans += 1;
        let components = usize::from(segment.first().copied().unwrap_or_default());
        if !self.has_frame || !(1..=4).contains(&components) || segment.len() != 4 + 2 * components {
            return Err(Error::Malformed("a JPEG scan has no right header"));
        }
        if self.scans > MAX_SCANS {
            return Err(Error::Malformed("the JPEG has too many scans"));
        }
        Ok(())
    }

    /// Copies compressed data and returns the marker after it. If there is none, the end of the image.
    fn copy_scan(&self, source: &mut Source, sink: &mut Sink, header: &[u8]) -> Result<u8, Error> {
        let (from, to) = (source.position(), sink.stream_position()?);
        match copy_scan(source, sink) {
            Ok(marker @ (DHT | DQT | DRI | SOS | EOI)) => return Ok(marker),
            Ok(marker) if is_removed(marker) => return Ok(marker),
            Err(error) if !error.is_truncation() => return Err(error),
            _ => {}
        }
        if self.is_progressive {
            return if sink.stream_position()? > to { Ok(EOI) } else { Err(TRUNCATED) };
        }
        // What follows the picture was taken for a part of it.
        source.seek(from)?;
        let length = self.layout.scan_length(source, header)?;
        sink.seek(SeekFrom::Start(to))?;
        sink.get_ref().set_len(to)?;
        source.seek(from)?;
        source.copy(length, sink)?;
        Ok(EOI)
    }

    /// Returns the part of an application segment to copy. Decoders ignore those after the first scan.
    fn sanitize_segment(&mut self, marker: u8, segment: Vec<u8>) -> Option<Vec<u8>> {
        if self.scans > 0 {
            return None;
        }
        match marker {
            APP0 if segment.starts_with(b"JFIF\0") && segment.len() >= 14 => {
                // Determines the color space. A thumbnail of the uncropped image may follow.
                self.is_first(marker).then(|| [&segment[..12], &[0, 0]].concat())
            }
            APP1 if segment.starts_with(b"Exif\0\0") && self.is_first(marker) => {
                let orientation = exif::orientation(&segment)?;
                Some([b"Exif\0\0".as_slice(), &exif::only_orientation(orientation)].concat())
            }
            APP2 if segment.starts_with(ICC) => {
                let number = segment.get(ICC.len());
                if number == Some(&1) {
                    // The signature of a profile (ICC.1, section 7.2).
                    self.has_profile = segment.get(50..54) == Some(b"acsp");
                }
                self.has_profile.then_some(segment)
            }
            APP14 if segment.starts_with(b"Adobe") && segment.len() >= 12 => {
                self.is_first(marker).then(|| segment[..12].to_owned())
            }
            _ => None,
        }
    }

    /// Returns whether this is the first call for an application segment's marker.
    fn is_first(&mut self, marker: u8) -> bool {
        let bit = 1 << (marker - APP0);
        let is_first = self.found & bit == 0;
        self.found |= bit;
        is_first
    }
}

/// Returns whether a segment is application data or a comment, of which little or nothing is kept.
fn is_removed(marker: u8) -> bool {
    matches!(marker, APP0..=APP15 | COM)
}

/// Reads a marker. Any number of 0xFF bytes may precede it.
fn next_marker(source: &mut Source) -> Result<u8, Error> {
    if source.byte()? != 0xFF {
        return Err(Error::Malformed("something stands between the JPEG segments"));
    }
    loop {
        match source.byte()? {
            0xFF => {}
            marker => return Ok(marker),
        }
    }
}

fn segment(source: &mut Source) -> Result<Vec<u8>, Error> {
    source.count_part()?;
    let length = u16::from_be_bytes(source.array()?);
    let length = length.checked_sub(2).ok_or(Error::Malformed("a JPEG segment has no right length"))?;
    source.bytes(u64::from(length))
}

fn write_segment(sink: &mut Sink, marker: u8, segment: &[u8]) -> Result<(), Error> {
    let length = u16::try_from(segment.len() + 2)
        .map_err(|_| Error::Malformed("a JPEG segment has no right length"))?;
    sink.write_all(&[0xFF, marker])?;
    sink.write_all(&length.to_be_bytes())?;
    Ok(sink.write_all(segment)?)
}

/// Copies compressed data and returns the marker after it.
fn copy_scan(source: &mut Source, sink: &mut Sink) -> Result<u8, Error> {
    let mut length = 0;
    loop {
        length += source.copy_until(0xFF, sink)?;
        let mut marker = 0xFF;
        while marker == 0xFF {
            marker = source.byte()?;
        }
        match marker {
            // An escaped 0xFF byte, or a restart marker.
            0 | 0xD0..=0xD7 => {
                length += 1;
                sink.write_all(&[0xFF, marker])?;
            }
            _ if length == 0 => return Err(Error::Malformed("a JPEG scan is empty")),
            marker => return Ok(marker),
        }
    }
}

fn check_quantization_tables(mut tables: &[u8]) -> Result<(), Error> {
    while let Some((&head, rest)) = tables.split_first() {
        let length = match head >> 4 {
            0 => 64,
            1 => 128,
            _ => usize::MAX,
        };
        tables = rest.get(length..).ok_or(Error::Malformed("a JPEG quantization table is not whole"))?;
    }
    Ok(())
}
