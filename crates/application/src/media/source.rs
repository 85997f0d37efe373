//! Reading an uploaded file piece by piece.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write},
    path::Path,
};

/// Where the cleaned file goes.
pub(super) type Sink<'a> = BufWriter<&'a mut File>;

/// Bytes of a file that are held at a time.
pub(super) const BUFFER: usize = 64 << 10;

/// Why a file is refused.
#[derive(Debug)]
pub(super) enum Fault {
    /// Its structure is not what its kind asks for; a clause for people.
    Malformed(&'static str),
    /// It has too many pixels or bytes.
    TooLarge,
    /// It is of another kind than it seemed.
    Unsupported,
    /// The disk failed.
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { TRUNCATED } else { Self::Io(error) }
    }
}

pub(super) const TRUNCATED: Fault = Fault::Malformed("it ends too early");

/// A file that is read forwards, with occasional jumps.
pub(super) struct Source {
    reader: BufReader<File>,
    position: u64,
    length: u64,
}

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { reader: BufReader::with_capacity(BUFFER, file), position: 0, length })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Up to `most` of the first bytes, which will be read again.
    pub(super) fn peek(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let buffered = self.reader.fill_buf()?;
        Ok(buffered[..most.min(buffered.len())].to_owned())
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32_be(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u32_le(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Bytes to look into. No more are allocated than the file has.
    pub(super) fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Fault> {
        self.check_left(length)?;
        let mut bytes = Vec::new();
        self.copy(length, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, length: u64) -> Result<(), Fault> {
        self.check_left(length)?;
        self.reader.seek_relative(i64::try_from(length).map_err(|_| TRUNCATED)?)?;
        self.position += length;
        Ok(())
    }

    pub(super) fn seek(&mut self, to: u64) -> Result<(), Fault> {
        if let Some(ahead) = to.checked_sub(self.position) {
            return self.skip(ahead);
        }
        self.position = self.reader.seek(SeekFrom::Start(to))?;
        Ok(())
    }

    pub(super) fn copy(&mut self, length: u64, sink: &mut impl Write) -> Result<(), Fault> {
        self.check_left(length)?;
        let copied = io::copy(&mut (&mut self.reader).take(length), sink)?;
        self.position += copied;
        if copied == length { Ok(()) } else { Err(TRUNCATED) }
    }

    /// Copies up to the next `stop`, which is taken and not copied, and says how many bytes came before it.
    pub(super) fn copy_until(&mut self, stop: u8, sink: &mut impl Write) -> Result<u64, Fault> {
        let begin = self.position;
        loop {
            let buffered = self.reader.fill_buf()?;
            if buffered.is_empty() {
                return Err(TRUNCATED);
            }
            let found = buffered.iter().position(|&byte| byte == stop);
            let length = found.unwrap_or(buffered.len());
            sink.write_all(&buffered[..length])?;
            let taken = length + usize::from(found.is_some());
            self.reader.consume(taken);
            self.position += taken as u64;
            if found.is_some() {
                return Ok(self.position - begin - 1);
            }
        }
    }

    fn check_left(&self, length: u64) -> Result<(), Fault> {
        if length > self.length.saturating_sub(self.position) { Err(TRUNCATED) } else { Ok(()) }
    }
}
