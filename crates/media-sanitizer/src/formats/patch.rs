//! Patches in place, for formats whose parts refer to each other by offsets.

use std::io::Write as _;

use crate::{
    error::Error,
    source::{Sink, Source},
};

/// Maximum number of patches. Each takes 40 bytes of memory; a real file needs a few dozen.
const MAX_PATCHES: usize = 100_000;

/// Maximum number of bytes that are not zero in a patch.
const MAX_HEAD: usize = 9;

const OVERLAP: Error = Error::Malformed("its parts overlap");

/// Patches to a file.
#[derive(Default)]
pub(crate) struct Patches(Vec<Patch>);

struct Patch {
    at: u64,
    head: [u8; MAX_HEAD],
    head_length: u8,
    zeros: u64,
}

impl Patches {
    /// Overwrites the file at `at` with up to nine bytes and then `zeros` zeros.
    pub(crate) fn put(&mut self, at: u64, bytes: &[u8], zeros: u64) -> Result<(), Error> {
        if self.0.len() >= MAX_PATCHES {
            return Err(Error::Malformed("it has too many parts"));
        }
        if !bytes.is_empty() || zeros > 0 {
            let mut head = [0; MAX_HEAD];
            head[..bytes.len()].copy_from_slice(bytes);
            // The slice above is not longer than the array.
            let head_length = u8::try_from(bytes.len()).unwrap_or_default();
            self.0.push(Patch { at, head, head_length, zeros });
        }
        Ok(())
    }

    /// Overwrites the file at `at` with any number of bytes.
    pub(crate) fn put_bytes(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        (at..)
            .step_by(MAX_HEAD)
            .zip(bytes.chunks(MAX_HEAD))
            .try_for_each(|(at, bytes)| self.put(at, bytes, 0))
    }

    /// Copies the file up to `end`, with the patches, in a single pass.
    pub(crate) fn copy(mut self, source: &mut Source, end: u64, sink: &mut Sink) -> Result<(), Error> {
        self.0.sort_by_key(|patch| patch.at);
        source.seek(0)?;
        for patch in &self.0 {
            let head = &patch.head[..usize::from(patch.head_length)];
            let zeros_from = patch.at + head.len() as u64;
            let patch_end = zeros_from.checked_add(patch.zeros).filter(|&to| to <= end).ok_or(OVERLAP)?;
            if let Some(before) = patch.at.checked_sub(source.position()) {
                source.copy(before, sink)?;
                sink.write_all(head)?;
            } else if !head.is_empty() {
                return Err(OVERLAP);
            }
            // Two patches may fill the same bytes with zeros.
            write_zeros(sink, patch_end.saturating_sub(source.position().max(zeros_from)))?;
            source.seek(patch_end.max(source.position()))?;
        }
        source.copy(end - source.position(), sink)
    }
}

fn write_zeros(sink: &mut Sink, mut count: u64) -> Result<(), Error> {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let length = usize::try_from(count).unwrap_or(usize::MAX).min(ZEROS.len());
        sink.write_all(&ZEROS[..length])?;
        count -= length as u64;
    }
    Ok(())
}
