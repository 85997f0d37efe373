//! Looks at everything that the server needs, and says how to mend what does not work. Nothing of it lasts.

use std::fmt;

use application::random;
use chrono::{TimeDelta, Utc};
use domain::media::{MediaFile, MediaKey, MediaKind, MediaStore};
use url::Url;

use crate::{
    app::{self, DatabaseState},
    config::{Config, Environment, MailConfig, looks_like_a_sample},
};

/// From when on a clock is suspicious, and from when on tokens and codes expire at the wrong time.
const ODD: TimeDelta = TimeDelta::seconds(2);
const WRONG: TimeDelta = TimeDelta::seconds(30);

/// A picture of one pixel.
const PIXEL: [u8; 67] = [
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0,
    0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0a, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0,
    1, 0, 0, 5, 0, 1, 0x0d, 0x0a, 0x2d, 0xb4, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It works.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub what: &'static str,
    /// How it is.
    pub state: State,
    /// What is so, and what to do about it.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        };
        write!(f, "{state:<5} {:<9} {}", self.what, self.text)
    }
}

fn ok(what: &'static str, text: impl Into<String>) -> Finding {
    Finding { what, state: State::Ok, text: text.into() }
}

fn warn(what: &'static str, text: impl Into<String>, mend: &str) -> Finding {
    Finding { what, state: State::Warn, text: format!("{}; {mend}", text.into()) }
}

fn fail(what: &'static str, text: impl Into<String>, mend: &str) -> Finding {
    Finding { state: State::Fail, ..warn(what, text, mend) }
}

/// Looks at everything.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![key(config)];
    match app::look_at_database(config).await {
        Ok(database) => findings.extend(database_findings(&database)),
        Err(error) => findings.push(fail(
            "database",
            format!("cannot be used: {error}"),
            "start it, or correct DATABASE_URL",
        )),
    }
    if let Some(url) = &config.database_replica_url {
        findings.push(replica(config, url).await);
    }
    findings.extend([mail(config).await, media(config).await, redis(config).await, cors(config)]);
    findings
}

fn key(config: &Config) -> Finding {
    let file = config.data_dir.join("secret_key");
    match &config.secret_key {
        Some(key) if looks_like_a_sample(key) => {
            warn("key", "SECRET_KEY looks like a sample", "make one by `openssl rand -hex 32`")
        }
        Some(_) => ok("key", "SECRET_KEY is set"),
        None => match std::fs::read_to_string(&file) {
            Ok(key) if key.trim().len() >= 32 => ok("key", format!("is kept in {}", file.display())),
            Ok(_) => {
                fail("key", format!("{} holds no key of at least 32 bytes", file.display()), "delete it")
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                ok("key", format!("will be made in {} at the first start", file.display()))
            }
            Err(error) => fail(
                "key",
                format!("{} cannot be read: {error}", file.display()),
                "set SECRET_KEY, or let us read it",
            ),
        },
    }
}

fn database_findings(state: &DatabaseState) -> Vec<Finding> {
    let schema = if !state.unknown.is_empty() {
        let unknown = state.unknown.join(", ");
        fail("schema", format!("has migrations of a newer program ({unknown})"), "run that one")
    } else if state.pending.is_empty() {
        ok("schema", "is up to date")
    } else if state.migrates_itself {
        ok("schema", "will be migrated at the next start")
    } else {
        let pending = state.pending.join(", ");
        fail("schema", format!("lacks migrations ({pending})"), "run `api migrate`, or set AUTO_MIGRATE=true")
    };
    let Some(theirs) = state.clock else {
        return vec![ok("database", "answers"), schema, ok("clock", "is the database's own")];
    };
    let apart = (Utc::now() - theirs).abs();
    let text = format!("{} ms from the database's", apart.num_milliseconds());
    let clock = match apart {
        apart if apart >= WRONG => fail("clock", text, "let NTP set both clocks"),
        apart if apart >= ODD => warn("clock", text, "let NTP set both clocks"),
        _ => ok("clock", text),
    };
    vec![ok("database", "answers"), schema, clock]
}

async fn replica(config: &Config, url: &str) -> Finding {
    let mend = "start it, or correct DATABASE_REPLICA_URL; reads go to DATABASE_URL meanwhile";
    match app::look_at_replica(config, url).await {
        Ok(true) => ok("replica", "follows the database"),
        Ok(false) => fail("replica", "does not follow the database", mend),
        Err(error) => fail("replica", format!("cannot be used: {error}"), mend),
    }
}

async fn mail(config: &Config) -> Finding {
    if config.mail == MailConfig::Inbox {
        return ok("mail", "SMTP_HOST is not set: mails can be read at /dev/inbox");
    }
    match app::log_in_to_mail(config).await {
        Ok(()) => ok("mail", "the SMTP server lets us in"),
        Err(error) => {
            let mend = "check SMTP_HOST, SMTP_PORT, SMTP_TLS, SMTP_USER and SMTP_PASSWORD";
            fail("mail", format!("the SMTP server does not let us in: {error}"), mend)
        }
    }
}

async fn media(config: &Config) -> Finding {
    let (place, mend) = if config.cloudinary.is_some() {
        ("Cloudinary", "check the three CLOUDINARY_ variables")
    } else {
        ("the disk", "let us write below DATA_DIR, and free some space")
    };
    if config.cloudinary.is_none() && !config.data_dir.join("media").exists() {
        return ok("media", "the folder will be made at the first start");
    }
    let result = match app::open_media(config).await {
        Ok(store) => round_trip(store.as_ref()).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ok("media", format!("a file went to {place} and back, and was deleted")),
        Err(error) => fail("media", format!("a file did not go to {place} and back: {error}"), mend),
    }
}

/// Stores a file, reads it by copying it, and deletes both.
async fn round_trip(store: &dyn MediaStore) -> Result<(), String> {
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
    let done = async {
        let media = store.store(first.clone(), file, false).await?;
        store.copy(media, second.clone(), true).await.map(|_| ())
    }
    .await;
    // Also when it failed midway.
    let deleted = [store.delete(first).await, store.delete(second).await];
    done.map_err(text)?;
    deleted.into_iter().collect::<Result<(), _>>().map_err(text)
}

async fn redis(config: &Config) -> Finding {
    let Some(url) = &config.redis_url else {
        return ok("redis", "REDIS_URL is not set: this is the only process");
    };
    match app::ping_redis(url).await {
        Ok(()) => ok("redis", "answers"),
        Err(error) => fail("redis", format!("cannot be reached: {error}"), "start it, or correct REDIS_URL"),
    }
}

fn cors(config: &Config) -> Finding {
    let origins = &config.cors_origins;
    let front_end = Url::parse(&config.frontend_url).map(|url| url.origin().ascii_serialization());
    let front_end = front_end.unwrap_or_default();
    let is_local = |origin: &String| origin.contains("//localhost") || origin.contains("//127.0.0.1");
    if origins.iter().any(|origin| origin == "*") {
        return warn("cors", "pages of any origin may call", "name yours in CORS_ORIGINS");
    }
    if !origins.contains(&front_end) {
        let text = format!("{front_end}, where FRONTEND_URL leads, may not call");
        return warn("cors", text, "add it to CORS_ORIGINS");
    }
    if config.environment == Environment::Production && origins.iter().any(is_local) {
        return warn("cors", "pages of this machine may call", "take localhost out of CORS_ORIGINS");
    }
    ok("cors", format!("pages of {} may call", origins.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        let vars = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_vars(vars).unwrap()
    }

    #[test]
    fn the_front_end_must_be_among_the_origins() {
        assert_eq!(cors(&config(&[])).state, State::Ok);
        assert_eq!(cors(&config(&[("FRONTEND_URL", "https://app.example.com/")])).state, State::Warn);
        assert_eq!(cors(&config(&[("CORS_ORIGINS", "*")])).state, State::Warn);
    }

    #[test]
    fn a_clock_that_is_off_and_a_schema_that_does_not_fit_are_told() {
        let state = |seconds, pending: &[&str], unknown: &[&str]| DatabaseState {
            pending: pending.iter().map(|name| (*name).to_owned()).collect(),
            unknown: unknown.iter().map(|name| (*name).to_owned()).collect(),
            migrates_itself: false,
            clock: Some(Utc::now() + TimeDelta::seconds(seconds)),
        };
        let states =
            |state| database_findings(&state).into_iter().map(|finding| finding.state).collect::<Vec<_>>();
        assert_eq!(states(state(0, &[], &[])), [State::Ok, State::Ok, State::Ok]);
        assert_eq!(states(state(5, &["one"], &[])), [State::Ok, State::Fail, State::Warn]);
        assert_eq!(states(state(-60, &[], &["one"])), [State::Ok, State::Fail, State::Fail]);
        assert_eq!(states(DatabaseState { migrates_itself: true, ..state(0, &["one"], &[]) })[1], State::Ok);
    }

    #[test]
    fn a_line_says_what_is_how() {
        let line = fail("redis", "cannot be reached: no", "start it").to_string();
        assert_eq!(line, "fail  redis     cannot be reached: no; start it");
    }
}
