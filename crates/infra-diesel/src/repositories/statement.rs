//! SQL text with typed binds, kept prepared.

use std::{borrow::Cow, sync::LazyLock};

use chrono::{DateTime, Utc};
use diesel::{
    QueryResult,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text, Untyped},
};

use super::{
    super::{Backend, Connection, Many, Moment},
    row::{Columns, Whole},
};
use crate::error::Fault;

/// What statements run on.
pub(crate) trait Runs {
    /// Every row that one gives.
    fn rows<R: Columns + Send + 'static>(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = QueryResult<Vec<Whole<R>>>> + Send;

    /// How many rows one changes.
    fn count(&mut self, statement: Statement) -> impl Future<Output = QueryResult<usize>> + Send;
}

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
    Moment(DateTime<Utc>),
    OptionalMoment(Option<DateTime<Utc>>),
    Many(Many),
    /// A number that becomes part of the text: the planner must know a page's size, and there are few.
    Literal(i64),
}

/// A number to stand in the text itself.
#[derive(Clone, Copy)]
pub(crate) struct Literal(pub(crate) i64);

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
    DateTime<Utc> => Moment;
    Option<DateTime<Utc>> => OptionalMoment;
    Many => Many;
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

/// A statement whose every `?` stands for a bind. Diesel keeps it prepared by its text.
pub(crate) struct Statement {
    /// What stands between the binds.
    parts: Cow<'static, [&'static str]>,
    binds: Vec<Bind>,
}

/// `sql!("… ? …", value)`. The text is taken apart once.
macro_rules! sql {
    ($text:expr $(, $bind:expr)* $(,)?) => {{
        static PARTS: std::sync::LazyLock<Vec<&str>> = std::sync::LazyLock::new(|| $text.split('?').collect());
        Statement::new(&PARTS, vec![$($bind.into()),*])
    }};
}
pub(crate) use sql;

/// Small numbers as they stand in texts: those that say how large a page is.
static NUMBERS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..=128).map(|number| number.to_string()).collect());

impl QueryFragment<Backend> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Backend>) -> QueryResult<()> {
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
                Bind::Moment(value) => out.push_bind_param::<Moment, _>(value)?,
                Bind::OptionalMoment(value) => out.push_bind_param::<Nullable<Moment>, _>(value)?,
                Bind::Many(values) => values.push(&mut out)?,
                Bind::Literal(value) => {
                    match usize::try_from(*value).ok().and_then(|value| NUMBERS.get(value)) {
                        Some(number) => out.push_sql(number),
                        None => out.push_sql(&value.to_string()),
                    }
                }
            }
            out.push_sql(part);
        }
        Ok(())
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
    /// Made of parts, with a bind between each two.
    pub(crate) fn new(parts: &'static [&'static str], binds: Vec<Bind>) -> Self {
        debug_assert_eq!(parts.len(), binds.len() + 1, "{parts:?}");
        Self { parts: parts.into(), binds }
    }

    /// Without binds.
    pub(crate) fn plain(text: &'static str) -> Self {
        Self { parts: vec![text].into(), binds: Vec::new() }
    }

    /// Every row.
    pub(crate) async fn load<R, C>(self, conn: &mut C) -> Result<Vec<R>, Fault>
    where
        R: Columns + Send + 'static,
        C: Runs,
    {
        Ok(self.rows(conn).await?)
    }

    /// The same, with the database's own error.
    pub(crate) async fn rows<R, C>(self, conn: &mut C) -> QueryResult<Vec<R>>
    where
        R: Columns + Send + 'static,
        C: Runs,
    {
        Ok(conn.rows(self).await?.into_iter().map(|Whole(row)| row).collect())
    }

    /// The only row, if there is one.
    pub(crate) async fn first<R, C>(self, conn: &mut C) -> Result<Option<R>, Fault>
    where
        R: Columns + Send + 'static,
        C: Runs,
    {
        Ok(self.load(conn).await?.into_iter().next())
    }

    /// How many rows it changed.
    pub(crate) async fn execute(self, conn: &mut Connection) -> Result<i64, Fault> {
        Ok(i64::try_from(conn.count(self).await?).unwrap_or(i64::MAX))
    }
}
