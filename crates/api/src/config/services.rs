//! Settings of the services that the server uses: database, Redis, mail, media store.

use std::path::Path;

use url::Url;

use super::{
    types::{CloudinaryConfig, Environment, MailConfig, SmtpConfig, SmtpTls},
    vars::Vars,
};

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
    pub(super) fn database_url(&mut self, data_dir: &Path) -> String {
        let Some(url) = self.text("DATABASE_URL") else {
            return format!("sqlite://{}", data_dir.join("social.sqlite3").display());
        };
        if !["postgres://", "postgresql://", "sqlite:"].iter().any(|scheme| url.starts_with(scheme)) {
            self.push_error("DATABASE_URL", "must begin with postgres:// or sqlite://");
        }
        url
    }

    pub(super) fn database_replica_url(&mut self) -> Option<String> {
        let url = self.text("DATABASE_REPLICA_URL")?;
        let is_postgres = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if !is_postgres(&url) || !self.text("DATABASE_URL").is_some_and(|url| is_postgres(&url)) {
            self.push_error("DATABASE_REPLICA_URL", "must begin with postgres://, and so must DATABASE_URL");
        }
        Some(url)
    }

    pub(super) fn redis_url(&mut self) -> Option<String> {
        let url = self.text("REDIS_URL")?;
        let is_good = Url::parse(&url)
            .is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss" | "redis+unix" | "unix"));
        if !is_good {
            self.push_error("REDIS_URL", "must be a redis:// URL");
        }
        Some(url)
    }

    pub(super) fn secret_key(&mut self, environment: Environment) -> Option<String> {
        let key = self.text("SECRET_KEY");
        let Some(key) = &key else {
            if environment == Environment::Production {
                self.push_error("SECRET_KEY", "must be set in production, to at least 32 random bytes");
            }
            return None;
        };
        if key.len() < MIN_KEY_BYTES {
            self.push_error("SECRET_KEY", "must have at least 32 bytes");
        }
        if environment == Environment::Production && looks_like_a_sample(key) {
            self.push_error("SECRET_KEY", "looks like a sample; generate one with `openssl rand -hex 32`");
        }
        Some(key.clone())
    }

    pub(super) fn mail(&mut self, environment: Environment) -> MailConfig {
        let Some(host) = self.text("SMTP_HOST") else {
            if environment == Environment::Production {
                self.push_error(
                    "SMTP_HOST",
                    "must be set in production, since users verify their addresses by mail",
                );
            }
            return MailConfig::Inbox;
        };
        let port = self.parsed("SMTP_PORT", "must be a port, 1 to 65535").unwrap_or(587);
        let tls = match (self.text("SMTP_TLS").as_deref(), port) {
            (Some("implicit"), _) | (None, 465) => SmtpTls::Implicit,
            (Some("starttls"), _) | (None, 587) => SmtpTls::StartTls,
            (Some("none") | None, _) => SmtpTls::None,
            (Some(_), _) => {
                self.push_error("SMTP_TLS", "must be implicit, starttls or none");
                SmtpTls::StartTls
            }
        };
        let user = self.first(["SMTP_USER", "SMTP_USERNAME"]);
        let password = self.text("SMTP_PASSWORD");
        if user.is_some() && password.is_none() {
            self.push_error("SMTP_PASSWORD", "must be set if SMTP_USER is set");
        }
        let sender = self
            .first(["SENDER_EMAIL", "EMAIL_FROM"])
            .or_else(|| user.clone().filter(|user| user.contains('@')));
        let sender = sender.unwrap_or_else(|| "noreply@localhost".into());
        if domain::users::Email::parse(&sender).is_err() && !sender.ends_with("@localhost") {
            self.push_error("SENDER_EMAIL", "must be an email address");
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
