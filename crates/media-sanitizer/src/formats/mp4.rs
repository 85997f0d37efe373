//! MP4 (ISO/IEC 14496-12): nested boxes.
//!
//! Tables contain file offsets, so nothing is moved: boxes that playback does not need become `free` boxes of equal size
//! filled with zeros. Video and audio stay unchanged. Tracks of any other kind, in which cameras store locations (also as
//! subtitles), are removed with their samples.

use std::ops::Range;

use super::{
    count_track,
    mp4_boxes::{self, INCOMPLETE_BOX, Part, find},
    mp4_samples,
    patch::Patches,
};
use crate::{
    error::Error,
    source::{Sink, Source},
};

/// Brands that browsers play. HEIC, AVIF and `QuickTime` consist of boxes too.
const BRANDS: &[&[u8; 4]] = &[
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42",
    b"avc1", b"dash", b"mmp4", b"MSNV", b"M4V ", b"M4VH", b"M4VP",
];

#[derive(Default)]
struct Mp4 {
    patches: Patches,
    movies: u32,
    /// Number of tracks, and of those that are kept.
    all_tracks: u32,
    tracks: u32,
    has_fragments: bool,
    /// Ranges of samples.
    data: Vec<Range<u64>>,
    /// Sample tables of removed tracks.
    dropped: Vec<Part>,
}

/// Returns whether a file with this major brand may be an MP4.
pub(crate) fn is_brand(brand: &[u8]) -> bool {
    BRANDS.iter().any(|known| known.as_slice() == brand)
}

/// Copies video and audio.
pub(crate) fn clean(source: &mut Source, sink: &mut Sink) -> Result<(), Error> {
    let mut mp4 = Mp4::default();
    let brands = mp4_boxes::read(source, source.length())?;
    if !(16..=256).contains(&(brands.end - brands.start)) {
        return Err(INCOMPLETE_BOX);
    }
    source.seek(brands.end)?;
    while source.position() < source.length() {
        let part = mp4_boxes::read(source, source.length())?;
        mp4.top(source, &part)?;
        source.seek(part.end)?;
    }
    if mp4.movies != 1 || mp4.tracks == 0 || mp4.data.is_empty() {
        return Err(Error::Malformed("the MP4 has neither picture nor sound"));
    }
    mp4.blank_dropped_samples(source)?;
    mp4.patches.copy(source, source.length(), sink)
}

impl Mp4 {
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
                let length = if source.byte()? == 0 { 8 } else { 16 };
                self.zero(part, part.body + 4, Some(length))
            }
            // The name, after the version and the handler type.
            (b"mdia", b"hdlr") => self.zero(part, part.body + 24, None),
            (b"dinf", b"dref") => check_references(source, part),
            (b"stbl", b"stsd") => check_formats(source, part),
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
}

/// Checks the dimensions of the images of a track.
fn check_formats(source: &mut Source, part: &Part) -> Result<(), Error> {
    source.skip(8)?;
    while source.position() < part.end {
        let format = mp4_boxes::read(source, part.end)?;
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
        source.seek(format.end)?;
    }
    Ok(())
}

/// Rejects references to other files, which players would load.
fn check_references(source: &mut Source, part: &Part) -> Result<(), Error> {
    source.skip(8)?;
    while source.position() < part.end {
        let reference = mp4_boxes::read(source, part.end)?;
        let [_, _, _, flags] = source.array()?;
        if flags & 1 == 0 || reference.end - reference.body != 4 {
            return Err(Error::Malformed("the MP4 refers to other files"));
        }
        source.seek(reference.end)?;
    }
    Ok(())
}
