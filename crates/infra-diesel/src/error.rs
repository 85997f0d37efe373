//! What the databases say, translated once.

use deadpool::managed::{BuildError, PoolError};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use domain::Error;

/// A failed query. Its own type, since neither Diesel's error nor the domain's is ours to convert.
#[derive(Debug)]
pub(crate) struct DbError(pub(crate) Error);

impl DbError {
    /// The same for somebody else.
    pub(crate) fn again(&self) -> Self {
        let cause = || std::error::Error::source(&self.0).unwrap_or(&self.0).to_string();
        Self(match &self.0 {
            Error::Refused(reason) => Error::Refused(*reason),
            Error::Full(reason) => Error::Full(*reason),
            Error::Unavailable(..) => Error::unavailable(cause()),
            _ => Error::internal(cause()),
        })
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        error.0
    }
}

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<PoolError<E>> for DbError {
    fn from(error: PoolError<E>) -> Self {
        Self(Error::unavailable(error))
    }
}

impl From<BuildError> for DbError {
    fn from(error: BuildError) -> Self {
        Self(Error::internal(error))
    }
}

impl From<DieselError> for DbError {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, info) = &error else {
            return Self(match error {
                DieselError::BrokenTransactionManager => Error::unavailable(error),
                _ => Error::internal(error),
            });
        };
        // PostgreSQL names the constraint, SQLite the index in its message.
        let place = info.constraint_name().unwrap_or_else(|| info.message());
        let message = info.message();
        Self(match kind {
            DatabaseErrorKind::UniqueViolation if place.contains("users_username_key") => {
                Error::USERNAME_TAKEN
            }
            DatabaseErrorKind::UniqueViolation
                if place.contains("users_email_key") || place.contains("users.email") =>
            {
                Error::EMAIL_TAKEN
            }
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::SerializationFailure => Error::unavailable(error),
            _ if message.contains("disk is full") || message.contains("No space left") => Error::STORAGE_FULL,
            _ if [
                "database is locked",
                "statement timeout",
                "lock timeout",
                "deadlock detected",
                "connection",
                "shutting down",
            ]
            .iter()
            .any(|sign| message.contains(sign)) =>
            {
                Error::unavailable(error)
            }
            _ => Error::internal(error),
        })
    }
}
