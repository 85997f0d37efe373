//! Changes in place, for formats in which parts refer to each other by their position.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use crate::{
    error::Error,
    source::{Sink, Source},
};

/// Each takes some 60 bytes of memory; a real file needs a few dozen.
const MOST: usize = 100_000;

/// What is to be written over parts of a file.
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
    /// Writes `bytes` at `at`, and `zeros` zeros after them.
    pub(crate) fn put(&mut self, at: u64, bytes: &[u8], zeros: u64) -> Result<(), Error> {
        if self.patches.len() >= MOST {
            return Err(Error::Malformed("it has too many parts"));
        }
        if !bytes.is_empty() || zeros > 0 {
            self.zeros = self.zeros.saturating_add(zeros);
            self.patches.push(Patch { at, bytes: bytes.to_owned(), zeros });
        }
        Ok(())
    }

    /// Copies the file up to `end` and changes the copy.
    pub(crate) fn copy(&self, source: &mut Source, end: u64, sink: &mut Sink) -> Result<(), Error> {
        // Parts do not overlap in a right file; in a wrong one they could ask for any amount of writing.
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
