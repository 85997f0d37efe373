//! Checks that a server can be used, before anything else is done with it.

use std::{collections::BTreeSet, time::Duration};

use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use super::server::PgServer;
use crate::error::DatabaseError;

/// How long a pooler may take to provide connections.
const POOLER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the connections of a pooler are compared. Other clients take and return connections meanwhile.
const POOLER_ROUNDS: usize = 3;

/// The tables that requests read and write.
const TABLES: &[&str] = &[
    "code_attempts",
    "comments",
    "deleted_posts",
    "feed_buckets",
    "feed_changes",
    "feed_total",
    "follows",
    "likes",
    "mail_outbox",
    "media_deletions",
    "notifications",
    "password_resets",
    "posts",
    "registrations",
    "sessions",
    "user_counters",
    "username_holds",
    "users",
];
/// Returns a line for each table on which the user lacks privileges. The parameter is an array of tables.
const MISSING_PRIVILEGES: &str = "SELECT string_agg(privilege, ', ' ORDER BY n) || ' on ' || name
    FROM unnest($1::text[]) AS t (name),
      unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS p (privilege, n)
    WHERE NOT has_table_privilege(name, privilege) GROUP BY name ORDER BY name";

/// Checks the encoding, the schema and whether a pooler is in between.
///
/// # Errors
/// [`DatabaseError::Encoding`], [`DatabaseError::TransactionPooling`], or a sentence about what is missing.
pub(super) async fn check_server(server: &PgServer) -> Result<(), DatabaseError> {
    let client = server.client().await?;
    let encoding = text(&client, "SHOW server_encoding").await?.unwrap_or_default();
    if encoding != "UTF8" {
        return Err(DatabaseError::Encoding(encoding));
    }
    if text(&client, "SELECT current_schema()").await?.is_none() {
        return Err(DatabaseError::other(
            "the user may use no schema of the search_path: grant USAGE on the schema",
        ));
    }
    match tokio::time::timeout(POOLER_TIMEOUT, pools_transactions(server, &client)).await {
        Ok(Ok(false)) => Ok(()),
        Ok(Ok(true)) => Err(DatabaseError::TransactionPooling),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(DatabaseError::other("the connection pooler provides no connection in time")),
    }
}

/// Returns whether a pooler gives each transaction another connection. Otherwise two clients never share a server process,
/// and each keeps its own.
async fn pools_transactions(server: &PgServer, idle: &Client) -> Result<bool, DatabaseError> {
    let busy = server.client().await?;
    let (mut processes, mut busy_processes) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..POOLER_ROUNDS {
        processes.insert(process(idle).await?);
        match busy.batch_execute("BEGIN").await {
            // A pooler that shares connections between statements refuses transactions.
            Err(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => return Ok(true),
            begun => begun?,
        }
        let busy_process = process(&busy).await?;
        if processes.contains(&busy_process) {
            return Ok(true);
        }
        busy_processes.insert(busy_process);
        processes.insert(process(idle).await?);
        busy.batch_execute("COMMIT").await?;
    }
    Ok(processes.len() > 1 || busy_processes.len() > 1 || !processes.is_disjoint(&busy_processes))
}

/// Returns what distinguishes the server process that executes the connection's statements from all others.
async fn process(client: &Client) -> Result<String, DatabaseError> {
    let query =
        "SELECT concat(pid, ' of ', backend_start) FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    Ok(text(client, query).await?.unwrap_or_default())
}

/// Returns the first column of the first row. The statement is not prepared.
async fn text(client: &Client, query: &str) -> Result<Option<String>, DatabaseError> {
    let messages = client.simple_query(query).await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

/// Checks that the user may read and write the tables, which must exist.
///
/// # Errors
/// [`DatabaseError::Privileges`].
pub(super) async fn check_privileges(server: &PgServer) -> Result<(), DatabaseError> {
    let client = server.client().await?;
    let rows = client.query(MISSING_PRIVILEGES, &[&TABLES]).await?;
    let missing: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let user = text(&client, "SELECT current_user").await?.unwrap_or_default();
    Err(DatabaseError::Privileges { user, missing: missing.join("; ") })
}

#[cfg(test)]
mod tests {
    use test_support::TestDatabase;

    use super::*;
    use crate::{admin::migrate, config::DatabaseUrl};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn privileges_of_every_table_are_checked() {
        let db = TestDatabase::postgres().await;
        migrate(&DatabaseUrl::parse(db.url()).unwrap(), false).await.unwrap();
        let tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()
            AND tablename <> '__diesel_schema_migrations' ORDER BY 1";
        assert_eq!(db.texts(tables).await, TABLES);
    }
}
