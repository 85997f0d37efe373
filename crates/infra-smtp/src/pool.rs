//! A pool of SMTP connections.
//!
//! lettre's own pool cannot replace it. It reuses a connection after a mail was abandoned midway, so that the next mail
//! reads late responses to the abandoned one and can be reported as sent although the server has not accepted it. It
//! bounds idle connections only, returns connections in a background task, and sends QUIT without a time limit.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::mailer::MailError;
use lettre::{
    Message,
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        extension::{ClientId, Extension},
    },
};
use tokio::{sync::Semaphore, time};

use crate::{Login, SmtpConfig, Tls, error::mail_error};

/// Idle time after which a connection is closed. Servers close theirs after minutes.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// Time limit for the response to QUIT.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

struct IdleConnection {
    connection: AsyncSmtpConnection,
    since: Instant,
}

/// Connections to one server, at most as many as there are permits.
pub(crate) struct Pool {
    config: SmtpConfig,
    /// `None` without encryption.
    tls: Option<TlsParameters>,
    permits: Semaphore,
    idle: Mutex<Vec<IdleConnection>>,
}

impl Pool {
    pub(crate) fn new(config: SmtpConfig, tls: Option<TlsParameters>) -> Arc<Self> {
        let permits = Semaphore::new(config.max_connections.max(1));
        Arc::new(Self { config, tls, permits, idle: Mutex::default() })
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let config = &self.config;
        let hello = config.hello_name.clone().map_or_else(ClientId::default, ClientId::Domain);
        let implicit = self.tls.clone().filter(|_| config.tls == Tls::Implicit);
        // The host may have several addresses, and the first may be unreachable.
        let (address, timeout) = ((config.host.as_str(), config.port), config.timeout / 3);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(timeout), &hello, implicit, None).await?;
        if let (Tls::StartTls, Some(tls)) = (config.tls, &self.tls) {
            connection.starttls(tls.clone(), &hello).await?;
        }
        if let Some(Login { user, password }) = &config.login {
            let credentials = Credentials::new(user.clone(), password.clone());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
        }
        Ok(connection)
    }

    /// Sends a mail within the time limit, which does not include the wait for a permit.
    pub(crate) async fn send(self: &Arc<Self>, message: &Message) -> Result<(), MailError> {
        let _permit = self.permits.acquire().await; // the semaphore is never closed
        // A timeout drops the connection, and with it every response that is still to come.
        time::timeout(self.config.timeout, self.deliver(message)).await.map_err(|_| timed_out())?
    }

    /// Connects, logs in and disconnects.
    pub(crate) async fn check(&self) -> Result<(), MailError> {
        let connected = time::timeout(self.config.timeout, self.connect()).await;
        let connection = connected.map_err(|_| timed_out())?.map_err(|error| mail_error(&error))?;
        close(connection).await;
        Ok(())
    }

    async fn deliver(self: &Arc<Self>, message: &Message) -> Result<(), MailError> {
        let mut connection = match self.reuse().await {
            Some(connection) => connection,
            None => self.connect().await.map_err(|error| mail_error(&error))?,
        };
        let needs_utf8 = message.envelope().to().iter().any(|to| !AsRef::<str>::as_ref(to).is_ascii());
        if needs_utf8 && !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            self.park(connection);
            return Err(MailError::Permanent("the server supports ASCII addresses only".into()));
        }
        connection
            .send(message.envelope(), &message.formatted())
            .await
            .map_err(|error| mail_error(&error))?;
        self.park(connection);
        Ok(())
    }

    /// Takes an idle connection that still responds. A new one is opened only if none is idle, so there are never more
    /// connections than permits.
    async fn reuse(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut connection = self.idle().pop()?.connection;
            if connection.test_connected().await {
                return Some(connection);
            }
        }
    }

    fn park(self: &Arc<Self>, connection: AsyncSmtpConnection) {
        self.idle().push(IdleConnection { connection, since: Instant::now() });
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            time::sleep(MAX_IDLE).await;
            if let Some(pool) = pool.upgrade() {
                pool.close_idle().await;
            }
        });
    }

    async fn close_idle(&self) {
        let expired: Vec<_> = self.idle().extract_if(.., |idle| idle.since.elapsed() >= MAX_IDLE).collect();
        for idle in expired {
            close(idle.connection).await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close(mut connection: AsyncSmtpConnection) {
    let _ = time::timeout(QUIT_TIMEOUT, connection.quit()).await;
}

fn timed_out() -> MailError {
    MailError::Transient("the server did not respond in time".into())
}
