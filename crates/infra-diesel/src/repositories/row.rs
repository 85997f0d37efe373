//! Rows, read by the places of their columns: looking each up by its name costs more than reading it.

use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName, deserialize,
    deserialize::FromSql,
    result::UnexpectedEndOfRow,
    row::{Field as _, NamedRow, Row},
    sql_types::{BigInt, Binary, Bool, Integer, Text},
};

pub(crate) use super::super::Backend;
use super::super::Moment;

/// What columns of a row make, from a place on.
pub(crate) trait Columns: Sized {
    /// How many they are.
    const WIDTH: usize;

    /// Reads them.
    fn read<'r>(row: &impl Row<'r, Backend>, at: usize) -> deserialize::Result<Self>;

    /// Whether the column at a place is called so, if it is one.
    fn is_named<'r>(row: &impl Row<'r, Backend>, at: usize, name: &str) -> bool {
        Self::WIDTH > 1 || row.get(at).is_some_and(|field| field.field_name() == Some(name))
    }
}

macro_rules! values {
    ($($of:ty: $type:ty;)*) => {
        $(impl Columns for $of {
            const WIDTH: usize = 1;

            fn read<'r>(row: &impl Row<'r, Backend>, at: usize) -> deserialize::Result<Self> {
                let field = row.get(at).ok_or(UnexpectedEndOfRow)?;
                <Self as FromSql<$type, Backend>>::from_nullable_sql(field.value())
            }
        })*
    };
}

values! {
    i64: BigInt;
    i32: Integer;
    bool: Bool;
    String: Text;
    Vec<u8>: Binary;
    DateTime<Utc>: Moment;
}

/// Nothing if the first column is null.
impl<T: Columns> Columns for Option<T> {
    const WIDTH: usize = T::WIDTH;

    fn read<'r>(row: &impl Row<'r, Backend>, at: usize) -> deserialize::Result<Self> {
        let is_null = row.get(at).ok_or(UnexpectedEndOfRow)?.is_null();
        if is_null { Ok(None) } else { T::read(row, at).map(Some) }
    }
}

/// One struct whose fields are columns, in the order in which statements give them and with their names, or other such
/// struct: `row! { struct Name { field: Type } }`.
macro_rules! row {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[$of_field:meta])* $of:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$attribute])*
        $visibility struct $name {
            $($(#[$of_field])* $of $field: $type),*
        }

        impl Columns for $name {
            const WIDTH: usize = 0 $(+ <$type as Columns>::WIDTH)*;

            fn read<'r>(row: &impl diesel::row::Row<'r, Backend>, at: usize) -> diesel::deserialize::Result<Self> {
                let mut next = at;
                $(
                    let $field = <$type as Columns>::read(row, next)?;
                    debug_assert!(
                        <$type as Columns>::is_named(row, next, stringify!($field)),
                        "{} is not column {next}", stringify!($field)
                    );
                    next += <$type as Columns>::WIDTH;
                )*
                debug_assert_eq!(next, at + Self::WIDTH);
                Ok(Self { $($field),* })
            }
        }
    };
}
pub(crate) use row;

/// A whole row, as Diesel loads it.
pub(crate) struct Whole<T>(pub(super) T);

impl<T: Columns> QueryableByName<Backend> for Whole<T> {
    fn build<'r>(row: &impl NamedRow<'r, Backend>) -> deserialize::Result<Self> {
        T::read(row, 0).map(Self)
    }
}
