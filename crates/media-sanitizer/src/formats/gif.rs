//! GIF (version 89a): a header, blocks, and a trailer.

use std::io::Write as _;

use crate::{
    error::Error,
    source::{Sink, Source},
};

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2C;
const TRAILER: u8 = 0x3B;
const GRAPHIC_CONTROL: u8 = 0xF9;
const APPLICATION: u8 = 0xFF;

/// Flag of a color table; the lowest three bits are its length.
const HAS_TABLE: u8 = 0x80;

/// Copies the frames, their timing and the repeat count.
pub(crate) fn clean(source: &mut Source, sink: &mut Sink) -> Result<(), Error> {
    source.copy(6, sink)?;
    let screen: [u8; 7] = source.array()?;
    let [w0, w1, h0, h1, flags, ..] = screen;
    source.check_pixels(measure(w0, w1), measure(h0, h1))?;
    sink.write_all(&screen)?;
    copy_table(source, sink, flags)?;

    let mut has_image = false;
    // A graphic control extension applies to the next frame.
    let mut control = None;
    loop {
        source.count_part()?;
        match source.byte() {
            Ok(EXTENSION) => match source.byte()? {
                GRAPHIC_CONTROL => control = Some(graphic_control(source)?),
                label => match extension(source, sink, label) {
                    Err(error) if has_image && error.is_truncation() => break,
                    copied => copied?,
                },
            },
            Ok(IMAGE) => {
                if let Some(control) = control.take() {
                    sink.write_all(&[EXTENSION, GRAPHIC_CONTROL, 4])?;
                    sink.write_all(&control)?;
                }
                copy_image(source, sink)?;
                has_image = true;
            }
            // The trailer. Browsers also show files without one, or with anything else in its place.
            Ok(_) if has_image => break,
            Err(error) if has_image && control.is_none() && error.is_truncation() => break,
            Ok(TRAILER) => return Err(Error::Malformed("the GIF has no picture")),
            Ok(_) => return Err(Error::Malformed("the GIF has an unknown block")),
            Err(error) => return Err(error),
        }
    }
    Ok(sink.write_all(&[TRAILER])?)
}

/// Copies the repeat count. All other extensions are removed.
fn extension(source: &mut Source, sink: &mut Sink, label: u8) -> Result<(), Error> {
    if label == APPLICATION { application(source, sink) } else { skip_blocks(source) }
}

fn measure(low: u8, high: u8) -> u64 {
    u64::from(u16::from_le_bytes([low, high]))
}

fn copy_table(source: &mut Source, sink: &mut Sink, flags: u8) -> Result<(), Error> {
    if flags & HAS_TABLE == 0 { Ok(()) } else { source.copy(3 << ((flags & 7) + 1), sink) }
}

/// Four bytes of control data and the block terminator.
fn graphic_control(source: &mut Source) -> Result<[u8; 5], Error> {
    let [4, control @ ..] = source.array::<6>()? else {
        return Err(Error::Malformed("a GIF control block has no right length"));
    };
    if control[4] == 0 { Ok(control) } else { Err(Error::Malformed("a GIF control block has no right end")) }
}

/// Copies the repeat count of the animation, and no other application extension.
fn application(source: &mut Source, sink: &mut Sink) -> Result<(), Error> {
    let length = source.byte()?;
    let name = source.bytes(u64::from(length))?;
    let is_loop = matches!(name.as_slice(), b"NETSCAPE2.0" | b"ANIMEXTS1.0");
    loop {
        match block_length(source)? {
            0 => return Ok(()),
            3 if is_loop => {
                if let [1, low, high] = source.array()? {
                    sink.write_all(&[EXTENSION, APPLICATION, 11])?;
                    sink.write_all(&name)?;
                    sink.write_all(&[3, 1, low, high, 0])?;
                }
            }
            length => source.skip(u64::from(length))?,
        }
    }
}

/// Reads the length of a block of data. Zero ends a sequence of them.
fn block_length(source: &mut Source) -> Result<u8, Error> {
    source.count_part()?;
    source.byte()
}

fn skip_blocks(source: &mut Source) -> Result<(), Error> {
    loop {
        match block_length(source)? {
            0 => return Ok(()),
            length => source.skip(u64::from(length))?,
        }
    }
}

fn copy_image(source: &mut Source, sink: &mut Sink) -> Result<(), Error> {
    let descriptor: [u8; 9] = source.array()?;
    let [x0, x1, y0, y1, w0, w1, h0, h1, flags] = descriptor;
    source.check_pixels(measure(w0, w1), measure(h0, h1))?;
    // Decoders enlarge the canvas for a frame that exceeds it.
    source.check_pixels(measure(x0, x1) + measure(w0, w1), measure(y0, y1) + measure(h0, h1))?;
    sink.write_all(&[IMAGE])?;
    sink.write_all(&descriptor)?;
    copy_table(source, sink, flags)?;

    let code_size = source.byte()?;
    let mut length = block_length(source)?;
    if !(1..=8).contains(&code_size) || length == 0 {
        return Err(Error::Malformed("a frame of the GIF has no data"));
    }
    sink.write_all(&[code_size])?;
    while length != 0 {
        sink.write_all(&[length])?;
        source.copy(u64::from(length), sink)?;
        length = block_length(source)?;
    }
    Ok(sink.write_all(&[0])?)
}
