//! The names of the users whom lists mention.
//!
//! Lists read ids only and get the names here, from memory, so that no row has to be joined with `users`. Any change of
//! a card sets `users.card_changed_at`, by a trigger; every process looks for such changes every
//! [few seconds](domain::maintenance::MaintenanceRepository::forget_changed_users).

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{ExpressionMethods as _, QueryDsl as _};
use domain::users::UserId;

use crate::{
    connection::Connection,
    db::Repositories,
    error::DbError,
    schema::{Timestamp, users},
    sql::bind::padded,
};

/// How much the clocks of server and database may differ.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// Returns the name of a user within a transaction; `None` if there is no such user.
pub(crate) async fn username_of(conn: &mut Connection<'_>, user: UserId) -> Result<Option<String>, DbError> {
    conn.first(users::table.find(user.0).select(users::username)).await
}

impl Repositories {
    /// Forgets the users who were changed since the last successful call.
    pub(crate) async fn forget_changed_cards(&self, at: DateTime<Utc>) -> Result<(), DbError> {
        let cards = &self.cards.0;
        let checked_at = || cards.checked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let since = checked_at().unwrap_or(at).min(at) - CLOCK_TOLERANCE;
        let changed = users::table.filter(users::card_changed_at.gt(Timestamp(since))).select(users::id);
        for user in self.db.load::<i64, _>(changed).await? {
            cards.names.remove(&user);
        }
        *checked_at() = Some(at);
        Ok(())
    }

    /// Returns the views of rows, each of which mentions a user by id. Leaves out rows whose user was deleted since they
    /// were read.
    pub(crate) async fn with_usernames<Row, View>(
        &self,
        rows: Vec<Row>,
        user: impl Fn(&Row) -> i64,
        view: impl Fn(Row, String) -> View,
    ) -> Result<Vec<View>, DbError> {
        let cached: Vec<_> = rows.iter().map(|row| self.cards.0.names.get(&user(row))).collect();
        let missing = rows.iter().zip(&cached).filter(|(_, name)| name.is_none()).map(|(row, _)| user(row));
        let loaded = self.load_usernames(missing.collect()).await?;
        let views = rows.into_iter().zip(cached).filter_map(|(row, name)| {
            let name = name.or_else(|| loaded.get(&user(&row)).cloned())?;
            Some(view(row, name.as_ref().to_owned()))
        });
        Ok(views.collect())
    }

    async fn load_usernames(&self, mut ids: Vec<i64>) -> Result<HashMap<i64, Arc<str>>, DbError> {
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = padded(ids);
        let query = users::table.filter(users::id.eq_any(ids)).select((users::id, users::username));
        let rows: Vec<(i64, String)> = self.db.load(query).await?;
        let names: HashMap<_, Arc<str>> = rows.into_iter().map(|(id, name)| (id, name.into())).collect();
        for (id, name) in &names {
            self.cards.0.names.insert(*id, name.clone());
        }
        Ok(names)
    }
}
