//! The composition root: read it from top to bottom and you know what is built of what.

mod run;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use application::{
    Services,
    accounts::AccountService,
    comments::CommentService,
    follows::FollowService,
    keyed_hash::Secrets,
    live::Live,
    media::{Inspector, Limits},
    notifications::NotificationService,
    outbox::Outbox,
    passwords::Passwords,
    posts::PostService,
    random::KeyedHash,
    rate_limit::{LocalLimiter, RateLimits},
    sessions::Sessions,
    tokens::{AccessToken, Tokens},
};
use chrono::{DateTime, Utc};
use domain::{
    clock::{Clock, SystemClock},
    mailer::Mailer,
    maintenance::MaintenanceRepository,
    media::MediaStore,
    notifications::{NotificationId, NotificationView},
    rate_limit::RateLimiter,
    sessions::SessionId,
    users::UserId,
};
use infra_cloudinary::Cloudinary;
use infra_diesel::{Database, DatabaseConfig, DatabaseUrl, PoolState};
use infra_disk::DiskStore;
use infra_redis::RedisLimiter;
use infra_smtp::{DevInbox, Login, SmtpMailer, Tls};
pub use infra_socketio::listen;
use infra_socketio::{Patience, SocketCaller, SocketConfig, SocketIoNotifier, SocketUseCases, UnreadState};
use ipnet::IpNet;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::{
    client::address_of,
    config::{Config, Environment, MailConfig, SmtpConfig, SmtpTls},
    data_dir::{fresh_folder, secret_key},
    limits::Ended,
    metrics::Metrics,
    pages::Cursors,
    places::Places,
    upload::Intake,
};

/// How many uploaded files there are at once, until they are kept; the others wait.
const UPLOADS: usize = 32;
/// How many of them may be one user's.
const UPLOADS_OF_ONE: usize = 4;
/// How long nothing of a body may arrive, and how long it may take in all.
const IDLE: Duration = Duration::from_secs(20);
const LONGEST: Duration = Duration::from_mins(5);
/// How many password hashes wait for a slot at most: what two cores do in about two seconds.
const WAITING_HASHES: usize = 200;
/// How long an upload to Cloudinary may take.
const CLOUDINARY_TIMEOUT: Duration = Duration::from_mins(2);
/// How patient the server is with its clients.
pub const PATIENCE: Patience =
    Patience { request: Duration::from_secs(10), stalled: Duration::from_secs(30) };
/// How long somebody who looks after the server waits for a service.
const LOOK: Duration = Duration::from_secs(5);

/// Everything that handlers use.
pub struct App {
    /// The use cases.
    pub services: Arc<Services>,
    /// Whether the database answers.
    pub maintenance: Arc<dyn MaintenanceRepository>,
    /// Makes and reads cursors.
    pub cursors: Cursors,
    /// Signs addresses of private media.
    pub secrets: Secrets,
    /// How clients reach this server; `None`: as each request did.
    pub public_url: Option<Arc<str>>,
    /// How bodies are received.
    pub intake: Intake,
    /// The mails, if they stay here.
    pub inbox: Option<DevInbox>,
    /// The connected devices.
    pub sockets: SocketIoNotifier,
    /// The media files, if they lie here.
    pub disk: Option<DiskStore>,
    /// Who may do what how often.
    pub limits: RateLimits,
    /// Who is believed when they say for whom they forward a request.
    pub proxies: Vec<IpNet>,
    /// Sessions whose tokens count for nobody.
    pub(crate) ended: Ended,
    /// How the pools of the database are.
    pub pools: Arc<dyn Fn() -> Vec<PoolState> + Send + Sync>,
    /// What is counted, if anybody asks for it.
    pub metrics: Option<Metrics>,
    /// How long a request waits for a use case.
    patience: Duration,
    /// The runtime of all that is not asked for by HTTP.
    main: Handle,
    /// Whether use cases that are asked for on an HTTP worker run there, or on the main runtime.
    is_local: bool,
    begun: TaskTracker,
    mails: Outbox,
}

/// What the sockets ask of the use cases, which are made after them.
#[derive(Default)]
struct SocketGate(OnceLock<Arc<Services>>);

impl SocketGate {
    fn services(&self) -> domain::Result<&Services> {
        self.0.get().map(Arc::as_ref).ok_or_else(|| domain::Error::unavailable("the server is starting"))
    }
}

#[async_trait::async_trait]
impl SocketUseCases for SocketGate {
    async fn authenticate(&self, token: String) -> domain::Result<SocketCaller> {
        let caller = self.services()?.sessions.authenticate(AccessToken(&token)).await?;
        Ok(SocketCaller { user: caller.user, session: caller.session, expires_at: caller.expires_at })
    }

    async fn is_live(&self, session: SessionId) -> domain::Result<bool> {
        self.services()?.sessions.is_live(session).await
    }

    fn revoked(&self, sessions: &[SessionId]) {
        if let Ok(services) = self.services() {
            services.sessions.drop_cached(sessions);
        }
    }

    async fn unread_state(&self, user: UserId) -> domain::Result<UnreadState> {
        let (latest, unread_count) = self.services()?.notifications.unread_state(user).await?;
        Ok(UnreadState { unread_count, latest: latest.unwrap_or(NotificationId(0)) })
    }

    async fn missed_since(
        &self,
        user: UserId,
        since: NotificationId,
        limit: usize,
    ) -> domain::Result<Vec<NotificationView>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.services()?.notifications.since(user, since, limit).await
    }
}

impl App {
    /// Connects everything. The database is migrated already.
    pub async fn build(config: &Config) -> Result<Self, String> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let db: Database = infra_diesel::connect(&database_config(config)?)
            .await
            .map_err(|error| format!("DATABASE_URL: {error}"))?;

        let key = secret_key(config)?;
        // Tokens are signed by the key itself, as other services that verify them expect; all else by a derived one.
        let tokens = Tokens::new(key.as_bytes(), config.access_token_lifetime, config.refresh_token_lifetime);
        let secrets = Secrets::new(&KeyedHash::new(key.as_bytes()).of("derived key", &[]));

        let (mailer, inbox) = mailer(config)?;
        let (store, disk) = media_store(config).await?;
        let upload_dir = config.data_dir.join("uploads");
        fresh_folder(&upload_dir).map_err(|error| format!("{}: {error}", upload_dir.display()))?;

        let limits = Limits {
            image_bytes: config.max_image_bytes,
            video_bytes: config.max_video_bytes,
            ..Limits::default()
        };
        let cores = cores();
        let passwords =
            Passwords::new(config.hash_cost, cores, WAITING_HASHES).map_err(|error| error.to_string())?;
        let gate = Arc::new(SocketGate::default());
        let sockets = sockets(config, &secrets, gate.clone())?;
        let sessions =
            Sessions::new(tokens.clone(), db.sessions.clone(), clock.clone(), Arc::new(sockets.clone()));
        let mails = Outbox::new(db.outbox, mailer, clock.clone(), secrets.clone(), &config.frontend_url);
        let rate_limits =
            RateLimits::new(limiter(config, &secrets)?, secrets.clone(), config.rate_limits.clone());
        let live = Live::new(Arc::new(sockets.clone()));

        let services = Arc::new(Services {
            accounts: AccountService {
                accounts: db.accounts,
                session_repository: db.sessions,
                sessions: sessions.clone(),
                passwords,
                tokens,
                secrets: secrets.clone(),
                mails: mails.clone(),
                limits: rate_limits.clone(),
                clock: clock.clone(),
                hide_registered_emails: config.hide_registered_emails,
                refresh_grace: config.refresh_grace,
            },
            sessions,
            posts: PostService {
                posts: db.posts,
                media: db.media,
                store,
                live: live.clone(),
                clock: clock.clone(),
            },
            comments: CommentService { comments: db.comments, live: live.clone(), clock: clock.clone() },
            follows: FollowService { follows: db.follows, live: live.clone(), clock },
            notifications: NotificationService { notifications: db.notifications, live },
        });
        gate.0.set(services.clone()).map_err(|_| "the use cases are made once")?;
        Ok(Self {
            services,
            sockets,
            maintenance: db.maintenance,
            cursors: Cursors::new(secrets.clone()),
            secrets,
            public_url: config.public_url.as_deref().map(Arc::from),
            intake: Intake {
                folder: upload_dir,
                places: Places::new(UPLOADS, UPLOADS_OF_ONE),
                inspector: Inspector::new(limits, cores),
                idle: IDLE,
                longest: LONGEST,
            },
            inbox,
            disk,
            limits: rate_limits,
            proxies: config.trusted_proxies.clone(),
            ended: Ended::default(),
            pools: db.pools,
            metrics: config.metrics_address.map(|_| Metrics::default()),
            // So that the answer is there when the time for the database is over.
            patience: config.database_timeout * 9 / 10,
            main: Handle::current(),
            is_local: db.is_local,
            begun: TaskTracker::new(),
            mails,
        })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The database that the settings name.
pub fn database_config(config: &Config) -> Result<DatabaseConfig, String> {
    let url = DatabaseUrl::parse(&config.database_url)
        .ok_or("DATABASE_URL must begin with postgres:// or sqlite://")?;
    // SQLite's readers work in this process: more than twice as many as there are cores only take turns, and memory.
    let most = if matches!(url, DatabaseUrl::Sqlite(_)) { 2 * cores() } else { usize::MAX };
    Ok(DatabaseConfig {
        url,
        replica: config.database_replica_url.clone(),
        connections: config.database_connections.min(most),
        workers: config.workers,
        timeout: config.database_timeout,
    })
}

fn mailer(config: &Config) -> Result<(Arc<dyn Mailer>, Option<DevInbox>), String> {
    if let MailConfig::Smtp(smtp) = &config.mail {
        return Ok((Arc::new(smtp_mailer(smtp.clone())?), None));
    }
    debug_assert_eq!(config.environment, Environment::Development);
    let inbox = DevInbox::new();
    Ok((Arc::new(inbox.clone()), Some(inbox)))
}

fn smtp_mailer(smtp: SmtpConfig) -> Result<SmtpMailer, String> {
    let mailer = SmtpMailer::new(infra_smtp::SmtpConfig {
        host: smtp.host,
        port: smtp.port,
        tls: match smtp.tls {
            SmtpTls::Implicit => Tls::Implicit,
            SmtpTls::StartTls => Tls::StartTls,
            SmtpTls::None => Tls::Plain,
        },
        login: smtp.credentials.map(|(user, password)| Login { user, password }),
        sender_email: smtp.sender,
        sender_name: smtp.sender_name,
        // A batch of mails fits into the time for which the worker has it to itself.
        timeout: Duration::from_secs(10),
        connections: 8,
    });
    mailer.map_err(|error| format!("SMTP_HOST, SENDER_EMAIL: {error}"))
}

/// Processes of one installation have one key; others may use the same Redis.
fn installation(secrets: &Secrets) -> String {
    let tag = u64::from_le_bytes(secrets.tag("redis", &[])[..8].try_into().unwrap_or_default());
    format!("{tag:016x}")
}

/// Counts for this process, or for all of them.
fn limiter(config: &Config, secrets: &Secrets) -> Result<Arc<dyn RateLimiter>, String> {
    let alone = Arc::new(LocalLimiter::default());
    let Some(url) = &config.redis_url else { return Ok(alone) };
    let prefix = format!("social-limit-{}:", installation(secrets));
    let shared = RedisLimiter::new(url, prefix, alone).map_err(|error| format!("REDIS_URL: {error}"))?;
    Ok(Arc::new(shared))
}

fn sockets(config: &Config, secrets: &Secrets, gate: Arc<SocketGate>) -> Result<SocketIoNotifier, String> {
    let settings = SocketConfig {
        origins: config.cors_origins.clone(),
        per_address: config.sockets_per_address,
        address: address_of,
        redis_url: config.redis_url.clone(),
        redis_channel: format!("social-live-{}", installation(secrets)),
        ..SocketConfig::default()
    };
    SocketIoNotifier::new(settings, gate, Handle::current()).map_err(|error| format!("REDIS_URL: {error}"))
}

/// The description of what travels on sockets (AsyncAPI 3).
pub fn asyncapi() -> serde_json::Value {
    infra_socketio::asyncapi(env!("CARGO_PKG_VERSION"))
}

async fn media_store(config: &Config) -> Result<(Arc<dyn MediaStore>, Option<DiskStore>), String> {
    if let Some(account) = config.cloudinary.clone() {
        let cloudinary = Cloudinary::new(infra_cloudinary::CloudinaryConfig {
            cloud_name: account.cloud_name,
            api_key: account.api_key,
            api_secret: account.api_secret,
            api_base: account.api_base,
            timeout: CLOUDINARY_TIMEOUT,
        });
        return Ok((Arc::new(cloudinary.map_err(|error| format!("CLOUDINARY_…: {error}"))?), None));
    }
    let root = config.data_dir.join("media");
    let disk = DiskStore::open(&root).await.map_err(|error| format!("{}: {error}", root.display()))?;
    Ok((Arc::new(disk.clone()), Some(disk)))
}

/// How the database is, for who looks after it.
pub(crate) struct DatabaseState {
    /// Migrations that it lacks.
    pub pending: Vec<String>,
    /// Migrations that this program does not know.
    pub unknown: Vec<String>,
    /// Whether the next start applies what it lacks.
    pub migrates_itself: bool,
    /// Its time, unless it has ours.
    pub clock: Option<DateTime<Utc>>,
}

/// Asks the database how it is.
pub(crate) async fn look_at_database(config: &Config) -> Result<DatabaseState, String> {
    let url = database_config(config)?.url;
    let asked = async {
        let state = infra_diesel::schema_state(&url).await?;
        Ok((state, infra_diesel::clock(&url).await?))
    };
    let asked = tokio::time::timeout(LOOK, asked).await.map_err(|_| "no answer in time")?;
    let (schema, clock) = asked.map_err(|error: infra_diesel::DatabaseError| error.to_string())?;
    let migrates_itself = config.auto_migrate || matches!(url, DatabaseUrl::Sqlite(_));
    Ok(DatabaseState { pending: schema.pending(), unknown: schema.unknown, migrates_itself, clock })
}

/// Whether the server at `replica` is a replica of the database.
pub(crate) async fn look_at_replica(config: &Config, replica: &str) -> Result<bool, String> {
    let url = database_config(config)?.url;
    let asked = tokio::time::timeout(LOOK, infra_diesel::is_replica(&url, replica)).await;
    asked.map_err(|_| "no answer in time")?.map_err(|error| error.to_string())
}

/// Logs in to the SMTP server, if one is set, and leaves.
pub(crate) async fn log_in_to_mail(config: &Config) -> Result<(), String> {
    let MailConfig::Smtp(smtp) = config.mail.clone() else { return Ok(()) };
    smtp_mailer(smtp)?.check().await.map_err(|error| error.to_string())
}

/// Where media goes.
pub(crate) async fn open_media(config: &Config) -> Result<Arc<dyn MediaStore>, String> {
    Ok(media_store(config).await?.0)
}

/// Whether Redis answers.
pub(crate) async fn ping_redis(url: &str) -> Result<(), String> {
    infra_redis::ping(url, LOOK).await
}
