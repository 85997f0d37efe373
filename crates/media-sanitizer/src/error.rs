//! The error type.

use std::io;

/// The reason why a file was not sanitized.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file violates its format or is incomplete. The message is a clause for people, such as "it is empty".
    #[error("the file is malformed: {0}")]
    Malformed(&'static str),
    /// The file has more bytes than the limits allow.
    #[error("the file is too large")]
    TooLarge,
    /// The picture has more pixels than the limits allow.
    #[error("the picture has too many pixels")]
    TooManyPixels,
    /// The file is of no supported format.
    #[error("the file is of no supported format")]
    Unsupported,
    /// The file is a video whose codec no browser plays. The message is a sentence for people that names the codec.
    #[error("{0}")]
    UnsupportedCodec(&'static str),
    /// It took longer than the limit allows. Trying again may help.
    #[error("the file takes too long to sanitize")]
    TimedOut,
    /// Reading or writing failed.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { TRUNCATED } else { Self::Io(error) }
    }
}

impl Error {
    /// Returns whether the file ends too early.
    pub(crate) fn is_truncation(&self) -> bool {
        matches!(self, Self::Malformed(message) if *message == ENDS_TOO_EARLY)
    }
}

const ENDS_TOO_EARLY: &str = "it ends too early";

pub(crate) const TRUNCATED: Error = Error::Malformed(ENDS_TOO_EARLY);
