//! The composition root: read from top to bottom, it shows what is made of what.

use std::{net::IpAddr, sync::Arc, time::Duration};

use application::{
    Services, accounts::AccountService, comments::CommentService, follows::FollowService,
    keyed_hash::KeyedHash, media::MediaInspector, media_cleanup::MediaCleanupService,
    notifications::NotificationService, outbox::OutboxService, passwords::PasswordHasher, posts::PostService,
    rate_limit::RateLimitService, sessions::SessionService, tokens::TokenService,
};
use domain::clock::{Clock, SystemClock};
use infra_diesel::Database;
use infra_socketio::{ConnectionTimeouts, SocketServer};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::{
    adapters::{mailer, media_inspector, media_store, rate_limiter, socket_config, upload_dir},
    config::{Config, cores},
    data_dir::secret_key,
    pagination::Cursors,
    request::{BodyLimits, BodyPace, Budget, UploadSlots},
    routes::operations::Readiness,
    socket_authenticator::SocketAuthenticator,
    state::AppState,
};

/// How many files are processed at once; further ones wait. Files that are being received may fill as much of the disk.
const MAX_UPLOADS: usize = 32;
const MAX_UPLOADS_PER_USER: usize = 4;
/// Slow mobile networks reach this pace.
const BODY_PACE: BodyPace = BodyPace {
    idle_timeout: Duration::from_secs(20),
    timeout: Duration::from_mins(5),
    grace: Duration::from_secs(10),
    min_rate: 4 * 1024,
};
const CONNECTION_TIMEOUTS: ConnectionTimeouts = ConnectionTimeouts {
    request_head: Duration::from_secs(10),
    unacknowledged: Duration::from_secs(30),
    unread: Duration::from_secs(30),
};
/// How many password hashes wait for a core: about two seconds of work for two cores.
const MAX_WAITING_HASHES: usize = 200;

/// Connects everything. The database has been migrated already.
///
/// # Errors
/// A sentence that names the setting that cannot be used.
pub async fn build(config: &Config) -> Result<AppState, String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let db: Database =
        infra_diesel::connect(&config.database).await.map_err(|error| format!("DATABASE_URL: {error}"))?;

    let (tokens, secrets) = signers(config)?;
    let (mailer, inbox) = mailer(config)?;
    let (store, disk) = media_store(config).await?;
    let inspector = media_inspector(config);
    let passwords = PasswordHasher::new(config.hash_cost, cores(), MAX_WAITING_HASHES)
        .map_err(|error| error.to_string())?;
    let (notifier, signals) = infra_socketio::signal_queue();
    let notifier = Arc::new(notifier);
    let sessions = SessionService::new(tokens.clone(), db.sessions.clone(), clock.clone(), notifier.clone());
    let outbox =
        OutboxService::new(db.outbox.clone(), mailer, clock.clone(), secrets.clone(), &config.frontend_url);
    let limits =
        RateLimitService::new(rate_limiter(config, &secrets)?, secrets.clone(), config.rate_limits.clone());
    let settings = socket_config(config, &secrets);
    let authenticator = Arc::new(SocketAuthenticator { sessions: sessions.clone(), limits: limits.clone() });
    let sockets =
        SocketServer::start(signals, settings, authenticator, db.notifications.clone(), clock.clone())
            .map_err(|error| format!("REDIS_URL: {error}"))?;

    let make_services = {
        let (outbox, limits, clock) = (outbox.clone(), limits.clone(), clock.clone());
        let (secrets, inspector) = (secrets.clone(), inspector.clone());
        let (hide_registered_emails, refresh_grace) = (config.hide_registered_emails, config.refresh_grace);
        let media_quota = config.media_quota;
        move |db: &Database| {
            let sessions = sessions.with_repository(db.sessions.clone());
            Services {
                accounts: AccountService {
                    accounts: db.accounts.clone(),
                    session_repository: db.sessions.clone(),
                    sessions: sessions.clone(),
                    passwords: passwords.clone(),
                    tokens: tokens.clone(),
                    keyed_hash: secrets.clone(),
                    outbox: outbox.with_repository(db.outbox.clone()),
                    rate_limits: limits.clone(),
                    clock: clock.clone(),
                    hide_registered_emails,
                    refresh_grace,
                },
                sessions,
                media_cleanup: MediaCleanupService {
                    media: db.media.clone(),
                    store: store.clone(),
                    clock: clock.clone(),
                },
                posts: PostService {
                    posts: db.posts.clone(),
                    media: db.media.clone(),
                    store: store.clone(),
                    inspector: inspector.clone(),
                    media_quota,
                    notifier: notifier.clone(),
                    clock: clock.clone(),
                },
                comments: CommentService {
                    comments: db.comments.clone(),
                    notifier: notifier.clone(),
                    clock: clock.clone(),
                },
                follows: FollowService {
                    follows: db.follows.clone(),
                    notifier: notifier.clone(),
                    clock: clock.clone(),
                },
                notifications: NotificationService {
                    notifications: db.notifications.clone(),
                    notifier: notifier.clone(),
                },
            }
        }
    };
    Ok(AppState {
        services: Arc::new(make_services(&db)),
        make_services: Arc::new(make_services),
        health: db.health.clone(),
        readiness: Readiness::default(),
        database: db,
        sockets,
        clock,
        cursors: Cursors::new(secrets.clone()),
        secrets,
        public_url: config.public_url.as_deref().map(Arc::from),
        bodies: body_limits(config, inspector)?,
        connections: connection_budget(config),
        connection_timeouts: CONNECTION_TIMEOUTS,
        inbox,
        disk,
        limits,
        trusted_proxies: config.trusted_proxies.clone(),
        metrics: config.metrics_address.map(|_| Arc::default()),
        // A little less than the database's own timeout, so that the client gets a response first.
        use_case_timeout: config.database.timeout * 9 / 10,
        use_case_runtime: Handle::current(),
        running: TaskTracker::new(),
        outbox,
    })
}

/// Tokens are signed with the key itself, as other services that verify them expect; a derived key does the rest.
fn signers(config: &Config) -> Result<(TokenService, KeyedHash), String> {
    let key = secret_key(config)?;
    let tokens =
        TokenService::new(key.as_bytes(), config.access_token_lifetime, config.refresh_token_lifetime);
    Ok((tokens, KeyedHash::new(&KeyedHash::new(key.as_bytes()).hash("derived key", &[]))))
}

fn connection_budget(config: &Config) -> Budget<IpAddr> {
    let per_address = match config.connections_per_address {
        0 => usize::MAX,
        limit => limit,
    };
    Budget::of_addresses(config.connections_total, per_address)
}

fn body_limits(config: &Config, inspector: MediaInspector) -> Result<BodyLimits, String> {
    let max_file_bytes =
        usize::try_from(config.max_image_bytes.max(config.max_video_bytes)).unwrap_or(usize::MAX);
    Ok(BodyLimits {
        upload_dir: upload_dir(&config.data_dir.join("uploads"), config.media_reserve)?,
        upload_slots: UploadSlots::new(MAX_UPLOADS, MAX_UPLOADS_PER_USER),
        upload_budget: Budget::new(
            max_file_bytes.saturating_mul(MAX_UPLOADS),
            max_file_bytes.saturating_mul(MAX_UPLOADS_PER_USER),
        ),
        inspector,
        pace: BODY_PACE,
        memory: Budget::of_addresses(config.body_bytes_total, config.body_bytes_per_address),
    })
}
