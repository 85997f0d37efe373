//! Opens connections to PostgreSQL.

use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::AsyncPgConnection;
use tokio::net::UnixStream;
use tokio_postgres::{Client, Connection, Socket, config::Host, error::SqlState};

use super::{
    server::PgServer,
    stream::{Connector, ServerStream},
};
use crate::error::DatabaseError;

/// A new connection, which nothing drives yet.
enum Opened {
    Tcp(Client, Connection<Socket, ServerStream<Socket>>),
    Unix(Client, Connection<UnixStream, ServerStream<UnixStream>>),
}

impl PgServer {
    /// Opens a connection for the commands of operators.
    pub(crate) async fn connect(&self) -> Result<AsyncPgConnection, DatabaseError> {
        // The futures are large.
        let opened = Box::pin(self.open()).await?;
        Box::pin(into_diesel(opened)).await.map_err(DatabaseError::other)
    }

    /// Opens a connection for a pool, on which a statement takes no longer than `timeout`.
    pub(crate) async fn connect_for_requests(
        &self,
        timeout: Duration,
    ) -> Result<AsyncPgConnection, ConnectionError> {
        let failed = |error: &dyn std::fmt::Display| ConnectionError::BadConnection(error.to_string());
        let opened = Box::pin(self.open()).await.map_err(|error| failed(&error))?;
        let mut connection = Box::pin(into_diesel(opened)).await?;
        let settings = request_settings(timeout);
        let set = diesel_async::SimpleAsyncConnection::batch_execute(&mut connection, &settings);
        set.await.map_err(|error| failed(&error))?;
        Ok(connection)
    }

    /// Opens a connection without Diesel, whose statements need not be prepared.
    pub(super) async fn client(&self) -> Result<Client, DatabaseError> {
        match Box::pin(self.open()).await? {
            Opened::Tcp(client, connection) => {
                tokio::spawn(connection);
                Ok(client)
            }
            Opened::Unix(client, connection) => {
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }

    async fn open(&self) -> Result<Opened, DatabaseError> {
        if let [Host::Unix(folder)] = self.config.get_hosts() {
            let port = self.config.get_ports().first().copied().unwrap_or(5432);
            let path = folder.join(format!(".s.PGSQL.{port}"));
            let failed = |error| DatabaseError::Other(format!("{}: {error}", path.display()));
            let socket = UnixStream::connect(&path).await.map_err(failed)?;
            let (client, connection) = self.config.connect_raw(socket, self.connector.handshake("")).await?;
            return Ok(Opened::Unix(client, connection));
        }
        let opened = match (self.open_tcp(&self.connector).await, &self.fallback) {
            (Err(error), Some(fallback))
                if error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) =>
            {
                self.open_tcp(fallback).await
            }
            (opened, _) => opened,
        };
        Ok(opened?)
    }

    async fn open_tcp(&self, connector: &Connector) -> Result<Opened, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(connector.clone()).await?;
        Ok(Opened::Tcp(client, connection))
    }
}

async fn into_diesel(opened: Opened) -> Result<AsyncPgConnection, ConnectionError> {
    match opened {
        Opened::Tcp(client, connection) => {
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
        Opened::Unix(client, connection) => {
            tokio::spawn(connection);
            AsyncPgConnection::try_from(client).await
        }
    }
}

/// Returns the statements that prepare a connection for requests.
///
/// They are executed after the connection has begun: poolers refuse or ignore settings at its beginning.
fn request_settings(timeout: Duration) -> String {
    // Without a timeout a query would continue after its caller has given up. The planner overestimates queries whose
    // limits it cannot know: without the next three settings it would start processes for them, compile them, and plan
    // small batches anew for each set of values. Each statement locks what it must; a stricter isolation would only make
    // concurrent writes fail.
    format!(
        "SET statement_timeout = {}; SET max_parallel_workers_per_gather = 0; SET jit = off; \
         SET plan_cache_mode = force_generic_plan; SET default_transaction_isolation = 'read committed'",
        timeout.as_millis()
    )
}
