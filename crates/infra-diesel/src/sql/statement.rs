//! SQL text with typed binds. Diesel caches the prepared statement by its text.

use std::{
    marker::PhantomData,
    sync::{LazyLock, OnceLock},
};

use chrono::{DateTime, Utc};
use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text, Untyped},
    sqlite::Sqlite,
};
use diesel_async::{AsyncConnectionCore, RunQueryDsl};

use super::row::{Decoded, FromRow};
use crate::{
    connection::Connection,
    error::DbError,
    schema::{Timestamp, UtcTimestamp},
};

/// A value for a `?`.
pub(crate) enum Bind {
    Id(i64),
    OptionalId(Option<i64>),
    Count(i32),
    Text(String),
    OptionalText(Option<String>),
    Bytes(Vec<u8>),
    Flag(bool),
    OptionalFlag(Option<bool>),
    Timestamp(Timestamp),
    OptionalTimestamp(Option<Timestamp>),
    Array(ArrayBind),
    /// A number that becomes part of the text: the planner must know a page's size, and there are few.
    Literal(i64),
}

/// Values of the items of an array, for `unnest` and `ANY`. PostgreSQL only.
pub(crate) enum ArrayBind {
    Ids(Vec<i64>),
    Texts(Vec<String>),
    OptionalTexts(Vec<Option<String>>),
    Flags(Vec<bool>),
    Timestamps(Vec<Timestamp>),
}

/// A number that becomes part of the text.
#[derive(Clone, Copy)]
pub(crate) struct Literal(pub(crate) i64);

/// A value that a statement takes for a `?`.
pub(crate) trait BindValue: Into<Bind> {
    /// Its type on PostgreSQL. Empty if it becomes part of the text.
    #[cfg(test)]
    const POSTGRES_TYPE: &'static str;
}

macro_rules! bind_values {
    ($($from:ty => $variant:ident($convert:expr), $postgres_type:literal;)*) => {
        $(
            impl From<$from> for Bind {
                fn from(value: $from) -> Self {
                    Self::$variant($convert(value))
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
    i64 => Id(from), "bigint";
    Option<i64> => OptionalId(from), "bigint";
    i32 => Count(from), "integer";
    String => Text(from), "text";
    &str => Text(str::to_owned), "text";
    Option<String> => OptionalText(from), "text";
    Vec<u8> => Bytes(from), "bytea";
    bool => Flag(from), "boolean";
    Option<bool> => OptionalFlag(from), "boolean";
    DateTime<Utc> => Timestamp(Timestamp), "timestamptz";
    Option<DateTime<Utc>> => OptionalTimestamp(|at: Option<_>| at.map(Timestamp)), "timestamptz";
    Vec<i64> => Array(ArrayBind::Ids), "bigint[]";
    Vec<String> => Array(ArrayBind::Texts), "text[]";
    Vec<Option<String>> => Array(ArrayBind::OptionalTexts), "text[]";
    Vec<bool> => Array(ArrayBind::Flags), "boolean[]";
    Vec<Timestamp> => Array(ArrayBind::Timestamps), "timestamptz[]";
}

fn from<T>(value: T) -> T {
    value
}

impl From<Literal> for Bind {
    fn from(value: Literal) -> Self {
        Self::Literal(value.0)
    }
}

impl BindValue for Literal {
    #[cfg(test)]
    const POSTGRES_TYPE: &'static str = "";
}

/// How many rows each part of a merged list is read: on the first page a literal, which the planner must know.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    pub(crate) offset: i64,
    pub(crate) size: i64,
}

impl From<Reach> for Bind {
    fn from(Reach { offset, size }: Reach) -> Self {
        if offset == 0 { Self::Literal(size) } else { Self::Id(offset + size) }
    }
}

impl BindValue for Reach {
    #[cfg(test)]
    const POSTGRES_TYPE: &'static str = "";
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

/// The databases that understand a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Databases {
    Both,
    Postgres,
    #[allow(dead_code, reason = "no statement is for SQLite alone yet")]
    Sqlite,
}

/// A raw statement: its text, in which each `?` stands for a value, and the types of the values.
pub(crate) struct Sql<B> {
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that prepares all statements reads it"))]
    databases: Databases,
    text: &'static str,
    parts: OnceLock<Vec<&'static str>>,
    binds: PhantomData<fn(B)>,
}

impl<B: BindValues> Sql<B> {
    /// Declares a statement. Only [`statements`] does, which also registers it.
    pub(crate) const fn new(databases: Databases, text: &'static str) -> Self {
        Self { databases, text, parts: OnceLock::new(), binds: PhantomData }
    }

    /// Returns the statement with its values.
    pub(crate) fn with(&'static self, values: B) -> Statement {
        Statement::new(self.parts.get_or_init(|| self.text.split('?').collect()), values.into_binds())
    }
}

/// What the test that prepares every statement has to know.
#[cfg(test)]
pub(crate) trait Registered: Sync {
    fn databases(&self) -> Databases;

    /// Returns the text with a placeholder for each value, and the values' types on PostgreSQL.
    fn prepared(&self, placeholder: fn(usize) -> String) -> (String, Vec<&'static str>);
}

#[cfg(test)]
impl<B: BindValues> Registered for Sql<B> {
    fn databases(&self) -> Databases {
        self.databases
    }

    fn prepared(&self, placeholder: fn(usize) -> String) -> (String, Vec<&'static str>) {
        let mut parts = self.text.split('?');
        let mut text = parts.next().unwrap_or_default().to_owned();
        let mut types = Vec::new();
        let mut declared = B::POSTGRES_TYPES.iter();
        for part in parts {
            match declared.next() {
                Some(&"") => text.push_str("10"),
                Some(postgres_type) => {
                    types.push(*postgres_type);
                    text.push_str(&placeholder(types.len()));
                }
                None => panic!("more places than values: {}", self.text),
            }
            text.push_str(part);
        }
        assert_eq!(declared.next(), None, "more values than places: {}", self.text);
        (text, types)
    }
}

/// Declares the raw statements of a file, and lists them in `STATEMENTS` for the test that prepares all of them:
/// `statements! { Both: NAME(i64, bool) = "… ? … ?"; }`. They are used as `NAME.with((1, true))`.
macro_rules! statements {
    ($($(#[$attribute:meta])* $databases:ident: $name:ident($($type:ty),* $(,)?) = $text:expr;)*) => {
        $(
            $(#[$attribute])*
            static $name: $crate::sql::statement::Sql<($($type,)*)> =
                $crate::sql::statement::Sql::new($crate::sql::statement::Databases::$databases, $text);
        )*

        #[cfg(test)]
        pub(crate) static STATEMENTS: &[&dyn $crate::sql::statement::Registered] = &[$(&$name),*];
    };
}
pub(crate) use statements;

/// SQL text in which each `?` stands for a bind.
pub(crate) struct Statement {
    /// The text between the binds.
    parts: &'static [&'static str],
    binds: Vec<Bind>,
}

/// Literals as text, up to the size of a page.
static LITERALS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..=128).map(|number| number.to_string()).collect());

macro_rules! query_fragment {
    ($backend:ty, $push_array:expr) => {
        impl QueryFragment<$backend> for Statement {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                let Some((first, parts)) = self.parts.split_first() else { return Ok(()) };
                out.push_sql(first);
                for (bind, part) in self.binds.iter().zip(parts) {
                    match bind {
                        Bind::Id(value) => out.push_bind_param::<BigInt, _>(value)?,
                        Bind::OptionalId(value) => out.push_bind_param::<Nullable<BigInt>, _>(value)?,
                        Bind::Count(value) => out.push_bind_param::<Integer, _>(value)?,
                        Bind::Text(value) => out.push_bind_param::<Text, _>(value)?,
                        Bind::OptionalText(value) => out.push_bind_param::<Nullable<Text>, _>(value)?,
                        Bind::Bytes(value) => out.push_bind_param::<Binary, _>(value)?,
                        Bind::Flag(value) => out.push_bind_param::<Bool, _>(value)?,
                        Bind::OptionalFlag(value) => out.push_bind_param::<Nullable<Bool>, _>(value)?,
                        Bind::Timestamp(value) => out.push_bind_param::<UtcTimestamp, _>(value)?,
                        Bind::OptionalTimestamp(value) => {
                            out.push_bind_param::<Nullable<UtcTimestamp>, _>(value)?;
                        }
                        Bind::Array(values) => $push_array(values, &mut out)?,
                        Bind::Literal(value) => {
                            match usize::try_from(*value).ok().and_then(|value| LITERALS.get(value)) {
                                Some(text) => out.push_sql(text),
                                None => out.push_sql(&value.to_string()),
                            }
                        }
                    }
                    out.push_sql(part);
                }
                Ok(())
            }
        }
    };
}

query_fragment!(Pg, ArrayBind::push);
query_fragment!(Sqlite, |_, _: &mut AstPass<'_, '_, Sqlite>| {
    Err(diesel::result::Error::QueryBuilderError("SQLite has no arrays".into()))
});

impl ArrayBind {
    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Self::Ids(values) => out.push_bind_param::<Array<BigInt>, _>(values),
            Self::Texts(values) => out.push_bind_param::<Array<Text>, _>(values),
            Self::OptionalTexts(values) => out.push_bind_param::<Array<Nullable<Text>>, _>(values),
            Self::Flags(values) => out.push_bind_param::<Array<Bool>, _>(values),
            Self::Timestamps(values) => out.push_bind_param::<Array<UtcTimestamp>, _>(values),
        }
    }
}

impl QueryId for Statement {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}

impl Statement {
    /// Makes a statement of the text between the binds, and the binds.
    pub(crate) fn new(parts: &'static [&'static str], binds: Vec<Bind>) -> Self {
        debug_assert_eq!(parts.len(), binds.len() + 1, "{parts:?}");
        Self { parts, binds }
    }

    /// Returns every row.
    pub(crate) async fn load<R>(self, conn: &mut Connection<'_>) -> Result<Vec<R>, DbError>
    where
        R: FromRow<Pg> + FromRow<Sqlite> + Send + 'static,
    {
        Ok(conn.load(self).await?.into_iter().map(|Decoded(row)| row).collect())
    }

    /// Returns the only row, if there is one.
    pub(crate) async fn first<R>(self, conn: &mut Connection<'_>) -> Result<Option<R>, DbError>
    where
        R: FromRow<Pg> + FromRow<Sqlite> + Send + 'static,
    {
        Ok(self.load(conn).await?.into_iter().next())
    }

    /// Executes the statement and returns how many rows it changed.
    pub(crate) async fn execute(self, conn: &mut Connection<'_>) -> Result<i64, DbError> {
        conn.execute(self).await
    }

    /// Returns every row, on PostgreSQL, with the database's own error.
    pub(crate) async fn load_postgres<R, C>(self, conn: &mut C) -> QueryResult<Vec<R>>
    where
        R: FromRow<Pg> + Send + 'static,
        C: AsyncConnectionCore<Backend = Pg>,
    {
        let rows: Vec<Decoded<R>> = RunQueryDsl::load(self, conn).await?;
        Ok(rows.into_iter().map(|Decoded(row)| row).collect())
    }
}
