//! WebP (RFC 9649): a RIFF container of chunks.

use std::io::{Seek as _, SeekFrom, Write as _};

use super::exif;
use crate::{
    error::{Error, TRUNCATED},
    source::{Sink, Source},
};

const HAS_PROFILE: u8 = 0x20;
const HAS_ALPHA: u8 = 0x10;
const HAS_EXIF: u8 = 0x08;
const IS_ANIMATED: u8 = 0x02;

const OUT_OF_PLACE: Error = Error::Malformed("a chunk of the WebP is out of place");

/// Maximum size of Exif that is read into memory. Larger one is left out.
const MAX_EXIF_BYTES: u32 = 4 << 20;

/// Offsets of the size and the flags.
const SIZE_AT: u64 = 4;
const FLAGS_AT: u64 = 20;

#[derive(Default)]
struct Webp {
    is_extended: bool,
    /// The feature flags of the file.
    flags: u8,
    width: u64,
    height: u64,
    /// Chunks found so far that must not repeat.
    found: Vec<[u8; 4]>,
    images: u64,
    has_exif: bool,
    orientation: Option<u8>,
}

struct Chunk {
    kind: [u8; 4],
    length: u32,
}

impl Chunk {
    /// Chunks of odd length are followed by a byte of padding.
    fn padding(&self) -> u64 {
        u64::from(self.length & 1)
    }
}

/// Copies the images, their animation, colors, transparency and orientation.
pub(crate) fn clean(source: &mut Source, sink: &mut Sink) -> Result<(), Error> {
    let (b"RIFF", size, b"WEBP") = (&source.array()?, source.u32_le()?, &source.array()?) else {
        return Err(Error::Unsupported);
    };
    // Some programs leave out the padding of the last chunk, and some do not count it.
    let end = 8 + u64::from(size) + u64::from(size & 1);
    if end == source.length() + 1 {
        source.append_zero();
    }
    if end > source.length() {
        return Err(TRUNCATED);
    }
    sink.write_all(b"RIFF\0\0\0\0WEBP")?;
    let mut webp = Webp::default();
    webp.first_chunk(source, sink, end)?;
    while source.position() < end {
        webp.chunk(source, sink, end)?;
    }
    webp.finish(sink)
}

impl Webp {
    fn first_chunk(&mut self, source: &mut Source, sink: &mut Sink, end: u64) -> Result<(), Error> {
        let chunk = chunk(source, end)?;
        match &chunk.kind {
            b"VP8X" if chunk.length == 10 => {
                let [flags, _, _, _, w0, w1, w2, h0, h1, h2] = source.array()?;
                self.is_extended = true;
                self.flags = flags;
                self.width = 1 + u24(w0, w1, w2);
                self.height = 1 + u24(h0, h1, h2);
                source.check_pixels(self.width, self.height)?;
                write_head(sink, &chunk)?;
                Ok(sink.write_all(&[0, 0, 0, 0, w0, w1, w2, h0, h1, h2])?)
            }
            b"VP8 " | b"VP8L" => {
                self.images = 1;
                Self::copy_picture(source, sink, &chunk).map(drop)
            }
            _ => Err(OUT_OF_PLACE),
        }
    }

    fn chunk(&mut self, source: &mut Source, sink: &mut Sink, end: u64) -> Result<(), Error> {
        let start = source.position();
        let chunk = match chunk(source, end) {
            Err(error) if error.is_truncation() && self.images > 0 && is_removed(source, start)? => {
                return source.seek(end);
            }
            chunk => chunk?,
        };
        let is_animated = self.flags & IS_ANIMATED != 0;
        match &chunk.kind {
            b"ICCP" if self.is_extended && self.flags & HAS_PROFILE != 0 => {
                // The color profile precedes all images.
                if self.images > 0 || !self.found.is_empty() {
                    return Err(OUT_OF_PLACE);
                }
                self.found.push(chunk.kind);
                copy_chunk(source, sink, &chunk)
            }
            b"ANIM" if is_animated && !self.has(*b"ANIM") && chunk.length == 6 => {
                self.found.push(chunk.kind);
                copy_chunk(source, sink, &chunk)
            }
            b"ANMF" if self.has(*b"ANIM") => {
                self.images += 1;
                self.copy_frame(source, sink, &chunk)
            }
            b"ALPH" if self.is_extended && !is_animated && !self.has(*b"ALPH") && self.images == 0 => {
                self.found.push(chunk.kind);
                copy_chunk(source, sink, &chunk)
            }
            b"VP8 " | b"VP8L" if self.is_extended && !is_animated && self.images == 0 => {
                self.images = 1;
                if self.has(*b"ALPH") && &chunk.kind == b"VP8L" {
                    return Err(OUT_OF_PLACE);
                }
                Self::check_size(Self::copy_picture(source, sink, &chunk)?, (self.width, self.height))
            }
            b"VP8X" | b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" => Err(OUT_OF_PLACE),
            b"EXIF" if self.is_extended && !self.has_exif => {
                self.has_exif = true;
                if chunk.length > MAX_EXIF_BYTES {
                    return source.skip(u64::from(chunk.length) + chunk.padding());
                }
                self.orientation = exif::orientation(&source.bytes(u64::from(chunk.length))?);
                source.skip(chunk.padding())
            }
            _ => source.skip(u64::from(chunk.length) + chunk.padding()),
        }
    }

    fn has(&self, kind: [u8; 4]) -> bool {
        self.found.contains(&kind)
    }

    /// Copies a frame of an animation: its position and timing, and its image chunks.
    fn copy_frame(&self, source: &mut Source, sink: &mut Sink, frame: &Chunk) -> Result<(), Error> {
        let end = source.position() + u64::from(frame.length);
        if frame.length < 16 {
            return Err(OUT_OF_PLACE);
        }
        let head: [u8; 16] = source.array()?;
        let [x0, x1, x2, y0, y1, y2, w0, w1, w2, h0, h1, h2, ..] = head;
        let (width, height) = (1 + u24(w0, w1, w2), 1 + u24(h0, h1, h2));
        if 2 * u24(x0, x1, x2) + width > self.width || 2 * u24(y0, y1, y2) + height > self.height {
            return Err(Error::Malformed("a frame of the WebP juts out"));
        }
        write_head(sink, frame)?;
        sink.write_all(&head)?;
        let mut picture = chunk(source, end)?;
        if &picture.kind == b"ALPH" {
            copy_chunk(source, sink, &picture)?;
            picture = chunk(source, end)?;
            if &picture.kind == b"VP8L" {
                return Err(OUT_OF_PLACE);
            }
        }
        Self::check_size(Self::copy_picture(source, sink, &picture)?, (width, height))?;
        if source.position() == end { Ok(()) } else { Err(OUT_OF_PLACE) }
    }

    /// Copies compressed pixels and returns their width and height.
    fn copy_picture(source: &mut Source, sink: &mut Sink, chunk: &Chunk) -> Result<(u64, u64), Error> {
        const NO_RIGHT_HEADER: Error = Error::Malformed("a picture of the WebP has no right header");
        let (head, width, height) = match (&chunk.kind, chunk.length) {
            (b"VP8 ", 11..) => {
                let head: [u8; 10] = source.array()?;
                let [tag, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1] = head else {
                    return Err(NO_RIGHT_HEADER);
                };
                if tag & 1 != 0 {
                    return Err(Error::Malformed("a picture of the WebP is no key frame"));
                }
                let measure = |low, high| u64::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                (head.to_vec(), measure(w0, w1), measure(h0, h1))
            }
            (b"VP8L", 6..) => {
                let head: [u8; 5] = source.array()?;
                let [0x2F, bits @ ..] = head else { return Err(NO_RIGHT_HEADER) };
                let bits = u64::from(u32::from_le_bytes(bits));
                (head.to_vec(), 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
            }
            _ => return Err(OUT_OF_PLACE),
        };
        source.check_pixels(width, height)?;
        write_head(sink, chunk)?;
        sink.write_all(&head)?;
        source.copy(u64::from(chunk.length) - head.len() as u64, sink)?;
        copy_padding(source, sink, chunk)?;
        Ok((width, height))
    }

    fn check_size(picture: (u64, u64), said: (u64, u64)) -> Result<(), Error> {
        if picture == said { Ok(()) } else { Err(Error::Malformed("the WebP gives its size in two ways")) }
    }

    /// Appends the orientation and updates the flags and the size in the header.
    fn finish(self, sink: &mut Sink) -> Result<(), Error> {
        if self.images == 0 {
            return Err(Error::Malformed("the WebP has no picture"));
        }
        let mut flags = self.flags & (HAS_ALPHA | IS_ANIMATED);
        if self.has(*b"ICCP") {
            flags |= HAS_PROFILE;
        }
        if let Some(orientation) = self.orientation {
            flags |= HAS_EXIF;
            sink.write_all(b"EXIF")?;
            sink.write_all(&26_u32.to_le_bytes())?;
            sink.write_all(&exif::only_orientation(orientation))?;
        }
        let size = u32::try_from(sink.stream_position()? - 8).map_err(|_| Error::TooLarge)?;
        sink.seek(SeekFrom::Start(SIZE_AT))?;
        sink.write_all(&size.to_le_bytes())?;
        if self.is_extended {
            sink.seek(SeekFrom::Start(FLAGS_AT))?;
            sink.write_all(&[flags])?;
        }
        Ok(())
    }
}

/// Returns whether the chunk at `start` is left out, so that it does not matter that it is incomplete.
fn is_removed(source: &mut Source, start: u64) -> Result<bool, Error> {
    source.seek(start)?;
    let kind = if source.left() < 4 { *b"    " } else { source.array()? };
    Ok(!matches!(&kind, b"VP8X" | b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP" | b"EXIF"))
}

fn u24(low: u8, middle: u8, high: u8) -> u64 {
    u64::from(u32::from_le_bytes([low, middle, high, 0]))
}

/// Reads the header of a chunk, which must end with its padding at `end` or before.
fn chunk(source: &mut Source, end: u64) -> Result<Chunk, Error> {
    source.count_part()?;
    let chunk = Chunk { kind: source.array()?, length: source.u32_le()? };
    if source.position() + u64::from(chunk.length) + chunk.padding() > end {
        Err(TRUNCATED)
    } else {
        Ok(chunk)
    }
}

fn write_head(sink: &mut Sink, chunk: &Chunk) -> Result<(), Error> {
    sink.write_all(&chunk.kind)?;
    Ok(sink.write_all(&chunk.length.to_le_bytes())?)
}

fn copy_chunk(source: &mut Source, sink: &mut Sink, chunk: &Chunk) -> Result<(), Error> {
    write_head(sink, chunk)?;
    source.copy(u64::from(chunk.length), sink)?;
    copy_padding(source, sink, chunk)
}

/// Copies the padding, which may have any value, as a zero.
fn copy_padding(source: &mut Source, sink: &mut Sink, chunk: &Chunk) -> Result<(), Error> {
    source.skip(chunk.padding())?;
    if chunk.padding() == 1 { Ok(sink.write_all(&[0])?) } else { Ok(()) }
}
