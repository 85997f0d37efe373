//! Errors of the databases, translated in one place.

use deadpool::managed::PoolError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use domain::Error;
use tokio_postgres::error::SqlState;

use crate::postgres::sqlstate::sqlstate_of;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Another process uses the SQLite file.
    #[error("the SQLite file is in use by another server")]
    InUse,
    /// The database cannot store every text.
    #[error("the encoding of the database is {0}: create it with ENCODING 'UTF8'")]
    Encoding(String),
    /// A pooler gives each transaction another connection, on which statements are not prepared.
    #[error(
        "a connection pooler shares the connections of PostgreSQL between transactions: make it pool by session \
         (PgBouncer: pool_mode = session), or connect to PostgreSQL itself"
    )]
    TransactionPooling,
    /// The user of the database may not do what requests do.
    #[error("the user {user} lacks privileges: {missing}")]
    Privileges {
        /// Name of the user.
        user: String,
        /// What is to be granted, by table.
        missing: String,
    },
    /// Another program migrates the database.
    #[error("another program has been migrating the database for more than a minute: {0}")]
    Migrating(String),
    /// An error of the driver, the pool or the file system.
    #[error("{0}")]
    Other(String),
}

impl DatabaseError {
    pub(crate) fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    /// Takes over the message of a failed statement.
    pub(crate) fn failed(message: impl std::fmt::Display) -> Self {
        let message = message.to_string();
        if sqlstate_of(&message) == Some(SqlState::INSUFFICIENT_PRIVILEGE) {
            return Self::Other(format!("the user lacks a privilege: {message}"));
        }
        Self::Other(message)
    }
}

impl From<DbError> for DatabaseError {
    fn from(DbError(error): DbError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        Self::failed(cause.unwrap_or_else(|| error.to_string()))
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(error) = error.as_db_error() {
            return Self::failed(error.message());
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
            | DatabaseErrorKind::ReadOnlyTransaction
            | DatabaseErrorKind::SerializationFailure => Error::unavailable(error),
            _ => match condition(info.message()) {
                Condition::DiskFull => Error::STORAGE_FULL,
                Condition::Temporary => Error::unavailable(error),
                Condition::Other => Error::internal(error),
            },
        })
    }
}

/// What an error says about the database.
enum Condition {
    DiskFull,
    /// The same statement may succeed later.
    Temporary,
    Other,
}

fn condition(message: &str) -> Condition {
    let Some(state) = sqlstate_of(message) else {
        // SQLite's messages are in English everywhere. Diesel passes on nothing else.
        return match message {
            _ if message.contains("disk is full") => Condition::DiskFull,
            _ if message.contains("is locked") => Condition::Temporary,
            _ => Condition::Other,
        };
    };
    if state == SqlState::DISK_FULL {
        return Condition::DiskFull;
    }
    // Connections, rollbacks because of other transactions, resources, and interventions of operators and timeouts.
    let is_temporary = ["08", "40", "53", "57"].iter().any(|class| state.code().starts_with(class));
    if is_temporary || state == SqlState::LOCK_NOT_AVAILABLE {
        Condition::Temporary
    } else {
        Condition::Other
    }
}
