//! The settings of the server, read from environment variables. All invalid ones are reported at once, by name; `clap`'s
//! `env` would stop at the first.

mod env_file;
mod http;
mod production;
mod services;
mod vars;

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
};

use api_types::Origins;
use application::{passwords::HashCost, rate_limit::RateLimits};
use chrono::TimeDelta;
use infra_cloudinary::CloudinaryConfig;
use infra_diesel::DatabaseConfig;
use infra_smtp::SmtpConfig;
use ipnet::IpNet;

pub(crate) use http::DEFAULT_ORIGINS;
pub(crate) use services::{CLOUDINARY_TIMEOUT, looks_like_a_sample};

use vars::Vars;

/// Bounds of the memory for request bodies: at least a few of the largest ones.
const BODY_BYTES: RangeInclusive<i64> = 1 << 20..=1 << 40;

/// Whether the server runs for development or in production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Every setting has a default.
    Development,
    /// The server refuses to start with unsafe settings.
    Production,
}

/// Invalid settings: one sentence for each, which begins with the name of the variable.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid settings:\n  {}", self.0.join("\n  "))
    }
}

/// All settings of the server.
#[derive(Clone)]
pub struct Config {
    /// Development or production.
    pub environment: Environment,
    /// The database.
    pub database: DatabaseConfig,
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
    /// The server that sends mail. `None`: mail is not sent but appears at `/dev/inbox`.
    pub smtp: Option<SmtpConfig>,
    /// The Cloudinary account that stores media. `None`: the local disk.
    pub cloudinary: Option<CloudinaryConfig>,
    /// Base URL of the front end for links in mail, without a trailing slash.
    pub frontend_url: String,
    /// Base URL of this server, without a trailing slash. `None`: derived from each request.
    pub public_url: Option<String>,
    /// Origins whose pages may call the API.
    pub cors_origins: Origins,
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 for any free one.
    pub port: u16,
    /// Whether the log is verbose.
    pub debug: bool,
    /// What is logged, in the syntax of `RUST_LOG`. `None`: it depends on `debug`.
    pub log_filter: Option<String>,
    /// Maximum size of an image, in bytes.
    pub max_image_bytes: u64,
    /// Maximum size of a video, in bytes.
    pub max_video_bytes: u64,
    /// Maximum size of all files of an account, in bytes. `None`: any size.
    pub media_quota: Option<u64>,
    /// Free bytes of the disk that uploads may not use.
    pub media_reserve: u64,
    /// Maximum width times height of an image or video.
    pub max_pixels: u64,
    /// Whether registration hides that an address has an account.
    pub hide_registered_emails: bool,
    /// Directory of the server's files.
    pub data_dir: PathBuf,
    /// Cost of password hashes.
    pub hash_cost: HashCost,
    /// Maximum number of sockets per client address; 0 for no limit.
    pub sockets_per_address: usize,
    /// Maximum number of bytes of request bodies in memory, over all clients.
    pub body_bytes_total: usize,
    /// Maximum number of bytes of request bodies in memory, per client address.
    pub body_bytes_per_address: usize,
    /// Maximum number of HTTP connections, over all clients.
    pub connections_total: usize,
    /// Maximum number of HTTP connections per client address; 0 for no limit.
    pub connections_per_address: usize,
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

/// Returns the number of cores of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Config {
    /// Reads the environment of the process and the file `.env`. A variable of the environment takes precedence, even if
    /// it is empty.
    ///
    /// # Errors
    /// All invalid settings, by name, or the line of the file that cannot be parsed.
    pub fn from_env() -> Result<Self, ConfigErrors> {
        let directory = std::env::current_dir().map_err(|error| ConfigErrors(vec![error.to_string()]))?;
        let file = env_file::read(&directory).map_err(|error| ConfigErrors(vec![error]))?;
        let mut vars = HashMap::<String, String>::from_iter(file);
        vars.extend(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        Self::from_vars(vars)
    }

    /// Reads these variables. An empty variable counts as unset.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigErrors> {
        let mut vars = Vars::new(vars);
        let environment = vars.parse("APP_ENV", "must be development or production", |text| match text {
            "development" => Some(Environment::Development),
            "production" => Some(Environment::Production),
            _ => None,
        });
        let environment = environment.unwrap_or(Environment::Development);
        let data_dir = PathBuf::from(vars.text("DATA_DIR").unwrap_or_else(|| "data".into()));
        let max_upload = vars.parse("MAX_UPLOAD_BYTES", "must be an integer of at least 1", |text| {
            text.parse::<i64>().ok()?.try_into().ok().filter(|bytes| *bytes > 0)
        });
        let workers = vars.number("WORKERS", cores(), 1..=1024);
        let address = "must be an address and a port such as 127.0.0.1:9090";
        let config = Self {
            environment,
            database: vars.database(&data_dir, workers),
            auto_migrate: vars.flag("AUTO_MIGRATE"),
            secret_key: vars.secret_key(environment),
            access_token_lifetime: TimeDelta::minutes(vars.number(
                "ACCESS_TOKEN_EXPIRE_MINUTES",
                30,
                1..=525_600,
            )),
            refresh_token_lifetime: TimeDelta::days(vars.number("REFRESH_TOKEN_EXPIRE_DAYS", 7, 1..=3650)),
            refresh_grace: TimeDelta::seconds(vars.number("REFRESH_GRACE_SECONDS", 10, 0..=3600)),
            smtp: vars.smtp(environment),
            cloudinary: vars.cloudinary(),
            frontend_url: vars.url("FRONTEND_URL").unwrap_or_else(|| "http://localhost:5173".into()),
            public_url: vars.url("PUBLIC_URL"),
            cors_origins: vars.origins(),
            host: vars.host(environment),
            port: vars.parse("PORT", "must be a port, 0 to 65535", |text| text.parse().ok()).unwrap_or(8000),
            debug: vars.debug(environment),
            log_filter: vars.log_filter(),
            max_image_bytes: max_upload.unwrap_or(10 << 20),
            max_video_bytes: max_upload.unwrap_or(50 << 20),
            media_quota: Some(vars.number("MEDIA_QUOTA_BYTES", 1 << 30, 0..=i64::MAX))
                .filter(|bytes| *bytes > 0),
            media_reserve: vars.number("MEDIA_RESERVE_BYTES", 256 << 20, 0..=i64::MAX),
            max_pixels: vars.number("MAX_PIXELS", 128_000_000, 1..=i64::MAX),
            hide_registered_emails: vars.flag("HIDE_REGISTERED_EMAILS"),
            data_dir,
            hash_cost: HashCost::OWASP,
            sockets_per_address: vars.number("SOCKETS_PER_ADDRESS", 200, 0..=1_000_000),
            body_bytes_total: vars.number("BODY_BYTES_TOTAL", 64 << 20, BODY_BYTES),
            body_bytes_per_address: vars.number("BODY_BYTES_PER_ADDRESS", 8 << 20, BODY_BYTES),
            connections_total: vars.number("CONNECTIONS_TOTAL", 10_000, 1..=1_000_000),
            connections_per_address: vars.number("CONNECTIONS_PER_ADDRESS", 1000, 0..=1_000_000),
            redis_url: vars.redis_url(),
            rate_limits: vars.rate_limits(),
            trusted_proxies: vars.trusted_proxies(),
            metrics_address: vars.parse("METRICS_ADDRESS", address, |text| text.parse().ok()),
            workers,
        };
        if environment == Environment::Production {
            vars.check_production(&config);
        }
        if vars.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(vars.errors)) }
    }
}

#[cfg(test)]
mod tests;
