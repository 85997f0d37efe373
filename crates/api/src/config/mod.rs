//! The settings of the server, read from environment variables. All invalid ones are reported at once, by name; `clap`'s
//! `env` would stop at the first.

mod http;
mod rate_limits;
mod services;
mod types;
mod vars;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use application::{passwords::HashCost, rate_limit::RateLimits};
use chrono::TimeDelta;
use ipnet::IpNet;

pub(crate) use services::looks_like_a_sample;
pub use types::{CloudinaryConfig, ConfigErrors, Environment, MailConfig, SmtpConfig, SmtpTls};

use vars::Vars;

/// All settings of the server.
#[derive(Clone)]
pub struct Config {
    /// Development or production.
    pub environment: Environment,
    /// `postgres://…` or `sqlite://…`.
    pub database_url: String,
    /// A streaming replica of the database. PostgreSQL only.
    pub database_replica_url: Option<String>,
    /// Maximum number of database connections.
    pub database_connections: usize,
    /// How long a request waits for the database.
    pub database_timeout: Duration,
    /// Whether `serve` migrates PostgreSQL. SQLite is always migrated.
    pub auto_migrate: bool,
    /// The key that signs tokens. `None`: generated and stored in `data_dir`.
    pub secret_key: Option<String>,
    /// Lifetime of access tokens.
    pub access_token_lifetime: TimeDelta,
    /// Lifetime of refresh tokens.
    pub refresh_token_lifetime: TimeDelta,
    /// How long a used refresh token still returns its successor.
    pub refresh_grace: TimeDelta,
    /// How mail is sent.
    pub mail: MailConfig,
    /// The Cloudinary account that stores media. `None`: the local disk.
    pub cloudinary: Option<CloudinaryConfig>,
    /// Base URL of the front end for links in mail, without a trailing slash.
    pub frontend_url: String,
    /// Base URL of this server, without a trailing slash. `None`: derived from each request.
    pub public_url: Option<String>,
    /// Origins whose pages may call the API.
    pub cors_origins: Vec<String>,
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 for any free one.
    pub port: u16,
    /// Whether the log is verbose.
    pub debug: bool,
    /// Maximum size of an image, in bytes.
    pub max_image_bytes: u64,
    /// Maximum size of a video, in bytes.
    pub max_video_bytes: u64,
    /// Whether registration hides that an address has an account.
    pub hide_registered_emails: bool,
    /// Directory of the server's files.
    pub data_dir: PathBuf,
    /// Cost of password hashes.
    pub hash_cost: HashCost,
    /// Maximum number of sockets per client address; 0 for no limit.
    pub sockets_per_address: usize,
    /// The Redis server that connects several server processes.
    pub redis_url: Option<String>,
    /// Rate limits.
    pub rate_limits: RateLimits,
    /// Networks of trusted proxies (`X-Forwarded-For`).
    pub trusted_proxies: Vec<IpNet>,
    /// Address on which metrics are served. `None`: they are not.
    pub metrics_address: Option<SocketAddr>,
    /// Number of HTTP worker threads.
    pub workers: usize,
}

fn cores() -> i64 {
    std::thread::available_parallelism().map_or(1, |cores| i64::try_from(cores.get()).unwrap_or(1))
}

impl Config {
    /// Reads the environment of the process.
    ///
    /// # Errors
    /// All invalid settings, by name.
    pub fn from_env() -> Result<Self, ConfigErrors> {
        Self::from_vars(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Reads these variables. An empty variable counts as unset.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigErrors> {
        let mut vars = Vars::new(vars);
        let environment = match vars.text("APP_ENV").as_deref() {
            None | Some("development") => Environment::Development,
            Some("production") => Environment::Production,
            Some(_) => {
                vars.push_error("APP_ENV", "must be development or production");
                Environment::Development
            }
        };
        let data_dir = PathBuf::from(vars.text("DATA_DIR").unwrap_or_else(|| "data".into()));
        let max_upload = vars.number("MAX_UPLOAD_BYTES", None, 1, i64::MAX);
        let config = Self {
            environment,
            database_url: vars.database_url(&data_dir),
            database_replica_url: vars.database_replica_url(),
            database_connections: usize::try_from(vars.number_or("DATABASE_CONNECTIONS", 16, 1, 1000))
                .unwrap_or(16),
            database_timeout: Duration::from_secs(5),
            auto_migrate: vars.flag("AUTO_MIGRATE", false),
            secret_key: vars.secret_key(environment),
            access_token_lifetime: TimeDelta::minutes(vars.number_or(
                "ACCESS_TOKEN_EXPIRE_MINUTES",
                30,
                1,
                525_600,
            )),
            refresh_token_lifetime: TimeDelta::days(vars.number_or("REFRESH_TOKEN_EXPIRE_DAYS", 7, 1, 3650)),
            refresh_grace: TimeDelta::seconds(vars.number_or("REFRESH_GRACE_SECONDS", 10, 0, 3600)),
            mail: vars.mail(environment),
            cloudinary: vars.cloudinary(),
            frontend_url: vars.url("FRONTEND_URL").unwrap_or_else(|| "http://localhost:5173".into()),
            public_url: vars.url("PUBLIC_URL"),
            cors_origins: vars.origins(),
            host: vars.parsed("HOST", "must be an IP address").unwrap_or_else(|| IpAddr::from([0, 0, 0, 0])),
            port: vars.parsed("PORT", "must be a port, 0 to 65535").unwrap_or(8000),
            debug: vars.debug(environment),
            max_image_bytes: max_upload.unwrap_or(10 << 20),
            max_video_bytes: max_upload.unwrap_or(50 << 20),
            hide_registered_emails: vars.flag("HIDE_REGISTERED_EMAILS", false),
            data_dir,
            hash_cost: HashCost::OWASP,
            sockets_per_address: usize::try_from(vars.number_or("SOCKETS_PER_ADDRESS", 200, 0, 1_000_000))
                .unwrap_or(0),
            redis_url: vars.redis_url(),
            rate_limits: vars.rate_limits(),
            trusted_proxies: vars.trusted_proxies(),
            metrics_address: vars
                .parsed("METRICS_ADDRESS", "must be an address and a port such as 127.0.0.1:9090"),
            workers: usize::try_from(vars.number_or("WORKERS", cores(), 1, 1024)).unwrap_or(1),
        };
        if vars.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(vars.errors)) }
    }
}

#[cfg(test)]
mod tests;
