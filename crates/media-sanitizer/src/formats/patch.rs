//! Patches in place, for formats whose parts refer to each other by offsets.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use crate::{
    error::Error,
    source::{Sink, Source},
};

/// Maximum number of patches. Each takes about 60 bytes of memory; a real file needs a few dozen.
const MAX_PATCHES: usize = 100_000;

/// Patches to a file.
#[derive(Default)]
pub(crate) struct Patches {
    patches: Vec<Patch>,
    zeros: u64,
}

struct Patch {
    at: u64,
    bytes: Vec<u8>,
    zeros: u64,
}

impl Patches {
    /// Overwrites the file at `at` with `bytes` and then `zeros` zeros.
    pub(crate) fn put(&mut self, at: u64, bytes: &[u8], zeros: u64) -> Result<(), Error> {
        if self.patches.len() >= MAX_PATCHES {
            return Err(Error::Malformed("it has too many parts"));
        }
        if !bytes.is_empty() || zeros > 0 {
            self.zeros = self.zeros.saturating_add(zeros);
            self.patches.push(Patch { at, bytes: bytes.to_owned(), zeros });
        }
        Ok(())
    }

    /// Copies the file up to `end` and patches the copy.
    pub(crate) fn copy(&self, source: &mut Source, end: u64, sink: &mut Sink) -> Result<(), Error> {
        // Patches of a valid file do not overlap; those of a malicious one could demand any amount of writing.
        if self.zeros > end {
            return Err(Error::Malformed("its parts overlap"));
        }
        source.seek(0)?;
        source.copy(end, sink)?;
        for patch in &self.patches {
            sink.seek(SeekFrom::Start(patch.at))?;
            sink.write_all(&patch.bytes)?;
            io::copy(&mut io::repeat(0).take(patch.zeros), sink)?;
        }
        Ok(())
    }
}
