//! The sample tables of an MP4 track (ISO/IEC 14496-12, sections 8.7.3 to 8.7.5).

use std::ops::Range;

use super::mp4_boxes::{Part, find};
use crate::{error::Error, source::Source};

/// Maximum size of a table. A metadata track for an hour of video takes a few hundred KiB.
const MAX_TABLE_BYTES: u64 = 4 << 20;

const NOT_RIGHT: Error = Error::Malformed("a sample table of the MP4 is not right");

/// Returns the ranges of the chunks of a track, given its sample table.
pub(crate) fn chunks(source: &mut Source, samples: &Part) -> Result<Vec<Range<u64>>, Error> {
    let offsets = offsets(source, samples)?;
    if offsets.is_empty() {
        return Ok(Vec::new());
    }
    let mut sizes = Sizes::read(source, samples)?;
    let runs = table(source, samples, *b"stsc")?.ok_or(NOT_RIGHT)?;
    // First chunk, samples per chunk, sample format.
    let runs: Vec<[u32; 3]> = runs.get(1..).ok_or(NOT_RIGHT)?.as_chunks().0.to_owned();
    let mut chunks = Vec::with_capacity(offsets.len());
    let mut run = 0;
    for (number, start) in (1..).zip(offsets) {
        while runs.get(run + 1).is_some_and(|next| next[0] <= number) {
            run += 1;
        }
        let count = runs.get(run).ok_or(NOT_RIGHT)?[1];
        let end = start.checked_add(sizes.next(count)).ok_or(NOT_RIGHT)?;
        chunks.push(start..end);
    }
    Ok(chunks)
}

enum Sizes {
    All(u32),
    Each(std::iter::Skip<std::vec::IntoIter<u32>>),
}

impl Sizes {
    fn read(source: &mut Source, samples: &Part) -> Result<Self, Error> {
        let table = table(source, samples, *b"stsz")?.ok_or(NOT_RIGHT)?;
        match table.as_slice() {
            [0, ..] => Ok(Self::Each(table.into_iter().skip(2))),
            [all, ..] => Ok(Self::All(*all)),
            [] => Err(NOT_RIGHT),
        }
    }

    /// Returns the total length of the next `count` samples.
    fn next(&mut self, count: u32) -> u64 {
        match self {
            Self::All(size) => u64::from(*size) * u64::from(count),
            Self::Each(sizes) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                sizes.by_ref().take(count).map(u64::from).sum()
            }
        }
    }
}

fn offsets(source: &mut Source, samples: &Part) -> Result<Vec<u64>, Error> {
    if let Some(short) = table(source, samples, *b"stco")? {
        return Ok(short.into_iter().skip(1).map(u64::from).collect());
    }
    let long = table(source, samples, *b"co64")?.unwrap_or_default();
    let pairs = long.get(1..).unwrap_or_default().as_chunks().0;
    Ok(pairs.iter().map(|&[high, low]| u64::from(high) << 32 | u64::from(low)).collect())
}

/// Returns the numbers of a table after its version.
fn table(source: &mut Source, samples: &Part, kind: [u8; 4]) -> Result<Option<Vec<u32>>, Error> {
    let Some(part) = find(source, samples, kind)? else { return Ok(None) };
    let length = part.end - part.body;
    if !(4..=MAX_TABLE_BYTES).contains(&length) {
        return Err(NOT_RIGHT);
    }
    source.seek(part.body + 4)?;
    let bytes = source.bytes(length - 4)?;
    Ok(Some(bytes.as_chunks().0.iter().map(|&number| u32::from_be_bytes(number)).collect()))
}
