//! `WebM`, a subset of Matroska (RFC 9559): nested EBML elements (RFC 8794).
//!
//! Elements contain offsets of others, so nothing is moved: elements that playback does not need become void elements of
//! equal size filled with zeros.

use super::{codecs, count_track, patch::Patches};
use crate::{
    error::{Error, TRUNCATED},
    source::{Sink, Source},
};

const EBML: u32 = 0x1A45_DFA3;
const MAX_ID_LENGTH: u32 = 0x42F2;
const MAX_SIZE_LENGTH: u32 = 0x42F3;
const DOC_TYPE: u32 = 0x4282;
const VOID: u32 = 0xEC;
const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114D_9B74;
const SEEK: u32 = 0x4DBB;
const SEEK_ID: u32 = 0x53AB;
const INFO: u32 = 0x1549_A966;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_TYPE: u32 = 0x83;
const CODEC_ID: u32 = 0x86;
const VIDEO: u32 = 0xE0;
const PIXEL_WIDTH: u32 = 0xB0;
const PIXEL_HEIGHT: u32 = 0xBA;
const CLUSTER: u32 = 0x1F43_B675;
const SIMPLE_BLOCK: u32 = 0xA3;
const BLOCK_GROUP: u32 = 0xA0;
const BLOCK: u32 = 0xA1;
const CUES: u32 = 0x1C53_BB6B;
const CUE_POINT: u32 = 0xBB;
const CUE_TRACK_POSITIONS: u32 = 0xB7;
const CUE_TRACK: u32 = 0xF7;
const CHAPTERS: u32 = 0x1043_A770;
const TAGS: u32 = 0x1254_C367;
const ATTACHMENTS: u32 = 0x1941_A469;

/// Direct children of a segment. They end a cluster of unknown size.
const TOP: &[u32] = &[SEEK_HEAD, INFO, TRACKS, CLUSTER, CUES, CHAPTERS, TAGS, ATTACHMENTS];

/// The codecs of `WebM`.
const CODECS: &[&[u8]] = &[b"V_VP8", b"V_VP9", b"V_AV1", b"A_VORBIS", b"A_OPUS"];

struct Element {
    id: u32,
    start: u64,
    body: u64,
    /// `None` if the size is unknown.
    end: Option<u64>,
    /// Upper bound of its end.
    limit: u64,
}

#[derive(Default)]
struct Webm {
    patches: Patches,
    /// Number of tracks, and of those that are kept.
    all_tracks: u32,
    tracks: u32,
    /// Numbers of removed tracks.
    removed: Vec<u64>,
    clusters: u32,
}

/// Copies video and audio.
pub(crate) fn clean(source: &mut Source, sink: &mut Sink) -> Result<(), Error> {
    let mut webm = Webm::default();
    webm.header(source)?;
    let segment = element(source, source.length())?;
    if segment.id != SEGMENT {
        return Err(Error::Malformed("the WebM has no segment"));
    }
    let end = segment.end.unwrap_or(source.length());
    webm.walk(source, &Element { end: Some(end), ..segment })?;
    if webm.tracks == 0 || webm.clusters == 0 {
        return Err(Error::Malformed("the WebM has neither picture nor sound"));
    }
    webm.patches.copy(source, end, sink)
}

impl Webm {
    fn header(&mut self, source: &mut Source) -> Result<(), Error> {
        const NOT_RIGHT: Error = Error::Malformed("the WebM has no right header");
        let header = element(source, source.length())?;
        let end = header.end.ok_or(NOT_RIGHT)?;
        if header.id != EBML || end > 1024 {
            return Err(NOT_RIGHT);
        }
        let doc_type = find(source, &header, DOC_TYPE)?.ok_or(NOT_RIGHT)?;
        if text(source, &doc_type)? != b"webm" {
            return Err(Error::Unsupported);
        }
        for (id, most) in [(MAX_ID_LENGTH, 4), (MAX_SIZE_LENGTH, 8)] {
            if let Some(length) = find(source, &header, id)?
                && number(source, &length)? > most
            {
                return Err(NOT_RIGHT);
            }
        }
        self.walk(source, &header)?;
        source.seek(end)
    }

    /// Visits the children of an element, up to its end or to an element that cannot be its child.
    fn walk(&mut self, source: &mut Source, parent: &Element) -> Result<(), Error> {
        let limit = parent.end.unwrap_or(parent.limit);
        source.seek(parent.body)?;
        while source.position() < limit {
            let part = element(source, limit)?;
            if parent.end.is_none() && TOP.contains(&part.id) {
                return source.seek(part.start);
            }
            self.child(source, parent, &part)?;
            if let Some(end) = part.end {
                source.seek(end)?;
            }
        }
        Ok(())
    }

    /// Copies a child of an element, or the parts of it that playback needs. All others are removed.
    fn child(&mut self, source: &mut Source, parent: &Element, part: &Element) -> Result<(), Error> {
        match (parent.id, part.id) {
            (SEGMENT, CLUSTER) => {
                self.clusters += 1;
                self.walk(source, part)
            }
            _ if part.end.is_none() => Err(OPEN),
            (CLUSTER, SIMPLE_BLOCK) if self.is_of_removed_track(source, part)? => self.blank(part),
            (CLUSTER, BLOCK_GROUP) if self.is_group_of_removed_track(source, part)? => self.blank(part),
            (SEGMENT, CUES) if !self.removed.is_empty() => self.walk(source, part),
            (CUES, CUE_POINT) => self.cue_point(source, part),
            (SEGMENT, SEEK_HEAD | INFO | TRACKS) | (TRACK_ENTRY, VIDEO) | (CLUSTER, BLOCK_GROUP) => {
                self.walk(source, part)
            }
            (SEEK_HEAD, SEEK) => self.seek(source, part),
            (TRACKS, TRACK_ENTRY) => self.track(source, part),
            // The names of the programs that wrote the file: required, but not what they say.
            (INFO, 0x4D80 | 0x5741) => self.patches.put(part.body, &[], part.length()?),
            // Versions, and lengths that are checked.
            (EBML, 0x4286 | 0x42F7 | MAX_ID_LENGTH | MAX_SIZE_LENGTH | DOC_TYPE | 0x4287 | 0x4285)
            | (SEGMENT, CUES)
            // Time scale and duration.
            | (INFO, 0x2A_D7B1 | 0x4489)
            | (
                TRACK_ENTRY,
                // Number, UID, flags "enabled", "default", "forced" and "lacing".
                TRACK_NUMBER | 0x73C5 | TRACK_TYPE | 0xB9 | 0x88 | 0x55AA | 0x9C
                // Minimum and maximum cache, frame duration, block additions (transparency), language.
                | 0x6DE7 | 0x6DF8 | 0x23_E383 | 0x55EE | 0x41E4 | 0x22_B59C | 0x22_B59D
                // Codec data, delay, pre-roll before a seek, audio.
                | CODEC_ID | 0x63A2 | 0x56AA | 0x56BB | 0xE1
            )
            | (
                VIDEO,
                // Interlacing, stereo, transparency, dimensions.
                0x9A | 0x9D | 0x53B8 | 0x53C0 | PIXEL_WIDTH | PIXEL_HEIGHT
                // Cropping, aspect ratio, colors, projection.
                | 0x54AA | 0x54BB | 0x54CC | 0x54DD | 0x54B0 | 0x54BA | 0x54B2 | 0x54B3 | 0x55B0 | 0x7670
            )
            // Time, position, size of the previous cluster, blocks.
            | (CLUSTER, 0xE7 | 0xA7 | 0xAB | SIMPLE_BLOCK)
            | (BLOCK_GROUP, BLOCK | 0x75A1 | 0x9B | 0xFB | 0x75A2) => Ok(()),
            _ => self.blank(part),
        }
    }

    /// Copies an entry of the index if it points to a copied element.
    fn seek(&mut self, source: &mut Source, part: &Element) -> Result<(), Error> {
        let target = find(source, part, SEEK_ID)?.ok_or(Error::Malformed("the WebM has an empty index"))?;
        match u32::try_from(number(source, &target)?) {
            Ok(SEEK_HEAD | INFO | TRACKS | CLUSTER | CUES) => Ok(()),
            _ => self.blank(part),
        }
    }

    fn track(&mut self, source: &mut Source, part: &Element) -> Result<(), Error> {
        const NOT_RIGHT: Error = Error::Malformed("a track of the WebM is not right");
        count_track(&mut self.all_tracks)?;
        let kind = find(source, part, TRACK_TYPE)?.ok_or(NOT_RIGHT)?;
        if !matches!(number(source, &kind)?, 1 | 2) {
            return self.remove_track(source, part);
        }
        let codec = find(source, part, CODEC_ID)?.ok_or(NOT_RIGHT)?;
        let codec = text(source, &codec)?;
        if !CODECS.contains(&codec.as_slice()) {
            return Err(codecs::known_unsupported(&codec).unwrap_or(Error::Unsupported));
        }
        self.tracks += 1;
        if let Some(video) = find(source, part, VIDEO)? {
            let width = find(source, &video, PIXEL_WIDTH)?.ok_or(NOT_RIGHT)?;
            let height = find(source, &video, PIXEL_HEIGHT)?.ok_or(NOT_RIGHT)?;
            let (width, height) = (number(source, &width)?, number(source, &height)?);
            source.check_pixels(width, height)?;
        }
        self.walk(source, part)
    }

    /// Removes a track that is neither picture nor sound, such as subtitles. Its blocks follow in the clusters.
    fn remove_track(&mut self, source: &mut Source, part: &Element) -> Result<(), Error> {
        if self.clusters > 0 {
            return Err(Error::Malformed("a track of the WebM follows its blocks"));
        }
        if let Some(track) = find(source, part, TRACK_NUMBER)? {
            self.removed.push(number(source, &track)?);
        }
        self.blank(part)
    }

    /// Returns whether a block is one of a removed track. Players fail at blocks of tracks that they do not know.
    fn is_of_removed_track(&self, source: &mut Source, block: &Element) -> Result<bool, Error> {
        if self.removed.is_empty() || block.length()? == 0 {
            return Ok(false);
        }
        source.seek(block.body)?;
        Ok(self.removed.contains(&variable_number(source)?))
    }

    fn is_group_of_removed_track(&self, source: &mut Source, group: &Element) -> Result<bool, Error> {
        if self.removed.is_empty() {
            return Ok(false);
        }
        let block = find(source, group, BLOCK)?;
        block.map_or(Ok(false), |block| self.is_of_removed_track(source, &block))
    }

    /// Removes the positions of removed tracks from an entry of the index, or the entry if it has no others.
    fn cue_point(&mut self, source: &mut Source, point: &Element) -> Result<(), Error> {
        let end = point.end.ok_or(OPEN)?;
        let (mut kept, mut gone) = (0, Vec::new());
        source.seek(point.body)?;
        while source.position() < end {
            let part = element(source, end)?;
            let next = part.end.ok_or(OPEN)?;
            if part.id == CUE_TRACK_POSITIONS {
                let track =
                    find(source, &part, CUE_TRACK)?.map(|track| number(source, &track)).transpose()?;
                if track.is_some_and(|track| self.removed.contains(&track)) {
                    gone.push(part);
                } else {
                    kept += 1;
                }
            }
            source.seek(next)?;
        }
        if kept == 0 && !gone.is_empty() {
            return self.blank(point);
        }
        gone.iter().try_for_each(|part| self.blank(part))
    }

    /// Turns an element into one that players skip.
    fn blank(&mut self, part: &Element) -> Result<(), Error> {
        let length = part.length()?;
        if part.id == VOID {
            return self.patches.put(part.body, &[], length);
        }
        let whole = part.body - part.start + length;
        // One byte for the identifier, one or eight for the length.
        if let Ok(rest @ 0..=126) = u8::try_from(whole - 2) {
            return self.patches.put(part.start, &[0xEC, 0x80 | rest], u64::from(rest));
        }
        let mut head = [0; 9];
        head[1..].copy_from_slice(&(whole - 9).to_be_bytes());
        (head[0], head[1]) = (0xEC, 0x01);
        self.patches.put(part.start, &head, whole - 9)
    }
}

const OPEN: Error = Error::Malformed("an element of the WebM has no end");

impl Element {
    fn length(&self) -> Result<u64, Error> {
        self.end.map(|end| end - self.body).ok_or(OPEN)
    }
}

/// Reads the header of an element, which must end at `limit` or before.
fn element(source: &mut Source, limit: u64) -> Result<Element, Error> {
    const NO_ELEMENT: Error = Error::Malformed("something stands between the elements of the WebM");
    source.count_part()?;
    let start = source.position();
    let first = source.byte()?;
    if first < 0x10 {
        return Err(NO_ELEMENT);
    }
    let mut id = u32::from(first);
    for _ in 0..first.leading_zeros() {
        id = id << 8 | u32::from(source.byte()?);
    }
    let first = source.byte()?;
    if first == 0 {
        return Err(NO_ELEMENT);
    }
    let more = first.leading_zeros();
    let most = (1_u64 << (7 * (more + 1))) - 1;
    let mut size = u64::from(first);
    for _ in 0..more {
        size = size << 8 | u64::from(source.byte()?);
    }
    size &= most;
    let body = source.position();
    if body > limit || (size != most && size > limit - body) {
        return Err(TRUNCATED);
    }
    Ok(Element { id, start, body, end: (size != most).then(|| body + size), limit })
}

/// Finds the first child of an element with this identifier.
fn find(source: &mut Source, parent: &Element, id: u32) -> Result<Option<Element>, Error> {
    let end = parent.end.ok_or(OPEN)?;
    source.seek(parent.body)?;
    while source.position() < end {
        let part = element(source, end)?;
        if part.id == id {
            return Ok(Some(part));
        }
        source.seek(part.end.ok_or(OPEN)?)?;
    }
    Ok(None)
}

/// Reads a number that contains its length, as blocks begin with.
fn variable_number(source: &mut Source) -> Result<u64, Error> {
    let first = source.byte()?;
    let more = first.leading_zeros();
    if more > 7 {
        return Err(Error::Malformed("a block of the WebM has no track"));
    }
    let mut value = u64::from(first) & (0x7F >> more);
    for _ in 0..more {
        value = value << 8 | u64::from(source.byte()?);
    }
    Ok(value)
}

/// Reads a variable-length number or identifier.
fn number(source: &mut Source, element: &Element) -> Result<u64, Error> {
    if element.length()? > 8 {
        return Err(Error::Malformed("a number in the WebM is too long"));
    }
    source.seek(element.body)?;
    Ok(source.bytes(element.length()?)?.into_iter().fold(0, |number, byte| number << 8 | u64::from(byte)))
}

/// Returns a text without trailing zeros.
fn text(source: &mut Source, element: &Element) -> Result<Vec<u8>, Error> {
    if element.length()? > 64 {
        return Err(Error::Malformed("a text in the WebM is too long"));
    }
    source.seek(element.body)?;
    let mut text = source.bytes(element.length()?)?;
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    text.truncate(end);
    Ok(text)
}
