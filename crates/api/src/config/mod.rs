//! Settings, all from the environment. Every problem is told, by the variable's name.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use application::{passwords::HashCost, rate_limit::RateLimits};
use chrono::TimeDelta;
use ipnet::IpNet;
use url::Url;

mod rate_limits;

/// Keys that stand in examples: whoever can read those can forge tokens.
const SAMPLE_KEYS: [&str; 4] = ["change", "secret", "example", "your-"];
const SHORTEST_KEY: usize = 32;

/// Whether mistakes that are convenient while developing are forgiven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Nothing has to be set.
    Development,
    /// Whatever would be unsafe stops the start.
    Production,
}

/// Where mails go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailConfig {
    /// They stay here and are shown at `/dev/inbox`.
    Inbox,
    /// To an SMTP server.
    Smtp(SmtpConfig),
}

/// How an SMTP connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// From the first byte.
    Implicit,
    /// By STARTTLS, which the server must offer.
    StartTls,
    /// Not at all.
    None,
}

/// An SMTP server and who mails.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpConfig {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// The sender's address.
    pub sender: String,
    /// The sender's name.
    pub sender_name: String,
}

impl fmt::Debug for SmtpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A Cloudinary account.
#[derive(Clone, PartialEq, Eq)]
pub struct CloudinaryConfig {
    /// The cloud's name.
    pub cloud_name: String,
    /// The key.
    pub api_key: String,
    /// The secret.
    pub api_secret: String,
    /// Where its API is.
    pub api_base: String,
}

/// Everything that can be set.
#[derive(Clone)]
pub struct Config {
    /// Development or production.
    pub environment: Environment,
    /// `postgres://…` or `sqlite://…`.
    pub database_url: String,
    /// A replica of it, on PostgreSQL.
    pub database_replica_url: Option<String>,
    /// How many connections to the database are open at most.
    pub database_connections: usize,
    /// How long a request waits for the database.
    pub database_timeout: Duration,
    /// Whether `serve` migrates PostgreSQL by itself.
    pub auto_migrate: bool,
    /// What signs tokens; `None` if one is to be made and kept.
    pub secret_key: Option<String>,
    /// How long an access token is valid.
    pub access_token_lifetime: TimeDelta,
    /// How long a refresh token is valid.
    pub refresh_token_lifetime: TimeDelta,
    /// For how long a used refresh token gets its successor once more.
    pub refresh_grace: TimeDelta,
    /// Where mails go.
    pub mail: MailConfig,
    /// Where media goes; `None` for the local disk.
    pub cloudinary: Option<CloudinaryConfig>,
    /// Where reset links lead, without a slash at its end.
    pub frontend_url: String,
    /// How clients reach this server, without a slash at its end; `None`: as each request did.
    pub public_url: Option<String>,
    /// Which pages of other origins may call.
    pub cors_origins: Vec<String>,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 for any that is free.
    pub port: u16,
    /// Whether the log is verbose.
    pub debug: bool,
    /// The largest image in bytes.
    pub max_image_bytes: u64,
    /// The largest video in bytes.
    pub max_video_bytes: u64,
    /// Whether registering does not tell that an address has an account.
    pub hide_registered_emails: bool,
    /// Where files lie.
    pub data_dir: PathBuf,
    /// What a password hash costs.
    pub hash_cost: HashCost,
    /// How many sockets an address may have; 0 for any number.
    pub sockets_per_address: usize,
    /// The Redis through which several server processes act as one.
    pub redis_url: Option<String>,
    /// How often somebody may do something.
    pub rate_limits: RateLimits,
    /// Who is believed when they say for whom they forward a request.
    pub trusted_proxies: Vec<IpNet>,
    /// Where metrics are served; `None`: nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// How many threads serve HTTP.
    pub workers: usize,
}

fn cores() -> i64 {
    std::thread::available_parallelism().map_or(1, |cores| i64::try_from(cores.get()).unwrap_or(1))
}

/// What is wrong with the settings: a sentence each, which begins with the variable's name.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The settings cannot be used:")?;
        for error in &self.0 {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads the variables of the process.
    pub fn from_env() -> Result<Self, ConfigErrors> {
        Self::from_vars(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Reads these variables. An empty one counts as unset.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigErrors> {
        let mut vars = Vars {
            vars: vars.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect(),
            errors: Vec::new(),
        };
        let environment = match vars.text("APP_ENV").as_deref() {
            None | Some("development") => Environment::Development,
            Some("production") => Environment::Production,
            Some(_) => {
                vars.wrong("APP_ENV", "must be development or production");
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
            rate_limits: vars.policies(),
            trusted_proxies: vars.proxies(),
            metrics_address: vars
                .parsed("METRICS_ADDRESS", "must be an address and a port such as 127.0.0.1:9090"),
            workers: usize::try_from(vars.number_or("WORKERS", cores(), 1, 1024)).unwrap_or(1),
        };
        if vars.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(vars.errors)) }
    }
}

/// Whether a key is one that others know or can guess.
pub(crate) fn looks_like_a_sample(key: &str) -> bool {
    let lowered = key.to_lowercase();
    let is_monotonous = key.bytes().collect::<std::collections::HashSet<_>>().len() < 8;
    is_monotonous || SAMPLE_KEYS.iter().any(|sample| lowered.contains(sample))
}

struct Vars {
    vars: HashMap<String, String>,
    errors: Vec<String>,
}

impl Vars {
    fn text(&self, name: &str) -> Option<String> {
        self.vars.get(name).map(|value| value.trim().to_owned())
    }

    /// The first of these that is set: older names of the same.
    fn first(&self, names: [&str; 2]) -> Option<String> {
        names.into_iter().find_map(|name| self.text(name))
    }

    /// Values are not repeated: they may be secret.
    fn wrong(&mut self, name: &str, what: &str) {
        self.errors.push(format!("{name} {what}"));
    }

    fn parsed<T: std::str::FromStr>(&mut self, name: &str, what: &str) -> Option<T> {
        let value = self.text(name)?;
        let parsed = value.parse().ok();
        if parsed.is_none() {
            self.wrong(name, what);
        }
        parsed
    }

    fn number(&mut self, name: &str, default: Option<i64>, min: i64, max: i64) -> Option<u64> {
        let Some(value) = self.text(name) else { return default.and_then(|value| value.try_into().ok()) };
        match value.parse::<i64>() {
            Ok(value) if (min..=max).contains(&value) => u64::try_from(value).ok(),
            _ if max == i64::MAX => {
                self.wrong(name, &format!("must be a whole number of at least {min}"));
                None
            }
            _ => {
                self.wrong(name, &format!("must be a whole number from {min} to {max}"));
                None
            }
        }
    }

    fn number_or(&mut self, name: &str, default: i64, min: i64, max: i64) -> i64 {
        self.number(name, Some(default), min, max)
            .and_then(|value| i64::try_from(value).ok())
            .unwrap_or(default)
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(value) = self.text(name) else { return default };
        crate::parse::parse_bool(&value).unwrap_or_else(|| {
            self.wrong(name, "must be true or false");
            default
        })
    }

    fn debug(&mut self, environment: Environment) -> bool {
        let debug = self.flag("DEBUG", false);
        if debug && environment == Environment::Production {
            self.wrong("DEBUG", "must not be true in production");
        }
        debug
    }

    fn url(&mut self, name: &str) -> Option<String> {
        let value = self.text(name)?;
        let is_good =
            Url::parse(&value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_good {
            self.wrong(name, "must be an http:// or https:// address");
        }
        Some(value.trim_end_matches('/').to_owned())
    }

    fn origins(&mut self) -> Vec<String> {
        let value = self.text("CORS_ORIGINS");
        let value = value.as_deref().unwrap_or("http://localhost:5173,http://localhost:3000");
        let origins: Vec<String> = value
            .split(',')
            .map(|origin| origin.trim().trim_end_matches('/').to_owned())
            .filter(|origin| !origin.is_empty())
            .collect();
        let is_origin = |origin: &String| {
            origin == "*" || Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin)
        };
        if !origins.iter().all(is_origin) {
            self.wrong(
                "CORS_ORIGINS",
                "must be a comma-separated list of origins such as https://app.example.com",
            );
        }
        origins
    }

    fn database_url(&mut self, data_dir: &std::path::Path) -> String {
        let Some(url) = self.text("DATABASE_URL") else {
            return format!("sqlite://{}", data_dir.join("social.sqlite3").display());
        };
        if !["postgres://", "postgresql://", "sqlite:"].iter().any(|scheme| url.starts_with(scheme)) {
            self.wrong("DATABASE_URL", "must begin with postgres:// or sqlite://");
        }
        url
    }

    fn database_replica_url(&mut self) -> Option<String> {
        let url = self.text("DATABASE_REPLICA_URL")?;
        let is_postgres = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if !is_postgres(&url) || !self.text("DATABASE_URL").is_some_and(|url| is_postgres(&url)) {
            self.wrong("DATABASE_REPLICA_URL", "must begin with postgres://, and DATABASE_URL too");
        }
        Some(url)
    }

    fn redis_url(&mut self) -> Option<String> {
        let url = self.text("REDIS_URL")?;
        let is_good = Url::parse(&url)
            .is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss" | "redis+unix" | "unix"));
        if !is_good {
            self.wrong("REDIS_URL", "must be a redis:// address");
        }
        Some(url)
    }

    fn secret_key(&mut self, environment: Environment) -> Option<String> {
        let key = self.text("SECRET_KEY");
        let Some(key) = &key else {
            if environment == Environment::Production {
                self.wrong("SECRET_KEY", "must be set in production, to at least 32 random bytes");
            }
            return None;
        };
        if key.len() < SHORTEST_KEY {
            self.wrong("SECRET_KEY", "must have at least 32 bytes");
        }
        if environment == Environment::Production && looks_like_a_sample(key) {
            self.wrong("SECRET_KEY", "looks like a sample; make one by `openssl rand -hex 32`");
        }
        Some(key.clone())
    }

    fn mail(&mut self, environment: Environment) -> MailConfig {
        let Some(host) = self.text("SMTP_HOST") else {
            if environment == Environment::Production {
                self.wrong("SMTP_HOST", "must be set in production: nobody could verify their address");
            }
            return MailConfig::Inbox;
        };
        let port = self.parsed("SMTP_PORT", "must be a port, 1 to 65535").unwrap_or(587);
        let tls = match (self.text("SMTP_TLS").as_deref(), port) {
            (Some("implicit"), _) | (None, 465) => SmtpTls::Implicit,
            (Some("starttls"), _) | (None, 587) => SmtpTls::StartTls,
            (Some("none") | None, _) => SmtpTls::None,
            (Some(_), _) => {
                self.wrong("SMTP_TLS", "must be implicit, starttls or none");
                SmtpTls::StartTls
            }
        };
        let user = self.first(["SMTP_USER", "SMTP_USERNAME"]);
        let password = self.text("SMTP_PASSWORD");
        if user.is_some() && password.is_none() {
            self.wrong("SMTP_PASSWORD", "must be set if SMTP_USER is");
        }
        let sender = self
            .first(["SENDER_EMAIL", "EMAIL_FROM"])
            .or_else(|| user.clone().filter(|user| user.contains('@')));
        let sender = sender.unwrap_or_else(|| "noreply@localhost".into());
        if domain::users::Email::parse(&sender).is_err() && !sender.ends_with("@localhost") {
            self.wrong("SENDER_EMAIL", "must be an e-mail address");
        }
        MailConfig::Smtp(SmtpConfig {
            host,
            port,
            credentials: user.zip(password),
            tls,
            sender,
            sender_name: self.text("SENDER_NAME").unwrap_or_else(|| "Social".into()),
        })
    }

    fn cloudinary(&mut self) -> Option<CloudinaryConfig> {
        let names = [
            ["CLOUDINARY_CLOUD_NAME", "CLOUD_NAME"],
            ["CLOUDINARY_API_KEY", "API_KEY"],
            ["CLOUDINARY_API_SECRET", "API_SECRET"],
        ];
        let values = names.map(|names| self.first(names));
        if values.iter().all(Option::is_none) {
            return None;
        }
        for (names, value) in names.iter().zip(&values) {
            if value.is_none() {
                self.wrong(names[0], "must be set if the other CLOUDINARY_ variables are");
            }
        }
        let api_base = self.url("CLOUDINARY_API_BASE").unwrap_or_else(|| "https://api.cloudinary.com".into());
        let [cloud_name, api_key, api_secret] = values;
        Some(CloudinaryConfig {
            cloud_name: cloud_name?,
            api_key: api_key?,
            api_secret: api_secret?,
            api_base,
        })
    }
}

#[cfg(test)]
mod tests;
