//! The error type.

use std::io;

/// The reason why a file was not sanitized.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file violates its format or is incomplete. The message is a clause for people, such as "it is empty".
    #[error("the file is malformed: {0}")]
    Malformed(&'static str),
    /// The file has more bytes or pixels than the limits allow.
    #[error("the file is too large")]
    TooLarge,
    /// The file is of no supported format.
    #[error("the file is of no supported format")]
    Unsupported,
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

pub(crate) const TRUNCATED: Error = Error::Malformed("it ends too early");
