//! Connections to the server: few, and kept for a while.
//!
//! The library's own pool limits only the connections that wait, and takes a connection back whose mail was given
//! up midway, so that the next mail would read the answers meant for the last one.

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

use crate::fault::judge;

/// How long a connection waits for the next mail. Servers hang up after minutes.
const IDLE: Duration = Duration::from_secs(30);

const LATE: &str = "the server did not answer in time";

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// [`crate::Tls`] with what it needs.
pub(crate) enum Security {
    Implicit(TlsParameters),
    StartTls(TlsParameters),
    Plain,
}

/// Where a connection leads.
pub(crate) struct Route {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) login: Option<Credentials>,
    pub(crate) timeout: Duration,
}

impl Route {
    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let hello = ClientId::default();
        let server = (self.host.as_str(), self.port);
        let implicit = match &self.security {
            Security::Implicit(tls) => Some(tls.clone()),
            Security::StartTls(_) | Security::Plain => None,
        };
        // A name may have several addresses, and the first may be dead.
        let each = self.timeout / 3;
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(each), &hello, implicit, None).await?;
        if let Security::StartTls(tls) = &self.security {
            connection.starttls(tls.clone(), &hello).await?;
        }
        if let Some(login) = &self.login {
            connection.auth(DEFAULT_MECHANISMS, login).await?;
        }
        Ok(connection)
    }
}

struct Waiting {
    connection: AsyncSmtpConnection,
    since: Instant,
}

type WaitingList = Mutex<Vec<Waiting>>;

/// The connections to one server.
pub(crate) struct Connections {
    route: Route,
    permits: Semaphore,
    waiting: Arc<WaitingList>,
}

impl Connections {
    pub(crate) fn new(route: Route, limit: usize) -> Self {
        Self { route, permits: Semaphore::new(limit.max(1)), waiting: Arc::default() }
    }

    /// Hands a mail to the server.
    pub(crate) async fn send(&self, message: &Message) -> Result<(), MailError> {
        let _permit = self.permits.acquire().await; // never closed
        // Giving up drops the connection, and with it all that might still arrive on it.
        time::timeout(self.route.timeout, self.deliver(message))
            .await
            .unwrap_or_else(|_| Err(MailError::Transient(LATE.into())))
    }

    /// Makes a connection, and leaves.
    pub(crate) async fn check(&self) -> Result<(), MailError> {
        let Ok(connected) = time::timeout(self.route.timeout, self.route.connect()).await else {
            return Err(MailError::Transient(LATE.into()));
        };
        let mut connection = connected.map_err(|error| judge(&error))?;
        let _ = time::timeout(FAREWELL, connection.quit()).await;
        Ok(())
    }

    async fn deliver(&self, message: &Message) -> Result<(), MailError> {
        let mut connection = match self.waiting_one().await {
            Some(connection) => connection,
            None => self.route.connect().await.map_err(|error| judge(&error))?,
        };
        let is_beyond_ascii = message.envelope().to().iter().any(|to| !AsRef::<str>::as_ref(to).is_ascii());
        if is_beyond_ascii && !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            self.keep(connection);
            return Err(MailError::Permanent("the server takes ASCII addresses only".into()));
        }
        connection.send(message.envelope(), &message.formatted()).await.map_err(|error| judge(&error))?;
        self.keep(connection);
        Ok(())
    }

    /// One that waits and is still alive. A new one is made only if none waits, so there are never more than permits.
    async fn waiting_one(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut connection = locked(&self.waiting).pop()?.connection;
            if connection.test_connected().await {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        locked(&self.waiting).push(Waiting { connection, since: Instant::now() });
        let waiting = Arc::downgrade(&self.waiting);
        tokio::spawn(async move {
            time::sleep(IDLE).await;
            if let Some(waiting) = waiting.upgrade() {
                hang_up(&waiting).await;
            }
        });
    }
}

/// Ends the connections that have waited long enough.
async fn hang_up(waiting: &WaitingList) {
    let tired: Vec<_> = locked(waiting).extract_if(.., |one| one.since.elapsed() >= IDLE).collect();
    for mut one in tired {
        let _ = time::timeout(FAREWELL, one.connection.quit()).await;
    }
}

fn locked(waiting: &WaitingList) -> MutexGuard<'_, Vec<Waiting>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
