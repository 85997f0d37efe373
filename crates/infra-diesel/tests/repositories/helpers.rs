//! Migrated databases and stores, and users in them.

use std::{sync::Arc, time::Duration};

use application::testing::InMemory;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use domain::{
    accounts::AccountRepository, comments::CommentRepository, follows::FollowRepository,
    health::HealthRepository, maintenance::MaintenanceRepository, media::MediaRepository,
    notifications::NotificationRepository, outbox::OutboxRepository, posts::PostRepository,
    sessions::SessionRepository,
};
use domain::{
    accounts::{
        Activation, AttemptLimits, ClientHash, CodeAttempt, CodeHash, NewRegistration, RegistrationHandle,
        RegistrationOutcome, SentCode,
    },
    outbox::MailIntent,
    page::{PageNumber, PageRequest, PageSize, PageStart},
    passwords::PasswordHash,
    posts::{NewPost, PostContent, PostView},
    sessions::{NewSession, RefreshId, SessionId},
    users::{Email, UserId, Username},
};
use infra_diesel::{Database, DatabaseConfig, DatabaseUrl};
use test_support::TestDatabase;

pub(crate) async fn open(db: &TestDatabase) -> Database {
    let url = DatabaseUrl::parse(db.url()).unwrap();
    infra_diesel::migrate(&url, false).await.unwrap();
    let config =
        DatabaseConfig { url, replica: None, connections: 8, workers: 0, timeout: Duration::from_secs(20) };
    infra_diesel::connect(&config).await.unwrap()
}

/// Implementations of the repository ports: PostgreSQL, SQLite or in memory. Each test has its own.
#[derive(Clone)]
pub(crate) struct Store {
    _database: Option<Arc<TestDatabase>>,
    pub accounts: Arc<dyn AccountRepository>,
    pub sessions: Arc<dyn SessionRepository>,
    pub outbox: Arc<dyn OutboxRepository>,
    pub posts: Arc<dyn PostRepository>,
    pub comments: Arc<dyn CommentRepository>,
    pub follows: Arc<dyn FollowRepository>,
    pub notifications: Arc<dyn NotificationRepository>,
    pub media: Arc<dyn MediaRepository>,
    pub health: Arc<dyn HealthRepository>,
    pub maintenance: Arc<dyn MaintenanceRepository>,
}

impl Store {
    pub(crate) async fn postgres() -> Self {
        Self::on(TestDatabase::postgres().await).await
    }

    pub(crate) async fn sqlite() -> Self {
        Self::on(TestDatabase::sqlite().await).await
    }

    #[allow(clippy::unused_async)] // as the others, for `database_test`
    pub(crate) async fn memory() -> Self {
        let memory = Arc::new(InMemory::default());
        Self {
            _database: None,
            accounts: memory.clone(),
            sessions: memory.clone(),
            outbox: memory.clone(),
            posts: memory.clone(),
            comments: memory.clone(),
            follows: memory.clone(),
            notifications: memory.clone(),
            media: memory.clone(),
            health: memory.clone(),
            maintenance: memory,
        }
    }

    async fn on(database: TestDatabase) -> Self {
        let db = open(&database).await;
        Self {
            _database: Some(Arc::new(database)),
            accounts: db.accounts,
            sessions: db.sessions,
            outbox: db.outbox,
            posts: db.posts,
            comments: db.comments,
            follows: db.follows,
            notifications: db.notifications,
            media: db.media,
            health: db.health,
            maintenance: db.maintenance,
        }
    }
}

/// The ports by which helpers prepare data.
pub(crate) trait Ports {
    fn accounts(&self) -> &dyn AccountRepository;
    fn outbox(&self) -> &dyn OutboxRepository;
    fn posts(&self) -> &dyn PostRepository;
}

macro_rules! ports {
    ($store:ty) => {
        impl Ports for $store {
            fn accounts(&self) -> &dyn AccountRepository {
                &*self.accounts
            }
            fn outbox(&self) -> &dyn OutboxRepository {
                &*self.outbox
            }
            fn posts(&self) -> &dyn PostRepository {
                &*self.posts
            }
        }
    };
}

ports!(Store);
ports!(Database);

pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

pub(crate) fn email(name: &str) -> Email {
    Email::parse(&format!("{name}@example.com")).unwrap()
}

/// The handle of every registration with this name.
pub(crate) fn handle(name: &str) -> RegistrationHandle {
    RegistrationHandle::parse(&format!("{name:-<22}")).unwrap()
}

pub(crate) const ATTEMPTS: AttemptLimits = AttemptLimits { per_client: 5, total: 25 };

/// An attempt to enter the code of any registration of this name's address.
pub(crate) fn attempt(name: &str, client: u8) -> CodeAttempt {
    CodeAttempt { email: email(name), registration: None, client: ClientHash(vec![client; 32]) }
}

pub(crate) fn registration(name: &str, email: Email) -> NewRegistration {
    let at = now();
    NewRegistration {
        username: Username::parse(name).unwrap(),
        email,
        password: PasswordHash(format!("hash of {name}")),
        handle: handle(name),
        at,
        mail_at: at,
        name_reserved_until: at + TimeDelta::minutes(10),
        notify_owner: false,
    }
}

pub(crate) fn session(id: i64) -> NewSession {
    let at = now();
    NewSession {
        id: SessionId(id),
        refresh: RefreshId(format!("first of {id}")),
        at,
        ends_at: at + TimeDelta::days(30),
        client: None,
    }
}

/// Issues the pending codes. Each hash is the id of the registration, so that tests know it.
pub(crate) async fn send_codes(db: &impl Ports, valid: TimeDelta) -> Vec<SentCode> {
    let mut sent = Vec::new();
    for mail in db.outbox().claim(now(), now() + TimeDelta::minutes(1), 50).await.unwrap() {
        if let MailIntent::VerifyEmail(registration) = mail.intent {
            let hash = CodeHash(registration.0.to_le_bytes().to_vec());
            let expires_at = now() + valid;
            if db.outbox().issue_code(registration, hash.clone(), expires_at).await.unwrap().is_some() {
                sent.push(SentCode { registration, hash, expires_at });
            }
        }
        db.outbox().ack(mail.id).await.unwrap();
    }
    sent
}

/// Creates a verified user whose first session has the id `session_id`.
pub(crate) async fn user(db: &impl Ports, name: &str, session_id: i64) -> UserId {
    let registered = db.accounts().register(registration(name, email(name))).await.unwrap();
    assert_eq!(registered, RegistrationOutcome::Pending);
    let code = send_codes(db, TimeDelta::minutes(10)).await.pop().unwrap();
    match db.accounts().activate(code, session(session_id), None).await.unwrap() {
        Activation::LoggedIn(user) => user,
        other => panic!("{name} is {other:?}"),
    }
}

pub(crate) async fn post(db: &impl Ports, author: UserId, text: &str, is_private: bool) -> PostView {
    let content = PostContent::parse(text).unwrap();
    db.posts().insert(NewPost { author, content, media: None, is_private, at: now() }).await.unwrap()
}

pub(crate) fn page(number: i64, size: i64) -> PageRequest {
    PageRequest {
        start: PageStart::Page(PageNumber::parse(number).unwrap()),
        size: PageSize::parse(size).unwrap(),
    }
}

pub(crate) fn after(id: Option<i64>, size: i64) -> PageRequest {
    PageRequest { start: PageStart::After(id.unwrap()), size: PageSize::parse(size).unwrap() }
}
