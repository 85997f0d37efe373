//! Usernames that are reserved while a registration waits for its code.

use chrono::{DateTime, Utc};

use crate::{connection::Connection, error::DbError, sql::statement::statements};

statements! {
    Both: RESERVE(String, String, DateTime<Utc>, String, DateTime<Utc>) =
        "INSERT INTO username_holds (username, email, expires_at)
         SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM users WHERE lower(username) = ?)
         ON CONFLICT (username) DO UPDATE SET email = excluded.email, expires_at = excluded.expires_at
         WHERE username_holds.email = excluded.email OR username_holds.expires_at <= ?";
}

/// Reserves a username for an email address, unless a user has the name or it is reserved for another address. Returns
/// whether it is reserved.
pub(crate) async fn reserve_username(
    tx: &mut Connection<'_>,
    username: &str,
    email: &str,
    at: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<bool, DbError> {
    let key = username.to_ascii_lowercase();
    Ok(RESERVE.with((key.clone(), email.to_owned(), until, key, at)).execute(tx).await? == 1)
}
