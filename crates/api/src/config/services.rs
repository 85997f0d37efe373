//! Settings of the services that the server uses: database, Redis, mail, media store.

use std::{path::Path, time::Duration};

use infra_cloudinary::CloudinaryConfig;
use infra_diesel::{DatabaseConfig, DatabaseUrl};
use infra_smtp::{Login, SmtpConfig, Tls};
use url::Url;

use super::{Environment, cores, vars::Vars};

const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);
/// Fits within the time for which the outbox worker reserves a batch of mails.
const SMTP_TIMEOUT: Duration = Duration::from_secs(10);
const SMTP_CONNECTIONS: usize = 8;
/// How long an upload to Cloudinary may take.
pub(crate) const CLOUDINARY_TIMEOUT: Duration = Duration::from_mins(2);
const MIN_KEY_BYTES: usize = 32;
/// Parts of keys in examples.
const SAMPLE_KEYS: [&str; 4] = ["change", "secret", "example", "your-"];

/// Returns whether a key is a published example or easy to guess.
pub(crate) fn looks_like_a_sample(key: &str) -> bool {
    let lowered = key.to_lowercase();
    let has_few_characters = key.bytes().collect::<std::collections::HashSet<_>>().len() < 8;
    has_few_characters || SAMPLE_KEYS.iter().any(|sample| lowered.contains(sample))
}

impl Vars {
    pub(super) fn database(&mut self, data_dir: &Path, workers: usize) -> DatabaseConfig {
        let url = self
            .parse("DATABASE_URL", "must begin with postgres:// or sqlite://", DatabaseUrl::parse)
            .unwrap_or_else(|| DatabaseUrl::Sqlite(data_dir.join("social.sqlite3")));
        let is_postgres = |url: &DatabaseUrl| matches!(url, DatabaseUrl::Postgres(_));
        let requirement = "must begin with postgres://, and so must DATABASE_URL";
        let replica = self.parse("DATABASE_REPLICA_URL", requirement, |text| {
            let is_valid = is_postgres(&url) && DatabaseUrl::parse(text).is_some_and(|url| is_postgres(&url));
            is_valid.then(|| text.to_owned())
        });
        let url = self.check_database("DATABASE_URL", url);
        let replica = replica.and_then(|replica| {
            match self.check_database("DATABASE_REPLICA_URL", DatabaseUrl::Postgres(replica)) {
                DatabaseUrl::Postgres(replica) => Some(replica),
                DatabaseUrl::Sqlite(_) => None,
            }
        });
        // SQLite reads use a core of this process: more than two connections a core only cost memory.
        let max_connections = if is_postgres(&url) { usize::MAX } else { 2 * cores() };
        DatabaseConfig {
            url,
            replica,
            connections: self.number("DATABASE_CONNECTIONS", 16, 1..=1000).min(max_connections),
            workers,
            timeout: DATABASE_TIMEOUT,
        }
    }

    /// Checks the parameters of a URL and adds `DATABASE_CA_FILE`.
    fn check_database(&mut self, name: &str, url: DatabaseUrl) -> DatabaseUrl {
        if let Err(error) = url.check() {
            self.push_error(name, &format!("is invalid: {error}"));
            return url;
        }
        let Some(file) = self.text("DATABASE_CA_FILE") else { return url };
        let url = url.with_ca_file(&file);
        if let Err(error) = url.check() {
            self.push_error("DATABASE_CA_FILE", &format!("is invalid: {error}"));
        }
        url
    }

    pub(super) fn redis_url(&mut self) -> Option<String> {
        self.parse("REDIS_URL", "must be a redis:// URL", |text| {
            let url = Url::parse(text).ok()?;
            matches!(url.scheme(), "redis" | "rediss" | "redis+unix" | "unix").then(|| text.to_owned())
        })
    }

    pub(super) fn secret_key(&mut self, environment: Environment) -> Option<String> {
        let Some(key) = self.text("SECRET_KEY") else {
            if environment == Environment::Production {
                self.push_error("SECRET_KEY", "must be set in production, to at least 32 random bytes");
            }
            return None;
        };
        if key.len() < MIN_KEY_BYTES {
            self.push_error("SECRET_KEY", "must have at least 32 bytes");
        }
        if environment == Environment::Production && looks_like_a_sample(&key) {
            self.push_error("SECRET_KEY", "looks like a sample; generate one with `openssl rand -hex 32`");
        }
        Some(key)
    }

    pub(super) fn smtp(&mut self, environment: Environment) -> Option<SmtpConfig> {
        let Some(host) = self.text("SMTP_HOST") else {
            if environment == Environment::Production {
                self.push_error(
                    "SMTP_HOST",
                    "must be set in production, since users verify their addresses by mail",
                );
            }
            return None;
        };
        let port =
            self.parse("SMTP_PORT", "must be a port, 1 to 65535", |text| text.parse().ok()).unwrap_or(587);
        let tls = self.parse("SMTP_TLS", "must be implicit, starttls or none", |text| match text {
            "implicit" => Some(Tls::Implicit),
            "starttls" => Some(Tls::StartTls),
            "none" => Some(Tls::Plain),
            _ => None,
        });
        let user = self.first(["SMTP_USER", "SMTP_USERNAME"]);
        let password = self.text("SMTP_PASSWORD");
        if user.is_some() && password.is_none() {
            self.push_error("SMTP_PASSWORD", "must be set if SMTP_USER is set");
        }
        let sender_email = self
            .first(["SENDER_EMAIL", "EMAIL_FROM"])
            .or_else(|| user.clone().filter(|user| user.contains('@')))
            .unwrap_or_else(|| "noreply@localhost".into());
        if domain::users::Email::parse(&sender_email).is_err() && !sender_email.ends_with("@localhost") {
            self.push_error("SENDER_EMAIL", "must be an email address");
        }
        let requirement = "must be a domain name such as mail.example.com";
        let hello_name = self.parse("SMTP_HELO_NAME", requirement, |text| {
            let is_valid = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
            is_valid.then(|| text.to_owned())
        });
        Some(SmtpConfig {
            hello_name,
            host,
            port,
            tls: tls.unwrap_or_else(|| Tls::for_port(port)),
            login: user.zip(password).map(|(user, password)| Login { user, password }),
            sender_email,
            sender_name: self.text("SENDER_NAME").unwrap_or_else(|| "Social".into()),
            timeout: SMTP_TIMEOUT,
            max_connections: SMTP_CONNECTIONS,
        })
    }

    pub(super) fn cloudinary(&mut self) -> Option<CloudinaryConfig> {
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
                self.push_error(names[0], "must be set if the other CLOUDINARY_ variables are set");
            }
        }
        let api_base = self.url("CLOUDINARY_API_BASE").unwrap_or_else(|| CloudinaryConfig::API_BASE.into());
        let [cloud_name, api_key, api_secret] = values;
        Some(CloudinaryConfig {
            cloud_name: cloud_name?,
            api_key: api_key?,
            api_secret: api_secret?,
            api_base,
            timeout: CLOUDINARY_TIMEOUT,
        })
    }
}
