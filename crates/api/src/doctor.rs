//! Checks everything that the server depends on, and suggests how to fix what fails. Leaves nothing behind.

use std::{fmt, time::Duration};

use application::random;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    clock::{Clock as _, SystemClock},
    media::{MediaFile, MediaKey, MediaKind, MediaStore},
};
use infra_diesel::{DatabaseError, DatabaseUrl};
use url::Url;

use crate::{
    adapters::{media_store, smtp_mailer},
    config::{Config, DEFAULT_ORIGINS, Environment, looks_like_a_sample},
};

const TIMEOUT: Duration = Duration::from_secs(5);
/// The clock difference that is worth a warning.
const NOTABLE_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::seconds(2);
/// The clock difference from which tokens and codes expire at the wrong time.
const HARMFUL_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::seconds(30);

/// A PNG image of one pixel.
const PIXEL: [u8; 67] = [
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0,
    0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0a, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0,
    1, 0, 0, 5, 0, 1, 0x0d, 0x0a, 0x2d, 0xb4, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Ok,
    /// It works, but should be reviewed.
    Warn,
    /// It does not work.
    Fail,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub subject: &'static str,
    /// The outcome.
    pub status: Status,
    /// What was found, and how to fix it.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        };
        write!(f, "{status:<5} {:<9} {}", self.subject, self.text)
    }
}

fn ok(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { subject, status: Status::Ok, text: text.into() }
}

fn warn(subject: &'static str, text: impl Into<String>, fix: &str) -> Finding {
    Finding { subject, status: Status::Warn, text: format!("{}; {fix}", text.into()) }
}

fn fail(subject: &'static str, text: impl Into<String>, fix: &str) -> Finding {
    Finding { status: Status::Fail, ..warn(subject, text, fix) }
}

/// Runs all checks.
pub async fn run_checks(config: &Config) -> Vec<Finding> {
    let mut findings = vec![check_key(config)];
    findings.extend(check_database(config).await);
    if let Some(replica) = &config.database.replica {
        findings.push(check_replica(&config.database.url, replica).await);
    }
    findings.extend([
        check_mail(config).await,
        check_media(config).await,
        check_redis(config).await,
        check_cors(config),
    ]);
    findings
}

fn check_key(config: &Config) -> Finding {
    let file = config.data_dir.join("secret_key");
    match &config.secret_key {
        Some(key) if looks_like_a_sample(key) => {
            warn("key", "SECRET_KEY looks like a sample", "generate one with `openssl rand -hex 32`")
        }
        Some(_) => ok("key", "SECRET_KEY is set"),
        None => match std::fs::read_to_string(&file) {
            Ok(key) if key.trim().len() >= 32 => ok("key", format!("stored in {}", file.display())),
            Ok(_) => {
                let text = format!("{} does not contain a key of at least 32 bytes", file.display());
                fail("key", text, "delete it")
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                ok("key", format!("will be generated in {} at the first start", file.display()))
            }
            Err(error) => fail(
                "key",
                format!("{} is not readable: {error}", file.display()),
                "set SECRET_KEY, or make the file readable",
            ),
        },
    }
}

async fn check_database(config: &Config) -> Vec<Finding> {
    let url = &config.database.url;
    let read = async { Ok((infra_diesel::schema_state(url).await?, infra_diesel::clock(url).await?)) };
    let (schema, clock) = match in_time(read).await {
        Ok(read) => read,
        Err(error) => {
            let fix = "start it, grant what is missing, or correct DATABASE_URL";
            return vec![fail("database", format!("not usable: {error}"), fix)];
        }
    };
    let migrates_itself = config.auto_migrate || matches!(url, DatabaseUrl::Sqlite(_));
    vec![
        check_requests(config, schema.is_current()).await,
        check_schema(&schema.pending(), &schema.unknown, migrates_itself),
        check_clock(SystemClock.now(), clock),
    ]
}

/// Reads as requests do. An SQLite file may be in use by the server.
async fn check_requests(config: &Config, is_schema_current: bool) -> Finding {
    if !is_schema_current || matches!(config.database.url, DatabaseUrl::Sqlite(_)) {
        return ok("database", "responds");
    }
    let read = async {
        let text = |error: domain::Error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        };
        let database = infra_diesel::connect(&config.database).await.map_err(|error| error.to_string())?;
        database.health.check().await.map_err(text)
    };
    match tokio::time::timeout(TIMEOUT, read).await {
        Ok(Ok(())) => ok("database", "responds"),
        Ok(Err(error)) => fail("database", format!("requests fail: {error}"), "correct DATABASE_URL"),
        Err(_) => fail("database", "requests get no response in time", "correct DATABASE_URL"),
    }
}

async fn in_time<T>(read: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, String> {
    match tokio::time::timeout(TIMEOUT, read).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("no response in time".to_owned()),
    }
}

fn check_schema(pending: &[String], unknown: &[String], migrates_itself: bool) -> Finding {
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        fail("schema", format!("has migrations of a newer version ({unknown})"), "run that version")
    } else if pending.is_empty() {
        ok("schema", "up to date")
    } else if migrates_itself {
        ok("schema", "will be migrated at the next start")
    } else {
        let pending = pending.join(", ");
        fail("schema", format!("lacks migrations ({pending})"), "run `api migrate`, or set AUTO_MIGRATE=true")
    }
}

/// `database`: the database's time, unless it uses the clock of this machine.
fn check_clock(now: DateTime<Utc>, database: Option<DateTime<Utc>>) -> Finding {
    let Some(database) = database else { return ok("clock", "same as the database's") };
    let difference = (now - database).abs();
    let text = format!("{} ms from the database's clock", difference.num_milliseconds());
    let fix = "synchronize both clocks by NTP";
    match difference {
        difference if difference >= HARMFUL_CLOCK_DIFFERENCE => fail("clock", text, fix),
        difference if difference >= NOTABLE_CLOCK_DIFFERENCE => warn("clock", text, fix),
        _ => ok("clock", text),
    }
}

async fn check_replica(database: &DatabaseUrl, replica: &str) -> Finding {
    let fix = "start it, or correct DATABASE_REPLICA_URL; until then all reads go to DATABASE_URL";
    match in_time(infra_diesel::is_replica(database, replica)).await {
        Ok(true) => ok("replica", "replicates the database"),
        Ok(false) => fail("replica", "does not replicate the database", fix),
        Err(error) => fail("replica", format!("not usable: {error}"), fix),
    }
}

async fn check_mail(config: &Config) -> Finding {
    let Some(smtp) = &config.smtp else {
        return ok("mail", "SMTP_HOST is not set: mail appears at /dev/inbox");
    };
    let login = async { smtp_mailer(smtp)?.check().await.map_err(|error| error.to_string()) };
    match login.await {
        Ok(()) => ok("mail", "logged in to the SMTP server"),
        Err(error) => {
            let fix = "check SMTP_HOST, SMTP_PORT, SMTP_TLS, SMTP_USER and SMTP_PASSWORD";
            fail("mail", format!("cannot log in to the SMTP server: {error}"), fix)
        }
    }
}

async fn check_media(config: &Config) -> Finding {
    let (location, fix) = if config.cloudinary.is_some() {
        ("Cloudinary", "check the three CLOUDINARY_ variables")
    } else {
        ("the disk", "make DATA_DIR writable, and free some space")
    };
    if config.cloudinary.is_none() && !config.data_dir.join("media").exists() {
        return ok("media", "the directory will be created at the first start");
    }
    let result = match media_store(config).await {
        Ok((store, _)) => store_and_delete(store.as_ref()).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ok("media", format!("a test file went to {location} and back, and was deleted")),
        Err(error) => fail("media", format!("a test file did not go to {location} and back: {error}"), fix),
    }
}

/// Stores a file, reads it by copying it, and deletes both.
async fn store_and_delete(store: &dyn MediaStore) -> Result<(), String> {
    let text = |error: domain::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})")).unwrap_or_default();
        format!("{error}{cause}")
    };
    let name = || random::token::<16>().map(|name| MediaKey(format!("{name}.png"))).map_err(text);
    let (first, second) = (name()?, name()?);
    let local = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    std::fs::write(local.path(), PIXEL).map_err(|error| error.to_string())?;
    let size = PIXEL.len() as u64;
    let file = MediaFile { path: local.path().to_owned(), kind: MediaKind::Png, size };
    let stored = async {
        let media = store.store(first.clone(), file, false).await?;
        store.copy(media, second.clone(), true).await.map(|_| ())
    }
    .await;
    // Even if the copy failed.
    let deleted = [store.delete(first).await, store.delete(second).await];
    stored.map_err(text)?;
    deleted.into_iter().collect::<Result<(), _>>().map_err(text)
}

async fn check_redis(config: &Config) -> Finding {
    let Some(url) = &config.redis_url else {
        return ok("redis", "REDIS_URL is not set: this is the only server process");
    };
    match infra_redis::ping(url, TIMEOUT).await {
        Ok(()) => ok("redis", "responds"),
        Err(error) => fail("redis", format!("not reachable: {error}"), "start it, or correct REDIS_URL"),
    }
}

fn check_cors(config: &Config) -> Finding {
    let origins = &config.cors_origins;
    let front_end = Url::parse(&config.frontend_url).map(|url| url.origin().ascii_serialization());
    let front_end = front_end.unwrap_or_default();
    if origins.allow_any() {
        return warn("cors", "allows every origin", "list your origins in CORS_ORIGINS");
    }
    if !origins.allow(&front_end) {
        let text = format!("does not allow {front_end}, the origin of FRONTEND_URL");
        return warn("cors", text, "add it to CORS_ORIGINS");
    }
    let allows_local = DEFAULT_ORIGINS.split(',').any(|origin| origins.allow(origin));
    if config.environment == Environment::Production && allows_local {
        return warn("cors", "allows origins on localhost", "remove them from CORS_ORIGINS");
    }
    ok("cors", format!("allows {front_end}, the origin of FRONTEND_URL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        let vars = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_vars(vars).unwrap()
    }

    #[test]
    fn cors_must_allow_the_front_end() {
        assert_eq!(check_cors(&config(&[])).status, Status::Ok);
        assert_eq!(check_cors(&config(&[("FRONTEND_URL", "https://app.example.com/")])).status, Status::Warn);
        assert_eq!(check_cors(&config(&[("CORS_ORIGINS", "*")])).status, Status::Warn);
    }

    #[test]
    fn clock_difference_warns_and_then_fails() {
        let status = |seconds| {
            let now = SystemClock.now();
            check_clock(now, Some(now + TimeDelta::seconds(seconds))).status
        };
        assert_eq!([status(0), status(5), status(-60)], [Status::Ok, Status::Warn, Status::Fail]);
        assert_eq!(check_clock(SystemClock.now(), None).status, Status::Ok);
    }

    #[test]
    fn schema_must_have_exactly_the_known_migrations() {
        let status = |pending: &[&str], unknown: &[&str], migrates_itself| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            check_schema(&owned(pending), &owned(unknown), migrates_itself).status
        };
        assert_eq!(status(&[], &[], false), Status::Ok);
        assert_eq!(status(&["one"], &[], false), Status::Fail);
        assert_eq!(status(&[], &["one"], false), Status::Fail);
        assert_eq!(status(&["one"], &[], true), Status::Ok);
    }

    #[test]
    fn finding_is_one_line_of_status_subject_and_text() {
        let line = fail("redis", "not reachable: no", "start it").to_string();
        assert_eq!(line, "fail  redis     not reachable: no; start it");
    }
}
