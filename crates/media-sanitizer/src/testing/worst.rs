//! Files of many tiny parts, which cost more per byte to sanitize than any real file.

use super::{images, videos};

/// Makes files of a kind with any number of tiny parts.
pub struct Worst {
    pub name: &'static str,
    make: fn(usize) -> Vec<u8>,
}

impl Worst {
    /// A file with this number of tiny parts.
    pub fn of_parts(&self, parts: usize) -> Vec<u8> {
        (self.make)(parts)
    }

    /// A file of about this size.
    pub fn of_size(&self, bytes: usize) -> Vec<u8> {
        let (one, more) = (self.of_parts(1).len(), self.of_parts(1001).len());
        self.of_parts(1000 * bytes.saturating_sub(one) / (more - one).max(1))
    }
}

/// Every kind.
pub fn all() -> Vec<Worst> {
    let kinds = [jpegs(), pngs(), gifs(), webps(), mp4s(), webms()];
    kinds.concat().into_iter().map(|(name, make)| Worst { name, make }).collect()
}

type Kinds = Vec<(&'static str, fn(usize) -> Vec<u8>)>;

/// Exif that announces more entries than it has.
fn short_exif() -> Vec<u8> {
    b"MM\0*\0\0\0\x08\xFF\xFF".to_vec()
}

fn jpegs() -> Kinds {
    fn with(count: usize, segment: &[u8]) -> Vec<u8> {
        images::jpeg_with(&[segment.repeat(count)])
    }
    fn in_scan(count: usize, part: &[u8]) -> Vec<u8> {
        let jpeg = images::jpeg();
        let end = jpeg.len() - 2;
        [&jpeg[..end], &part.repeat(count), &jpeg[end..]].concat()
    }
    vec![
        ("JPEG: JFIF, then Exif segments", |count| {
            let jfif = images::jpeg_segment(0xE0, b"JFIF\0\0\0\0\0\0\0\0\0\0").repeat(count / 2);
            let exif = images::jpeg_segment(0xE1, b"Exif\0\0").repeat(count / 2);
            images::jpeg_with(&[jfif, exif])
        }),
        ("JPEG: Exif segments without entries", |count| {
            let exif = [b"Exif\0\0", &short_exif()[..]].concat();
            with(count, &images::jpeg_segment(0xE1, &exif))
        }),
        ("JPEG: empty comments", |count| with(count, &images::jpeg_segment(0xFE, b""))),
        ("JPEG: empty tables", |count| with(count, &images::jpeg_segment(0xC4, b""))),
        ("JPEG: fill bytes", |count| with(count, &[0xFF])),
        ("JPEG: escaped bytes", |count| in_scan(count, &[0xFF, 0])),
        ("JPEG: restart markers", |count| in_scan(count, &[0xFF, 0xD0])),
        ("JPEG: blocks of two bits without an end", |count| {
            // Three components of a code of one bit for each coefficient that counts, and as many rows as there are blocks.
            let rows = u16::try_from((count / 750).clamp(1, 2000) * 8).unwrap_or(u16::MAX).to_be_bytes();
            let frame = [&[8][..], &rows, &8000_u16.to_be_bytes(), &[3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]];
            let mut code = [0; 18];
            code[1] = 1;
            let mut codes = [code, code].concat();
            codes[18] = 0x10;
            [
                &[0xFF, 0xD8][..],
                &images::jpeg_segment(0xC0, &frame.concat()),
                &images::jpeg_segment(0xC4, &codes),
                &images::jpeg_segment(0xDA, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]),
                &vec![0; count],
            ]
            .concat()
        }),
    ]
}

fn pngs() -> Kinds {
    fn with(count: usize, kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        images::png_with(&[images::png_chunk(kind, body).repeat(count)])
    }
    vec![
        ("PNG: empty comments", |count| with(count, b"tEXt", b"")),
        ("PNG: gammas", |count| with(count, b"gAMA", &[0; 4])),
        ("PNG: profiles", |count| with(count, b"iCCP", &[0])),
        ("PNG: Exif without entries", |count| with(count, b"eXIf", &short_exif())),
        ("PNG: frames", |count| {
            with(
                count,
                b"fcTL",
                &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            )
        }),
        ("PNG: empty data", |count| with(count, b"IDAT", b"")),
        ("PNG: empty data of frames", |count| with(count, b"fdAT", b"")),
    ]
}

fn gifs() -> Kinds {
    fn with(count: usize, extension: &[u8]) -> Vec<u8> {
        images::gif_with(&[extension.repeat(count)])
    }
    vec![
        ("GIF: blocks of one byte in a frame", |count| {
            let gif = images::gif();
            let image = [&[0x2C, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2][..], &[1, 0].repeat(count), &[0]].concat();
            let end = gif.len() - 1;
            [&gif[..end], &image, &gif[end..]].concat()
        }),
        ("GIF: frames", |count| with(count, &[0x2C, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 1, 0, 0])),
        ("GIF: controls", |count| with(count, &images::gif_extension(0xF9, &[&[0; 4]]))),
        ("GIF: empty comments", |count| with(count, &images::gif_extension(0xFE, &[]))),
        ("GIF: blocks of one byte in a comment", |count| {
            with(1, &[&[0x21, 0xFE][..], &[1, 0].repeat(count), &[0]].concat())
        }),
        ("GIF: empty applications", |count| with(count, &images::gif_extension(0xFF, &[]))),
        ("GIF: repeat counts", |count| {
            let repeat = images::gif_extension(0xFF, &[b"NETSCAPE2.0", &[1, 0, 0]]);
            with(1, &[&repeat[..14], &repeat[14..18].repeat(count), &[0]].concat())
        }),
    ]
}

fn webps() -> Kinds {
    fn with(count: usize, kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let chunks = images::riff_chunk(kind, body).repeat(count);
        images::riff(b"WEBP", &[images::vp8x(0, 33, 21), images::vp8l(33, 21), chunks])
    }
    vec![
        ("WebP: empty chunks", |count| with(count, b"whaT", b"")),
        ("WebP: Exif without entries", |count| with(count, b"EXIF", &short_exif())),
        ("WebP: frames", |count| {
            let frame = images::webp_frame(0, 1, 1, &images::riff_chunk(b"VP8L", &[0x2F, 0, 0, 0, 0, 0]));
            let start = images::riff_chunk(b"ANIM", &[0; 6]);
            images::riff(b"WEBP", &[images::vp8x(2, 33, 21), start, frame.repeat(count)])
        }),
    ]
}

fn mp4s() -> Kinds {
    use videos::{movie, mp4_box, mp4_with, numbers, picture_format, references, simple_track, track};
    fn in_movie(count: usize, part: &[u8]) -> Vec<u8> {
        mp4_with(&movie(&[&simple_track(), &part.repeat(count)]), &[])
    }
    fn after(count: usize, part: &[u8]) -> Vec<u8> {
        mp4_with(&movie(&[&simple_track()]), &part.repeat(count))
    }
    vec![
        ("MP4: empty boxes", |count| after(count, &mp4_box(b"free", &[]))),
        ("MP4: unknown boxes", |count| after(count, &mp4_box(b"evil", &[]))),
        ("MP4: empty data", |count| after(count, &mp4_box(b"mdat", &[]))),
        ("MP4: fragments", |count| after(count, &mp4_box(b"moof", &[&mp4_box(b"traf", &[])]))),
        ("MP4: fragments in one", |count| {
            after(1, &mp4_box(b"moof", &[&mp4_box(b"traf", &[]).repeat(count)]))
        }),
        ("MP4: unknown boxes in the movie", |count| in_movie(count, &mp4_box(b"evil", &[]))),
        ("MP4: tracks", |count| in_movie(count, &simple_track())),
        ("MP4: tracks of nothing", |count| in_movie(count, &mp4_box(b"trak", &[]))),
        ("MP4: boxes in a track", |count| {
            let more = mp4_box(b"edts", &[&mp4_box(b"free", &[]).repeat(count)]);
            let inner = [&more[..], &simple_track()[8..]].concat();
            in_movie(1, &mp4_box(b"trak", &[&inner]))
        }),
        ("MP4: formats", |count| {
            let formats = mp4_box(b"stsd", &[&numbers(&[0, 1]), &picture_format(9, 9)[16..].repeat(count)]);
            in_movie(1, &track(b"vide", &formats, &references(1, &[]), 0, 0))
        }),
        ("MP4: references", |count| {
            let reference = mp4_box(b"url ", &[&numbers(&[1])]).repeat(count);
            let references = mp4_box(b"dinf", &[&mp4_box(b"dref", &[&numbers(&[0, 1]), &reference])]);
            in_movie(1, &track(b"vide", &picture_format(9, 9), &references, 0, 0))
        }),
        ("MP4: samples of a removed track", |count| {
            let offsets = mp4_box(b"stco", &[&numbers(&[0, 1]), &numbers(&[u32::MAX]).repeat(count)]);
            in_movie(1, &track(b"text", &offsets, &[], 0, 0))
        }),
    ]
}

fn webms() -> Kinds {
    use videos::{cluster, element, open_element, tracks, webm_of};
    fn in_cluster(count: usize, part: &[u8]) -> Vec<u8> {
        webm_of(&[tracks(1, b"V_VP8", 9), element(0x1F43_B675, &[&part.repeat(count)])])
    }
    fn in_segment(count: usize, part: &[u8]) -> Vec<u8> {
        webm_of(&[tracks(1, b"V_VP8", 9), cluster(), part.repeat(count)])
    }
    fn with_tracks(entries: &[u8]) -> Vec<u8> {
        webm_of(&[element(0x1654_AE6B, &[entries]), cluster()])
    }
    fn track(parts: &[u8]) -> Vec<u8> {
        element(0xAE, &[parts, &element(0x83, &[&[1]]), &element(0x86, &[b"V_VP8"])])
    }
    vec![
        ("WebM: tracks", |count| with_tracks(&track(&[]).repeat(count))),
        ("WebM: elements in a track", |count| with_tracks(&track(&element(0xD7, &[]).repeat(count)))),
        ("WebM: elements in tracks", |count| {
            with_tracks(&track(&element(0xD7, &[]).repeat(count / 32)).repeat(32))
        }),
        ("WebM: elements in a picture", |count| {
            let size = [element(0xB0, &[&[1]]), element(0xBA, &[&[1]])].concat();
            with_tracks(&track(&element(0xE0, &[&element(0x9A, &[]).repeat(count), &size])))
        }),
        ("WebM: empty blocks", |count| in_cluster(count, &element(0xA3, &[]))),
        ("WebM: blocks", |count| in_cluster(count, &element(0xA3, &[&[0x81, 0, 0, 0x80]]))),
        ("WebM: groups of blocks", |count| in_cluster(count, &element(0xA0, &[]))),
        ("WebM: voids", |count| in_cluster(count, &element(0xEC, &[]))),
        ("WebM: unknown elements", |count| in_cluster(count, &element(0xBF, &[]))),
        ("WebM: clusters", |count| in_segment(count, &element(0x1F43_B675, &[]))),
        ("WebM: clusters without end", |count| in_segment(count, &open_element(0x1F43_B675, &[]))),
        ("WebM: indexes", |count| {
            let entry = element(0x4DBB, &[&element(0x53AB, &[&[0x1F, 0x43, 0xB6, 0x75]])]);
            in_segment(1, &element(0x114D_9B74, &[&entry.repeat(count)]))
        }),
    ]
}
