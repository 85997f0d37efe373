//! The repositories of one database.

use std::sync::Arc;

use domain::{
    accounts::AccountRepository, comments::CommentRepository, follows::FollowRepository,
    health::HealthRepository, maintenance::MaintenanceRepository, media::MediaRepository,
    notifications::NotificationRepository, outbox::OutboxRepository, posts::PostRepository,
    sessions::SessionRepository,
};

use crate::{
    config::{DatabaseConfig, DatabaseUrl, PoolState},
    db::{Db, Repositories},
    error::DatabaseError,
    postgres::database::PostgresDb,
    sqlite::database::SqliteDb,
    user_cards::UserCards,
};

/// Every repository of one database.
#[derive(Clone)]
pub struct Database {
    pub(crate) db: Db,
    cards: UserCards,
    /// Returns the state of each connection pool.
    pub pools: Arc<dyn Fn() -> Vec<PoolState> + Send + Sync>,
    /// Registrations and accounts.
    pub accounts: Arc<dyn AccountRepository>,
    /// Sessions.
    pub sessions: Arc<dyn SessionRepository>,
    /// Mails to be sent.
    pub outbox: Arc<dyn OutboxRepository>,
    /// Posts and likes.
    pub posts: Arc<dyn PostRepository>,
    /// Comments.
    pub comments: Arc<dyn CommentRepository>,
    /// Follows.
    pub follows: Arc<dyn FollowRepository>,
    /// Notifications.
    pub notifications: Arc<dyn NotificationRepository>,
    /// Files of posts.
    pub media: Arc<dyn MediaRepository>,
    /// Readiness and the backlog.
    pub health: Arc<dyn HealthRepository>,
    /// Background maintenance.
    pub maintenance: Arc<dyn MaintenanceRepository>,
}

impl Database {
    fn new(db: Db, cards: UserCards) -> Self {
        let repositories = Arc::new(Repositories { db: db.clone(), cards: cards.clone() });
        let pools = db.clone();
        Self {
            pools: Arc::new(move || pools.pools()),
            accounts: repositories.clone(),
            sessions: repositories.clone(),
            outbox: repositories.clone(),
            posts: repositories.clone(),
            comments: repositories.clone(),
            follows: repositories.clone(),
            notifications: repositories.clone(),
            media: repositories.clone(),
            health: repositories.clone(),
            maintenance: repositories,
            db,
            cards,
        }
    }

    /// Returns repositories for one HTTP worker, whose runtime has one thread: call it once in each, and use the returned
    /// value on that worker only. `None` if the workers must use this one, on the main runtime, since PostgreSQL's
    /// connections are too few to share.
    ///
    /// On PostgreSQL a worker has its own share of the connections, which are opened and driven on its runtime, so that no
    /// query wakes another thread. On SQLite all workers share the readers, since queries run on the calling thread.
    pub fn for_worker(&self) -> Option<Self> {
        Some(Self::new(self.db.for_worker()?, self.cards.clone()))
    }
}

/// Makes the connection pools. PostgreSQL is contacted by the first query. An SQLite file is created if it does not exist,
/// and stays locked against other processes as long as the returned value or a clone of it lives.
///
/// # Errors
///
/// [`DatabaseError::InUse`] if another process uses the SQLite file.
pub async fn connect(config: &DatabaseConfig) -> Result<Database, DatabaseError> {
    let db = match &config.url {
        DatabaseUrl::Postgres(url) => Db::Postgres(Arc::new(PostgresDb::new(url, config)?)),
        DatabaseUrl::Sqlite(path) => Db::Sqlite(Arc::new(SqliteDb::open(path, config).await?)),
    };
    Ok(Database::new(db, UserCards::new()))
}
