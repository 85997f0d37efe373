//! Errors of the databases, translated in one place.

use deadpool::managed::PoolError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use domain::Error;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Another process uses the SQLite file.
    #[error("the SQLite file is in use by another server")]
    InUse,
    /// An error of the driver, the pool or the file system.
    #[error("{0}")]
    Other(String),
}

impl DatabaseError {
    pub(crate) fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    pub(crate) fn query(error: DbError) -> Self {
        Self::other(error.0)
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(error) = error.as_db_error() {
            return Self::other(error.message());
        }
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        Self::Other(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
    }
}

/// A failed query. A type of this crate, since it may convert neither Diesel's error nor the domain's.
#[derive(Debug)]
pub(crate) struct DbError(pub(crate) Error);

impl DbError {
    /// Returns a copy for another request that failed together with this one.
    pub(crate) fn duplicate(&self) -> Self {
        let cause = || std::error::Error::source(&self.0).unwrap_or(&self.0).to_string();
        Self(match &self.0 {
            Error::Refused(reason) => Error::Refused(*reason),
            Error::TooMany(reason) => Error::TooMany(*reason),
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

impl From<DieselError> for DbError {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, info) = &error else {
            return Self(match error {
                DieselError::BrokenTransactionManager => Error::unavailable(error),
                _ => Error::internal(error),
            });
        };
        // PostgreSQL names the constraint, SQLite the index in its message.
        let constraint = info.constraint_name().unwrap_or_else(|| info.message());
        let message = info.message();
        Self(match kind {
            DatabaseErrorKind::UniqueViolation if constraint.contains("users_username_key") => {
                Error::USERNAME_TAKEN
            }
            DatabaseErrorKind::UniqueViolation
                if constraint.contains("users_email_key") || constraint.contains("users.email") =>
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
            .any(|phrase| message.contains(phrase)) =>
            {
                Error::unavailable(error)
            }
            _ => Error::internal(error),
        })
    }
}
