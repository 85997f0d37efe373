//! Images, made by encoders and reassembled.

use image::{
    Delay, DynamicImage, Frame, ImageEncoder as _, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage,
    codecs::{gif, webp::WebPEncoder},
};

use super::SECRET;

/// An image whose corners differ.
pub fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 9).to_le_bytes()[0], (y * 7).to_le_bytes()[0], 90]))
}

fn encode(format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::from(picture(33, 21)).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Exif with a location, a camera and an orientation.
pub fn exif(orientation: u8, is_little: bool) -> Vec<u8> {
    let u16 = |value: u16| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    let u32 = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    let length = u32::try_from(SECRET.len()).unwrap();
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [&u16(tag)[..], &u16(kind), &u32(count), &value].concat()
    };
    let [high, low] = u16(u16::from(orientation));
    let first = 8 + 2 + 3 * 12 + 4;
    let place = first + 2 + 12 + 4;
    [
        if is_little { b"II*\0" } else { b"MM\0*" },
        &u32(8)[..],
        &u16(3),
        &entry(0x010F, 2, length, u32(place)),
        &entry(0x0112, 3, 1, [high, low, 0, 0]),
        &entry(0x8825, 4, 1, u32(first)),
        &u32(0),
        &u16(1),
        &entry(0x001C, 2, length, u32(place)),
        &u32(0),
        SECRET,
    ]
    .concat()
}

/// The header of a color profile without tags.
pub fn profile() -> Vec<u8> {
    let mut profile = vec![0; 132];
    profile[3] = 132;
    profile[12..16].copy_from_slice(b"mntr");
    profile[16..24].copy_from_slice(b"RGB XYZ ");
    profile[36..40].copy_from_slice(b"acsp");
    profile
}

pub fn jpeg() -> Vec<u8> {
    encode(ImageFormat::Jpeg)
}

pub fn jpeg_segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap();
    [&[0xFF, marker], &length.to_be_bytes()[..], body].concat()
}

/// A JPEG with these segments after its start.
pub fn jpeg_with(segments: &[Vec<u8>]) -> Vec<u8> {
    let jpeg = jpeg();
    [&jpeg[..2], &segments.concat(), &jpeg[2..]].concat()
}

pub fn jpeg_of_a_phone(orientation: u8, is_little: bool) -> Vec<u8> {
    jpeg_with(&[
        jpeg_segment(0xE1, &[b"Exif\0\0", &exif(orientation, is_little)[..]].concat()),
        jpeg_segment(0xE1, &[b"http://ns.adobe.com/xap/1.0/\0", SECRET].concat()),
        jpeg_segment(0xE2, &[b"ICC_PROFILE\0\x01\x01", &profile()[..]].concat()),
        jpeg_segment(0xE2, &[b"MPF\0", SECRET].concat()),
        jpeg_segment(0xED, &[b"Photoshop 3.0\0", SECRET].concat()),
        jpeg_segment(0xFE, SECRET),
    ])
}

pub fn png() -> Vec<u8> {
    encode(ImageFormat::Png)
}

pub fn png_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(&[kind, body].concat());
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], kind, body, &sum.to_be_bytes()].concat()
}

/// The kinds and bodies of a PNG's chunks.
pub fn png_chunks(png: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
    let mut rest = &png[8..];
    let mut chunks = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        chunks.push((*after.first_chunk().unwrap(), after[4..4 + length].to_owned()));
        rest = &after[8 + length..];
    }
    chunks
}

/// A PNG with these chunks after its header.
pub fn png_with(chunks: &[Vec<u8>]) -> Vec<u8> {
    let png = png();
    [&png[..33], &chunks.concat(), &png[33..]].concat()
}

pub fn png_header(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n", &png_chunk(b"IHDR", &header)[..]].concat()
}

/// The profile as PNG has it, in a zlib stream of one stored block.
fn stored_profile() -> Vec<u8> {
    let profile = profile();
    let length = u16::try_from(profile.len()).unwrap();
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in &profile {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let head = [0x78, 0x01, 0x01];
    let sum = (b << 16 | a).to_be_bytes();
    [&head[..], &length.to_le_bytes(), &(!length).to_le_bytes(), &profile, &sum].concat()
}

pub fn png_of_a_phone(orientation: u8) -> Vec<u8> {
    png_with(&[
        png_chunk(b"gAMA", &45_455_u32.to_be_bytes()),
        png_chunk(b"iCCP", &[&SECRET[..40], b"\0\0", &stored_profile()[..]].concat()),
        png_chunk(b"eXIf", &exif(orientation, false)),
        png_chunk(b"tEXt", &[b"Comment\0", SECRET].concat()),
        png_chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0", SECRET].concat()),
        png_chunk(b"zTXt", &[b"Comment\0\0", SECRET].concat()),
        png_chunk(b"tIME", &[7, 231, 1, 2, 3, 4, 5]),
        png_chunk(b"prVt", SECRET),
    ])
}

/// Two frames, the second covering a part of the first.
pub fn png_animated() -> Vec<u8> {
    let chunks = png_chunks(&png());
    let data: Vec<u8> =
        chunks.iter().filter(|(kind, _)| kind == b"IDAT").flat_map(|(_, body)| body.clone()).collect();
    let control = |number: u32| {
        let places = [number, 33, 21, 0, 0].map(u32::to_be_bytes).concat();
        png_chunk(b"fcTL", &[&places[..], &[0, 1, 0, 10, 0, 0]].concat())
    };
    [
        &png_header(33, 21)[..],
        &png_chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]),
        &png_chunk(b"tEXt", &[b"Comment\0", SECRET].concat()),
        &control(0),
        &png_chunk(b"IDAT", &data),
        &control(1),
        &png_chunk(b"fdAT", &[&[0, 0, 0, 2], &data[..]].concat()),
        &png_chunk(b"IEND", &[]),
    ]
    .concat()
}

/// A PNG of colors from a palette, one of them transparent.
pub fn png_of_a_palette() -> Vec<u8> {
    let header = [0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0];
    // One row of no filter and color 1.
    let data = [0x78, 0x01, 0x01, 2, 0, 0xFD, 0xFF, 0, 1, 0, 3, 0, 2];
    [
        b"\x89PNG\r\n\x1a\n",
        &png_chunk(b"IHDR", &header)[..],
        &png_chunk(b"PLTE", &[1, 2, 3, 4, 5, 6]),
        &png_chunk(b"tRNS", &[255, 100]),
        &png_chunk(b"IDAT", &data),
        &png_chunk(b"IEND", &[]),
    ]
    .concat()
}

/// Three frames of 100 ms, repeated forever.
pub fn gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = gif::GifEncoder::new(&mut bytes);
    encoder.set_repeat(gif::Repeat::Infinite).unwrap();
    for shade in [10, 120, 250] {
        let canvas = RgbaImage::from_pixel(20, 12, Rgba([shade, 50, 60, 255]));
        encoder.encode_frame(Frame::from_parts(canvas, 0, 0, Delay::from_numer_denom_ms(100, 1))).unwrap();
    }
    drop(encoder);
    bytes
}

/// Offset of the first block of a GIF.
pub fn gif_blocks(gif: &[u8]) -> usize {
    if gif[10] & 0x80 == 0 { 13 } else { 13 + (6 << (gif[10] & 7)) }
}

/// A GIF with these extensions before its first block.
pub fn gif_with(extensions: &[Vec<u8>]) -> Vec<u8> {
    let gif = gif();
    let at = gif_blocks(&gif);
    [&gif[..at], &extensions.concat(), &gif[at..]].concat()
}

pub fn gif_extension(label: u8, blocks: &[&[u8]]) -> Vec<u8> {
    let mut extension = vec![0x21, label];
    for block in blocks {
        extension.push(u8::try_from(block.len()).unwrap());
        extension.extend_from_slice(block);
    }
    extension.push(0);
    extension
}

pub fn gif_of_a_talker() -> Vec<u8> {
    gif_with(&[
        gif_extension(0xFE, &[SECRET]),
        gif_extension(0xFF, &[b"XMP DataXMP", SECRET]),
        gif_extension(0xFF, &[b"ANIMEXTS1.0", &[1, 0, 0], SECRET]),
        gif_extension(0x01, &[&[0; 12], SECRET]),
    ])
}

pub fn webp() -> Vec<u8> {
    encode(ImageFormat::WebP)
}

/// One gray pixel, lossy.
pub const WEBP_LOSSY: &[u8] = b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0\x30\x01\0\x9d\x01\x2a\x01\0\x01\0\x02\0\x34\x25\xa4\0\x03\x70\0\xfe\xfb\x94\0\0";

pub fn riff_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [kind, &length.to_le_bytes(), body, &[0][..body.len() % 2]].concat()
}

pub fn riff(kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
    riff_chunk(b"RIFF", &[kind, &chunks.concat()[..]].concat())
}

/// The only chunk of a simple lossless WebP.
pub fn vp8l(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let picture = picture(width, height);
    WebPEncoder::new_lossless(&mut bytes)
        .write_image(picture.as_raw(), width, height, image::ExtendedColorType::Rgb8)
        .unwrap();
    bytes[12..].to_owned()
}

pub fn vp8x(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let (w, h) = ((width - 1).to_le_bytes(), (height - 1).to_le_bytes());
    riff_chunk(b"VP8X", &[&[flags, 0, 0, 0], &w[..3], &h[..3]].concat())
}

pub fn webp_of_a_phone(orientation: u8) -> Vec<u8> {
    riff(
        b"WEBP",
        &[
            vp8x(0x2C, 33, 21),
            riff_chunk(b"ICCP", &profile()),
            vp8l(33, 21),
            riff_chunk(b"EXIF", &exif(orientation, true)),
            riff_chunk(b"XMP ", SECRET),
            riff_chunk(b"whaT", SECRET),
        ],
    )
}

pub fn webp_frame(left: u32, width: u32, height: u32, picture: &[u8]) -> Vec<u8> {
    let numbers =
        [left / 2, 0, width - 1, height - 1, 100].map(|number: u32| number.to_le_bytes()[..3].to_vec());
    riff_chunk(b"ANMF", &[&numbers.concat()[..], &[0], picture].concat())
}

pub fn webp_animated() -> Vec<u8> {
    let frames = [webp_frame(0, 33, 21, &vp8l(33, 21)), webp_frame(4, 9, 7, &vp8l(9, 7))];
    riff(
        b"WEBP",
        &[vp8x(0x06, 33, 21), riff_chunk(b"ANIM", &[0; 6]), frames.concat(), riff_chunk(b"XMP ", SECRET)],
    )
}
