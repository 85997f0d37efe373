//! MP4 (ISO/IEC 14496-12): nested boxes.
//!
//! Tables contain file offsets, so nothing is moved: boxes that playback does not need become `free` boxes of equal size
//! filled with zeros. Video and audio stay unchanged. Tracks of any other kind, in which cameras store locations (also as
//! subtitles), are removed with their samples.
//!
//! `QuickTime`, from which MP4 descends, differs in a few fields and in the description of sound. It becomes MP4.

use std::ops::Range;

use super::{
    codecs, count_track,
    mp4_boxes::{self, INCOMPLETE_BOX, Part, find},
    mp4_samples,
    patch::Patches,
};
use crate::{
    error::Error,
    source::{Sink, Source},
};

/// Brands of images and sound, which consist of boxes too: HEIC, AVIF, JPEG 2000, JPEG XL, Canon's raw, iTunes. Any other
/// may be a video, which its tracks show.
const OTHER_BRANDS: &[&[u8; 4]] = &[
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1",
    b"miaf", b"avif", b"avis", b"avio", b"jp2 ", b"jpx ", b"jpm ", b"mjp2", b"jxl ", b"crx ", b"M4A ",
    b"M4B ", b"M4P ",
];
const QUICKTIME: [u8; 4] = *b"qt  ";

/// Video codecs that browsers play: H.264, H.265, AV1, VP8, VP9, and Dolby Vision in H.265.
const VIDEO_CODECS: &[&[u8; 4]] = &[
    b"avc1", b"avc2", b"avc3", b"avc4", b"hvc1", b"hev1", b"av01", b"vp08", b"vp09", b"dvh1", b"dvhe",
    b"dva1", b"dvav",
];

/// Languages of a media header: undetermined, and the first and last of `QuickTime`'s.
const UNDETERMINED: u16 = 0x55C4;
const MAX_QUICKTIME_LANGUAGE: u16 = 0x3FF;
const NO_QUICKTIME_LANGUAGE: u16 = 0x7FFF;

/// Offset of the fields and boxes after the common fields of a sound format, in MP4 and in `QuickTime`'s version 1.
const SOUND_BOXES: u64 = 28;
const QUICKTIME_SOUND_BOXES: u64 = 44;

/// Maximum size of a decoder's configuration. Usual ones have 50 bytes.
const MAX_CONFIGURATION_BYTES: u64 = 1024;

#[derive(Default)]
struct Mp4 {
    patches: Patches,
    movies: u32,
    /// Number of tracks, and of those that are kept.
    all_tracks: u32,
    tracks: u32,
    has_fragments: bool,
    is_quicktime: bool,
    /// Whether the current track is a video.
    is_video: bool,
    /// Ranges of samples.
    data: Vec<Range<u64>>,
    /// Sample tables of removed tracks.
    dropped: Vec<Part>,
}

/// Returns whether a file with this major brand is no video.
pub(crate) fn is_other_brand(brand: &[u8]) -> bool {
    OTHER_BRANDS.iter().any(|other| other.as_slice() == brand)
}

/// Copies video and audio.
pub(crate) fn clean(source: &mut Source, sink: &mut Sink) -> Result<(), Error> {
    let mut mp4 = Mp4::default();
    let brands = mp4_boxes::read(source, source.length())?;
    if !(16..=256).contains(&(brands.end - brands.start)) {
        return Err(INCOMPLETE_BOX);
    }
    mp4.brands(source, &brands)?;
    source.seek(brands.end)?;
    let end = loop {
        let start = source.position();
        if start == source.length() {
            break start;
        }
        match mp4_boxes::read(source, source.length()) {
            Ok(part) => {
                mp4.top(source, &part)?;
                source.seek(part.end)?;
            }
            // Players ignore what follows the last box.
            Err(error)
                if mp4_boxes::is_incomplete(&error) && mp4.is_complete() && is_removed(source, start)? =>
            {
                break start;
            }
            Err(error) => return Err(error),
        }
    };
    if !mp4.is_complete() {
        return Err(Error::Malformed("the MP4 has neither picture nor sound"));
    }
    mp4.blank_dropped_samples(source)?;
    mp4.patches.copy(source, end, sink)
}

/// Returns whether the box at `start` is none that playback needs, so that it does not matter that it is incomplete.
fn is_removed(source: &mut Source, start: u64) -> Result<bool, Error> {
    source.seek(start)?;
    if source.left() < 8 {
        return Ok(true);
    }
    source.skip(4)?;
    Ok(!matches!(&source.array()?, b"ftyp" | b"moov" | b"moof" | b"mdat"))
}

impl Mp4 {
    fn is_complete(&self) -> bool {
        self.movies == 1 && self.tracks > 0 && !self.data.is_empty()
    }

    /// Replaces the brand of `QuickTime`.
    fn brands(&mut self, source: &mut Source, part: &Part) -> Result<(), Error> {
        source.seek(part.body)?;
        let brands = source.bytes(part.end - part.body)?;
        for (at, brand) in (part.body..).step_by(4).zip(brands.as_chunks().0) {
            if *brand == QUICKTIME {
                self.is_quicktime = true;
                let replacement = if at == part.body { b"mp42" } else { b"isom" };
                self.patches.put(at, replacement, 0)?;
            }
        }
        Ok(())
    }

    fn top(&mut self, source: &mut Source, part: &Part) -> Result<(), Error> {
        match &part.kind {
            b"moov" => {
                self.movies += 1;
                self.walk(source, part)
            }
            b"moof" => {
                self.has_fragments = true;
                self.walk(source, part)
            }
            b"mdat" => {
                if part.body < part.end {
                    self.data.push(part.body..part.end);
                }
                Ok(())
            }
            b"ftyp" => Err(Error::Malformed("the MP4 begins twice")),
            b"styp" | b"sidx" | b"ssix" | b"mfra" => Ok(()),
            _ => self.blank(part),
        }
    }

    fn walk(&mut self, source: &mut Source, parent: &Part) -> Result<(), Error> {
        source.seek(parent.body)?;
        while source.position() < parent.end {
            let part = mp4_boxes::read(source, parent.end)?;
            self.child(source, parent, &part)?;
            source.seek(part.end)?;
        }
        Ok(())
    }

    /// Copies a child of a box, or the parts of it that playback needs. All others are removed.
    fn child(&mut self, source: &mut Source, parent: &Part, part: &Part) -> Result<(), Error> {
        match (&parent.kind, &part.kind) {
            (b"moov", b"trak") => self.track(source, part),
            (b"moov", b"mvex")
            | (b"trak", b"edts" | b"mdia")
            | (b"mdia", b"minf")
            | (b"minf", b"dinf" | b"stbl")
            | (b"moof", b"traf") => self.walk(source, part),
            // Times of creation and modification.
            (b"moov", b"mvhd") | (b"trak", b"tkhd") | (b"mdia", b"mdhd") => {
                let is_short = source.byte()? == 0;
                self.zero(part, part.body + 4, Some(if is_short { 8 } else { 16 }))?;
                if &part.kind == b"mdhd" && self.is_quicktime {
                    return self.language(source, part, part.body + if is_short { 20 } else { 32 });
                }
                Ok(())
            }
            // `QuickTime`'s component type and manufacturer, and the name.
            (b"mdia", b"hdlr") => {
                self.zero(part, part.body + 4, Some(4))?;
                self.zero(part, part.body + 12, None)
            }
            (b"dinf", b"dref") => self.references(source, part),
            (b"stbl", b"stsd") => self.formats(source, part),
            (b"mvex", b"mehd" | b"trex" | b"leva")
            | (b"edts", b"elst")
            | (b"mdia", b"elng")
            | (b"minf", b"vmhd" | b"smhd")
            | (
                b"stbl",
                b"stts" | b"ctts" | b"cslg" | b"stss" | b"stsh" | b"stsz" | b"stz2" | b"stsc" | b"stco"
                | b"co64" | b"stdp" | b"sdtp" | b"sgpd" | b"sbgp" | b"subs",
            )
            | (b"moof", b"mfhd")
            | (b"traf", b"tfhd" | b"tfdt" | b"trun" | b"sdtp" | b"sgpd" | b"sbgp" | b"subs") => Ok(()),
            _ => self.blank(part),
        }
    }

    fn track(&mut self, source: &mut Source, part: &Part) -> Result<(), Error> {
        count_track(&mut self.all_tracks)?;
        let media = find(source, part, *b"mdia")?.ok_or(INCOMPLETE_BOX)?;
        let handler = find(source, &media, *b"hdlr")?.ok_or(INCOMPLETE_BOX)?;
        source.seek(handler.body + 8)?;
        let kind: [u8; 4] = source.array()?;
        let information = find(source, &media, *b"minf")?;
        let samples = information.map(|part| find(source, &part, *b"stbl")).transpose()?.flatten();
        if matches!(&kind, b"vide" | b"soun") {
            let samples = samples.ok_or(INCOMPLETE_BOX)?;
            find(source, &samples, *b"stsd")?.ok_or(INCOMPLETE_BOX)?;
            self.tracks += 1;
            self.is_video = &kind == b"vide";
            return self.walk(source, part);
        }
        self.dropped.extend(samples);
        self.blank(part)
    }

    fn blank_dropped_samples(&mut self, source: &mut Source) -> Result<(), Error> {
        if self.has_fragments && !self.dropped.is_empty() {
            return Err(Error::Malformed("a track that is neither picture nor sound cannot be taken out"));
        }
        for samples in std::mem::take(&mut self.dropped) {
            for chunk in mp4_samples::chunks(source, &samples)? {
                // Only samples may be overwritten.
                let next = self.data.partition_point(|data| data.start <= chunk.start);
                let data = next.checked_sub(1).map(|last| &self.data[last]);
                if data.is_none_or(|data| chunk.end > data.end) {
                    return Err(Error::Malformed("the MP4 refers to samples that it does not have"));
                }
                self.patches.put(chunk.start, &[], chunk.end - chunk.start)?;
            }
        }
        Ok(())
    }

    /// Turns a box into one that players skip.
    fn blank(&mut self, part: &Part) -> Result<(), Error> {
        if &part.kind != b"free" {
            self.patches.put(part.start + 4, b"free", 0)?;
        }
        self.zero(part, part.body, None)
    }

    fn zero(&mut self, part: &Part, from: u64, length: Option<u64>) -> Result<(), Error> {
        let room = part.end.checked_sub(from).ok_or(INCOMPLETE_BOX)?;
        let length = length.unwrap_or(room);
        if length > room { Err(INCOMPLETE_BOX) } else { self.patches.put(from, &[], length) }
    }

    /// Replaces a language code of `QuickTime` at `at`.
    fn language(&mut self, source: &mut Source, part: &Part, at: u64) -> Result<(), Error> {
        if at + 2 > part.end {
            return Err(INCOMPLETE_BOX);
        }
        source.seek(at)?;
        match u16::from_be_bytes(source.array()?) {
            ..=MAX_QUICKTIME_LANGUAGE | NO_QUICKTIME_LANGUAGE => {
                self.patches.put(at, &UNDETERMINED.to_be_bytes(), 0)
            }
            _ => Ok(()),
        }
    }

    /// Checks the codecs of a track and the dimensions of its images.
    fn formats(&mut self, source: &mut Source, part: &Part) -> Result<(), Error> {
        source.skip(8)?;
        // `QuickTime` may end the list with four zeros.
        while source.position() + 8 <= part.end {
            let format = mp4_boxes::read(source, part.end)?;
            if self.is_video && !VIDEO_CODECS.contains(&&format.kind) {
                return Err(codecs::unsupported(&format.kind));
            }
            // Audio has other fields here, whose values are never as large.
            if format.end - format.body >= 70 {
                source.skip(24)?;
                let [w1, w0, h1, h0] = source.array()?;
                let measure = |high, low| u64::from(u16::from_be_bytes([high, low]));
                let (width, height) = (measure(w1, w0), measure(h1, h0));
                if width > 0 && height > 0 {
                    source.check_pixels(width, height)?;
                }
            }
            if self.is_quicktime && self.is_video {
                // Version, vendor and quality.
                self.zero(&format, format.body + 8, Some(16))?;
            } else if self.is_quicktime {
                self.sound(source, &format)?;
            }
            source.seek(format.end)?;
        }
        Ok(())
    }

    /// Turns a sound format of `QuickTime`'s version 1 into one of MP4: moves the configuration of the decoder out of its
    /// box, to where the additional fields are.
    fn sound(&mut self, source: &mut Source, format: &Part) -> Result<(), Error> {
        source.seek(format.body + 8)?;
        if format.end - format.body < QUICKTIME_SOUND_BOXES || source.array()? != [0, 1] {
            return Ok(());
        }
        let boxes = Part { body: format.body + QUICKTIME_SOUND_BOXES, ..format.clone() };
        let outer = find(source, &boxes, *b"wave")?.unwrap_or(boxes);
        let Some(configuration) = find(source, &outer, *b"esds")? else { return Ok(()) };
        let length = configuration.end - configuration.start;
        if length > MAX_CONFIGURATION_BYTES {
            return Err(Error::Malformed("a sound format of the MP4 is too long"));
        }
        source.seek(configuration.start)?;
        let bytes = source.bytes(length)?;
        let rest = format.body + SOUND_BOXES + length;
        let free = u32::try_from(format.end - rest).map_err(|_| INCOMPLETE_BOX)?;
        // Version and vendor, compression and packet size.
        self.patches.put(format.body + 8, &[], 8)?;
        self.patches.put(format.body + 20, &[], 4)?;
        self.patches.put_bytes(format.body + SOUND_BOXES, &bytes)?;
        // There is room: the additional fields have 16 bytes.
        let head = [free.to_be_bytes(), *b"free"].concat();
        self.patches.put(rest, &head, u64::from(free) - 8)
    }

    /// Rejects references to other files, which players would load.
    fn references(&mut self, source: &mut Source, part: &Part) -> Result<(), Error> {
        source.skip(8)?;
        while source.position() < part.end {
            let reference = mp4_boxes::read(source, part.end)?;
            let [_, _, _, flags] = source.array()?;
            let is_alias = self.is_quicktime && &reference.kind == b"alis";
            if flags & 1 == 0 || (reference.end - reference.body != 4 && !is_alias) {
                return Err(Error::Malformed("the MP4 refers to other files"));
            }
            if is_alias {
                // Players that know only MP4 know no aliases. The rest is the path of the file where it was recorded.
                self.patches.put(reference.start + 4, b"url ", 0)?;
                self.zero(&reference, reference.body + 4, None)?;
            }
            source.seek(reference.end)?;
        }
        Ok(())
    }
}
