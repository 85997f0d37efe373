//! Values of raw statements.

use chrono::{DateTime, Utc};

use crate::schema::Timestamp;

/// A value for a `?`.
pub(crate) enum Bind {
    BigInt(i64),
    Integer(i32),
    Text(String),
    Timestamp(Timestamp),
    Array(ArrayBind),
    /// A number that becomes part of the text.
    Literal(&'static str),
}

/// Items of an array, for `unnest` and `ANY`. PostgreSQL only.
pub(crate) enum ArrayBind {
    BigInts(Vec<i64>),
    Texts(Vec<String>),
    OptionalTexts(Vec<Option<String>>),
    Bools(Vec<bool>),
    Timestamps(Vec<Timestamp>),
}

/// Repeats the last of several ids for `IN`, up to a power of two: SQLite keeps a prepared statement for each number of
/// ids, which then are few.
pub(crate) fn padded(mut ids: Vec<i64>) -> Vec<i64> {
    if let Some(last) = ids.last().copied() {
        ids.resize(ids.len().next_power_of_two(), last);
    }
    ids
}

/// The Rust type of a value.
pub(crate) trait BindValue: Into<Bind> {
    /// The type on PostgreSQL. Empty if the value may become part of the text.
    #[cfg(test)]
    const POSTGRES_TYPE: &'static str;
}

macro_rules! bind_values {
    ($($from:ty: $postgres_type:literal => $bind:expr;)*) => {
        $(
            impl From<$from> for Bind {
                fn from(value: $from) -> Self {
                    $bind(value)
                }
            }

            impl BindValue for $from {
                #[cfg(test)]
                const POSTGRES_TYPE: &'static str = $postgres_type;
            }
        )*
    };
}

bind_values! {
    i64: "bigint" => Self::BigInt;
    i32: "integer" => Self::Integer;
    String: "text" => Self::Text;
    &str: "text" => |value: &str| Self::Text(value.to_owned());
    DateTime<Utc>: "timestamptz" => |at| Self::Timestamp(Timestamp(at));
    Vec<i64>: "bigint[]" => |items| Self::Array(ArrayBind::BigInts(items));
    Vec<String>: "text[]" => |items| Self::Array(ArrayBind::Texts(items));
    Vec<Option<String>>: "text[]" => |items| Self::Array(ArrayBind::OptionalTexts(items));
    Vec<bool>: "boolean[]" => |items| Self::Array(ArrayBind::Bools(items));
    Vec<Timestamp>: "timestamptz[]" => |items| Self::Array(ArrayBind::Timestamps(items));
    PageLimit: "" => |PageLimit(rows)| Self::Literal(rounded(rows));
    Reach: "" => |Reach { offset, rows }| if offset == 0 {
        Self::Literal(rounded(rows))
    } else {
        Self::BigInt(offset + rows)
    };
}

/// The number of rows of a page. It becomes part of the text, since PostgreSQL's plan depends on it, and is rounded up, so
/// that clients cannot fill the server's memory with a plan for each size; the rows beyond the page are dropped.
#[derive(Clone, Copy)]
pub(crate) struct PageLimit(pub(crate) i64);

/// The number of rows that each part of a merged list is read for a page: on the first page a [`PageLimit`].
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    pub(crate) offset: i64,
    pub(crate) rows: i64,
}

fn rounded(rows: i64) -> &'static str {
    match rows {
        ..=0 => "0",
        1..=11 => "11",
        12..=21 => "21",
        22..=51 => "51",
        52.. => "101",
    }
}

/// The values of a statement: a tuple of [`BindValue`]s.
pub(crate) trait BindValues {
    #[cfg(test)]
    const POSTGRES_TYPES: &'static [&'static str];

    fn into_binds(self) -> Vec<Bind>;
}

macro_rules! tuples {
    ($($($name:ident)*;)*) => {
        $(#[allow(non_snake_case, reason = "the names of the type parameters serve twice")]
        impl<$($name: BindValue),*> BindValues for ($($name,)*) {
            #[cfg(test)]
            const POSTGRES_TYPES: &'static [&'static str] = &[$($name::POSTGRES_TYPE),*];

            fn into_binds(self) -> Vec<Bind> {
                let ($($name,)*) = self;
                vec![$($name.into()),*]
            }
        })*
    };
}

tuples! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
    A B C D E F G H I J K L M;
    A B C D E F G H I J K L M N;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_page_sizes_share_a_few_texts() {
        let limit = |rows| rounded(rows).parse::<i64>().unwrap_or(-1);
        assert!((1..=101).all(|rows| limit(rows) >= rows));
        assert_eq!(limit(0), 0, "a page that is too deep reads nothing");
        assert_eq!((0..=101).map(rounded).collect::<HashSet<_>>().len(), 5);
    }
}
