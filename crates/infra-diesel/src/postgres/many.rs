//! Arrays of values, as binds.

use chrono::{DateTime, Utc};
use diesel::{
    QueryResult,
    query_builder::AstPass,
    sql_types::{Array, BigInt, Bool, Nullable, Text},
};

use super::{Backend, Moment};

/// Values of the items of an array, which statements take apart by `unnest`.
pub(crate) enum Many {
    Ids(Vec<i64>),
    Texts(Vec<String>),
    OptionalTexts(Vec<Option<String>>),
    Flags(Vec<bool>),
    Moments(Vec<DateTime<Utc>>),
}

impl Many {
    /// Writes it where the statement has its place.
    pub(crate) fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Backend>) -> QueryResult<()> {
        match self {
            Self::Ids(values) => out.push_bind_param::<Array<BigInt>, _>(values),
            Self::Texts(values) => out.push_bind_param::<Array<Text>, _>(values),
            Self::OptionalTexts(values) => out.push_bind_param::<Array<Nullable<Text>>, _>(values),
            Self::Flags(values) => out.push_bind_param::<Array<Bool>, _>(values),
            Self::Moments(values) => out.push_bind_param::<Array<Moment>, _>(values),
        }
    }
}
