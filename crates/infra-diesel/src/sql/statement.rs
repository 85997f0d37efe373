//! SQL text with typed binds. Diesel caches the prepared statement by its text.

use std::{borrow::Cow, sync::LazyLock};

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
    /// Locks the selected rows until the transaction ends. Nothing on SQLite, where there is one writer at a time.
    RowLock,
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

/// The place of a row lock in the text.
#[derive(Clone, Copy)]
pub(crate) struct RowLock;

macro_rules! binds {
    ($($from:ty => $variant:ident;)*) => {
        $(impl From<$from> for Bind {
            fn from(value: $from) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

binds! {
    i64 => Id;
    Option<i64> => OptionalId;
    i32 => Count;
    String => Text;
    Option<String> => OptionalText;
    Vec<u8> => Bytes;
    bool => Flag;
    Option<bool> => OptionalFlag;
    ArrayBind => Array;
}

impl From<DateTime<Utc>> for Bind {
    fn from(value: DateTime<Utc>) -> Self {
        Self::Timestamp(Timestamp(value))
    }
}

impl From<Option<DateTime<Utc>>> for Bind {
    fn from(value: Option<DateTime<Utc>>) -> Self {
        Self::OptionalTimestamp(value.map(Timestamp))
    }
}

impl From<&str> for Bind {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Literal> for Bind {
    fn from(value: Literal) -> Self {
        Self::Literal(value.0)
    }
}

impl From<RowLock> for Bind {
    fn from(_: RowLock) -> Self {
        Self::RowLock
    }
}

/// SQL text in which each `?` stands for a bind.
pub(crate) struct Statement {
    /// The text between the binds.
    parts: Cow<'static, [&'static str]>,
    binds: Vec<Bind>,
}

/// `sql!("… ? …", value)`. The text is split once.
macro_rules! sql {
    ($text:expr $(, $bind:expr)* $(,)?) => {{
        static PARTS: std::sync::LazyLock<Vec<&str>> = std::sync::LazyLock::new(|| $text.split('?').collect());
        Statement::new(&PARTS, vec![$($bind.into()),*])
    }};
}
pub(crate) use sql;

/// Literals as text, up to the size of a page.
static LITERALS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..=128).map(|number| number.to_string()).collect());

macro_rules! query_fragment {
    ($backend:ty, $row_lock:literal, $push_array:expr) => {
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
                        Bind::RowLock => out.push_sql($row_lock),
                    }
                    out.push_sql(part);
                }
                Ok(())
            }
        }
    };
}

query_fragment!(Pg, " FOR NO KEY UPDATE", ArrayBind::push);
query_fragment!(Sqlite, "", |_, _: &mut AstPass<'_, '_, Sqlite>| {
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
        Self { parts: parts.into(), binds }
    }

    /// Makes a statement without binds.
    pub(crate) fn plain(text: &'static str) -> Self {
        Self { parts: vec![text].into(), binds: Vec::new() }
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
