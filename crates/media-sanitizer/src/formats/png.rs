//! PNG (third edition): a signature and a sequence of chunks with checksums.

use std::io::{self, Write};

use crc32fast::Hasher;

use super::exif;
use crate::{
    error::Error,
    source::{Sink, Source},
};

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// The name that color profiles get, since their own may be any text.
const PROFILE_NAME: &[u8] = b"icc";

/// Ancillary chunks that decoding, animation, colors and orientation need.
const ANCILLARY: &[&[u8; 4]] = &[
    b"tRNS", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"gAMA", b"cICP", b"mDCV", b"cLLI", b"acTL", b"iCCP",
    b"eXIf", b"fcTL", b"fdAT",
];

/// Maximum size of an ancillary chunk that is read into memory. Larger ones are left out.
const MAX_ANCILLARY_BYTES: u32 = 4 << 20;

#[derive(Default, PartialEq)]
enum Data {
    #[default]
    ToCome,
    Running,
    Over,
}

#[derive(Default)]
struct Png {
    width: u64,
    height: u64,
    color: u8,
    has_palette: bool,
    has_exif: bool,
    has_profile: bool,
    data: Data,
}

/// Copies the image, its animation, colors, transparency and orientation.
pub(crate) fn clean(source: &mut Source, sink: &mut Sink) -> Result<(), Error> {
    if source.array()? != SIGNATURE {
        return Err(Error::Malformed("it has no whole PNG signature"));
    }
    sink.write_all(&SIGNATURE)?;
    let (13, [b'I', b'H', b'D', b'R']) = (source.u32_be()?, source.array()?) else {
        return Err(Error::Malformed("the PNG does not begin with its header"));
    };
    let header = source.array()?;
    if source.u32_be()? != checksum(*b"IHDR", &header) {
        return Err(WRONG_SUM);
    }
    let mut png = Png::new(source, header)?;
    write_chunk(sink, *b"IHDR", &header)?;
    loop {
        source.count_part()?;
        let has_data = png.data != Data::ToCome;
        let (length, kind) = match source.array::<8>() {
            Ok([l3, l2, l1, l0, kind @ ..]) => (u32::from_be_bytes([l3, l2, l1, l0]), kind),
            // Browsers show files without an end.
            Err(error) if has_data && error.is_truncation() => break,
            Err(error) => return Err(error),
        };
        let is_cut_off = u64::from(length) + 4 > source.left();
        if &kind == b"IEND" || (has_data && is_cut_off && is_removed(kind)) {
            break;
        }
        png.chunk(source, sink, kind, length)?;
    }
    if png.data == Data::ToCome || (png.color == 3 && !png.has_palette) {
        return Err(Error::Malformed("the PNG has no picture"));
    }
    write_chunk(sink, *b"IEND", &[])
}

impl Png {
    fn new(source: &Source, header: [u8; 13]) -> Result<Self, Error> {
        let [w3, w2, w1, w0, h3, h2, h1, h0, depth, color, compression, filter, interlace] = header;
        let depths: &[u8] = match color {
            0 => &[1, 2, 4, 8, 16],
            3 => &[1, 2, 4, 8],
            2 | 4 | 6 => &[8, 16],
            _ => &[],
        };
        if !depths.contains(&depth) || compression != 0 || filter != 0 || interlace > 1 {
            return Err(Error::Malformed("the PNG header has unknown values"));
        }
        let measure = |bytes| u64::from(u32::from_be_bytes(bytes));
        let (width, height) = (measure([w3, w2, w1, w0]), measure([h3, h2, h1, h0]));
        source.check_pixels(width, height)?;
        Ok(Self { width, height, color, ..Self::default() })
    }

    fn chunk(
        &mut self,
        source: &mut Source,
        sink: &mut Sink,
        kind: [u8; 4],
        length: u32,
    ) -> Result<(), Error> {
        if self.data == Data::Running && &kind != b"IDAT" {
            self.data = Data::Over;
        }
        match &kind {
            b"IDAT" => {
                if self.data == Data::Over {
                    return Err(Error::Malformed("the data of the PNG is in pieces"));
                }
                self.data = Data::Running;
                copy_chunk(source, sink, kind, length)
            }
            b"fdAT" => copy_chunk(source, sink, kind, length),
            b"PLTE" | b"fcTL" => {
                let body = body(source, kind, length)?.ok_or(WRONG_SUM)?;
                self.check_critical(source, kind, &body)?;
                write_chunk(sink, kind, &body)
            }
            // The type of a critical chunk starts with a capital letter.
            [b'A'..=b'Z', ..] => Err(Error::Malformed("the PNG has an unknown chunk")),
            _ if is_removed(kind) || length > MAX_ANCILLARY_BYTES => source.skip(u64::from(length) + 4),
            _ => {
                let body = body(source, kind, length)?;
                match body.and_then(|body| self.sanitize_ancillary(kind, body)) {
                    Some(copy) => write_chunk(sink, kind, &copy),
                    None => Ok(()),
                }
            }
        }
    }

    fn check_critical(&mut self, source: &Source, kind: [u8; 4], body: &[u8]) -> Result<(), Error> {
        if &kind == b"fcTL" {
            return self.check_frame(source, body);
        }
        let is_in_place = self.data == Data::ToCome && !std::mem::replace(&mut self.has_palette, true);
        if is_in_place && body.len().is_multiple_of(3) && (3..=768).contains(&body.len()) {
            Ok(())
        } else {
            Err(Error::Malformed("a PNG chunk has no right length"))
        }
    }

    /// Returns the part of a chunk to copy. Decoders ignore those of a wrong length.
    fn sanitize_ancillary(&mut self, kind: [u8; 4], body: Vec<u8>) -> Option<Vec<u8>> {
        let length = body.len();
        let has_right_length = match &kind {
            b"tRNS" => (1..=256).contains(&length),
            b"cHRM" => length == 32,
            b"sRGB" => length == 1,
            b"sBIT" => (1..=4).contains(&length),
            b"bKGD" => matches!(length, 1 | 2 | 6),
            b"gAMA" | b"cICP" => length == 4,
            b"mDCV" => length == 24,
            b"cLLI" | b"acTL" => length == 8,
            b"iCCP" => return self.profile(&body),
            b"eXIf" => return self.exif(&body),
            _ => false,
        };
        has_right_length.then_some(body)
    }

    fn check_frame(&self, source: &Source, body: &[u8]) -> Result<(), Error> {
        const NOT_RIGHT: Error = Error::Malformed("a frame of the PNG is not right");
        if body.len() != 26 {
            return Err(NOT_RIGHT);
        }
        let at = |index: usize| {
            body[index..].first_chunk().map_or(0, |bytes| u64::from(u32::from_be_bytes(*bytes)))
        };
        let (width, height, left, top) = (at(4), at(8), at(12), at(16));
        source.check_pixels(width, height)?;
        if left + width > self.width || top + height > self.height {
            return Err(NOT_RIGHT);
        }
        Ok(())
    }

    fn profile(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let name_end = body.iter().take(80).position(|&byte| byte == 0)?;
        if self.data != Data::ToCome || std::mem::replace(&mut self.has_profile, true) {
            return None;
        }
        Some([PROFILE_NAME, &body[name_end..]].concat())
    }

    fn exif(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let is_first = !std::mem::replace(&mut self.has_exif, true);
        let orientation = is_first.then(|| exif::orientation(body))??;
        Some(exif::only_orientation(orientation).to_vec())
    }
}

/// Returns whether chunks of this type are left out, so that nothing in them matters.
fn is_removed(kind: [u8; 4]) -> bool {
    let is_ancillary = kind[0].is_ascii_lowercase();
    is_ancillary && !ANCILLARY.contains(&&kind)
}

/// Reads the body of a chunk. `None` if its checksum is wrong.
fn body(source: &mut Source, kind: [u8; 4], length: u32) -> Result<Option<Vec<u8>>, Error> {
    let body = source.bytes(u64::from(length))?;
    Ok((source.u32_be()? == checksum(kind, &body)).then_some(body))
}

const WRONG_SUM: Error = Error::Malformed("a checksum in the PNG is wrong");

fn checksum(kind: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&kind);
    hasher.update(body);
    hasher.finalize()
}

fn write_chunk(sink: &mut Sink, kind: [u8; 4], body: &[u8]) -> Result<(), Error> {
    let length = u32::try_from(body.len()).map_err(|_| Error::TooLarge)?;
    sink.write_all(&length.to_be_bytes())?;
    sink.write_all(&kind)?;
    sink.write_all(body)?;
    Ok(sink.write_all(&checksum(kind, body).to_be_bytes())?)
}

/// Copies a chunk without buffering it and verifies its checksum.
fn copy_chunk(source: &mut Source, sink: &mut Sink, kind: [u8; 4], length: u32) -> Result<(), Error> {
    sink.write_all(&length.to_be_bytes())?;
    sink.write_all(&kind)?;
    let mut summed = Summed { hasher: Hasher::new(), sink };
    summed.hasher.update(&kind);
    source.copy(u64::from(length), &mut summed)?;
    let sum = summed.hasher.finalize();
    if source.u32_be()? != sum {
        return Err(WRONG_SUM);
    }
    Ok(sink.write_all(&sum.to_be_bytes())?)
}

struct Summed<'a, 'b> {
    hasher: Hasher,
    sink: &'a mut Sink<'b>,
}

impl Write for Summed<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
