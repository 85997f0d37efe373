//! SQL text with typed binds. Diesel caches the prepared statement by its text.

use std::{marker::PhantomData, sync::OnceLock};

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Untyped},
    sqlite::Sqlite,
};

use super::{
    bind::{ArrayBind, Bind, BindValues},
    row::{Decoded, FromRow},
};
use crate::{connection::Connection, error::DbError, schema::UtcTimestamp};

/// The databases that understand a statement. What SQLite alone needs, the query builder can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Databases {
    Both,
    Postgres,
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
        let parts = self.parts.get_or_init(|| self.text.split('?').collect());
        Statement { parts, binds: values.into_binds() }
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
                None => panic!("more question marks than values: {}", self.text),
            }
            text.push_str(part);
        }
        assert_eq!(declared.next(), None, "more values than question marks: {}", self.text);
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

macro_rules! query_fragment {
    ($backend:ty, $push_array:expr) => {
        impl QueryFragment<$backend> for Statement {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                let Some((first, parts)) = self.parts.split_first() else { return Ok(()) };
                out.push_sql(first);
                for (bind, part) in self.binds.iter().zip(parts) {
                    match bind {
                        Bind::BigInt(value) => out.push_bind_param::<BigInt, _>(value)?,
                        Bind::Integer(value) => out.push_bind_param::<Integer, _>(value)?,
                        Bind::Text(value) => out.push_bind_param::<Text, _>(value)?,
                        Bind::Timestamp(value) => out.push_bind_param::<UtcTimestamp, _>(value)?,
                        Bind::Array(items) => $push_array(items, &mut out)?,
                        Bind::Literal(text) => out.push_sql(text),
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
            Self::BigInts(values) => out.push_bind_param::<Array<BigInt>, _>(values),
            Self::Texts(values) => out.push_bind_param::<Array<Text>, _>(values),
            Self::OptionalTexts(values) => out.push_bind_param::<Array<Nullable<Text>>, _>(values),
            Self::Bools(values) => out.push_bind_param::<Array<Bool>, _>(values),
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
}
