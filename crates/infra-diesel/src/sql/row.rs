//! Decodes rows of raw statements by column position: a look-up by name costs more than to decode the value.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    backend::Backend,
    deserialize::{self, FromSql},
    result::UnexpectedEndOfRow,
    row::{Field as _, NamedRow, Row},
    sql_types::{BigInt, Bool, Integer, SingleValue, Text},
};

use crate::schema::UtcTimestamp;

/// A value that is decoded from one or more adjacent columns.
pub(crate) trait FromRow<DB: Backend>: Sized {
    /// The number of columns.
    const WIDTH: usize;

    /// Decodes the columns that begin at `at`.
    fn from_row<'r>(row: &impl Row<'r, DB>, at: usize) -> deserialize::Result<Self>;

    /// Returns whether the column at `at` has this name. Always true for a value of several columns.
    fn is_named<'r>(row: &impl Row<'r, DB>, at: usize, name: &str) -> bool {
        Self::WIDTH > 1 || row.get(at).is_some_and(|field| field.field_name() == Some(name))
    }
}

fn column<'r, DB, ST, T>(row: &impl Row<'r, DB>, at: usize) -> deserialize::Result<T>
where
    DB: Backend,
    ST: SingleValue,
    T: FromSql<ST, DB>,
{
    T::from_nullable_sql(row.get(at).ok_or(UnexpectedEndOfRow)?.value())
}

macro_rules! values {
    ($($type:ty: $sql_type:ty;)*) => {
        $(impl<DB: Backend> FromRow<DB> for $type
        where
            Self: FromSql<$sql_type, DB>,
        {
            const WIDTH: usize = 1;

            fn from_row<'r>(row: &impl Row<'r, DB>, at: usize) -> deserialize::Result<Self> {
                column::<DB, $sql_type, Self>(row, at)
            }
        })*
    };
}

values! {
    i64: BigInt;
    i32: Integer;
    bool: Bool;
    String: Text;
    DateTime<Utc>: UtcTimestamp;
}

/// `None` if the first column is null.
impl<DB: Backend, T: FromRow<DB>> FromRow<DB> for Option<T> {
    const WIDTH: usize = T::WIDTH;

    fn from_row<'r>(row: &impl Row<'r, DB>, at: usize) -> deserialize::Result<Self> {
        let is_null = row.get(at).ok_or(UnexpectedEndOfRow)?.is_null();
        if is_null { Ok(None) } else { T::from_row(row, at).map(Some) }
    }
}

/// Declares a struct that implements [`FromRow`]. Its fields have the names and the order of the columns; a field may
/// be another such struct. Debug builds check the names.
macro_rules! row {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$attribute])*
        $visibility struct $name {
            $($(#[$field_attribute])* $field_visibility $field: $type),*
        }

        impl<DB: diesel::backend::Backend> $crate::sql::row::FromRow<DB> for $name
        where
            $($type: $crate::sql::row::FromRow<DB>),*
        {
            const WIDTH: usize = 0 $(+ <$type as $crate::sql::row::FromRow<DB>>::WIDTH)*;

            fn from_row<'r>(
                row: &impl diesel::row::Row<'r, DB>,
                at: usize,
            ) -> diesel::deserialize::Result<Self> {
                let mut next = at;
                $(
                    let $field = <$type as $crate::sql::row::FromRow<DB>>::from_row(row, next)?;
                    debug_assert!(
                        <$type as $crate::sql::row::FromRow<DB>>::is_named(row, next, stringify!($field)),
                        "column {next} is not {}", stringify!($field)
                    );
                    next += <$type as $crate::sql::row::FromRow<DB>>::WIDTH;
                )*
                debug_assert_eq!(next, at + <Self as $crate::sql::row::FromRow<DB>>::WIDTH);
                Ok(Self { $($field),* })
            }
        }
    };
}
pub(crate) use row;

/// A whole row, in the form in which Diesel loads it.
pub(crate) struct Decoded<T>(pub(crate) T);

impl<DB: Backend, T: FromRow<DB>> QueryableByName<DB> for Decoded<T> {
    fn build<'r>(row: &impl NamedRow<'r, DB>) -> deserialize::Result<Self> {
        T::from_row(row, 0).map(Self)
    }
}
