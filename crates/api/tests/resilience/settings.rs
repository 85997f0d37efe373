//! A server with an invalid setting does not start: it names the setting and leaves nothing behind.

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::{harness::run_command, resilience::report};

/// The setting that the error names, and the settings of a server that must not start.
const INVALID: &[(&str, &[(&str, &str)])] = &[
    ("APP_ENV", &[("APP_ENV", "staging")]),
    ("HOST", &[("HOST", "nowhere")]),
    ("PORT", &[("PORT", "70000")]),
    ("DATABASE_URL", &[("DATABASE_URL", "mysql://hunter2@localhost/social")]),
    // Nothing listens at this address.
    ("DATABASE_URL", &[("DATABASE_URL", "postgres://postgres:hunter2@127.0.0.1:1/social")]),
    ("DATABASE_URL", &[("DATABASE_URL", "postgres://postgres:hunter2@127.0.0.1:1/social?sslmode=maybe")]),
    (
        "DATABASE_CA_FILE",
        &[
            ("DATABASE_URL", "postgres://postgres:hunter2@127.0.0.1:1/social"),
            ("DATABASE_CA_FILE", "/no/such/file"),
        ],
    ),
    ("DATABASE_REPLICA_URL", &[("DATABASE_REPLICA_URL", "postgres://hunter2@localhost/social")]),
    (
        "DATABASE_REPLICA_URL",
        &[("DATABASE_URL", "postgres://localhost/social"), ("DATABASE_REPLICA_URL", "sqlite://hunter2")],
    ),
    ("DATABASE_CONNECTIONS", &[("DATABASE_CONNECTIONS", "0")]),
    ("AUTO_MIGRATE", &[("AUTO_MIGRATE", "perhaps")]),
    ("SECRET_KEY", &[("SECRET_KEY", "hunter2")]),
    ("SMTP_PORT", &[("SMTP_HOST", "localhost"), ("SMTP_PORT", "mail")]),
    ("SMTP_TLS", &[("SMTP_HOST", "localhost"), ("SMTP_TLS", "maybe")]),
    ("SMTP_PASSWORD", &[("SMTP_HOST", "localhost"), ("SMTP_USER", "ann")]),
    ("SENDER_EMAIL", &[("SMTP_HOST", "localhost"), ("SENDER_EMAIL", "nobody")]),
    ("CLOUDINARY_API_SECRET", &[("CLOUDINARY_CLOUD_NAME", "cloud"), ("CLOUDINARY_API_KEY", "hunter2")]),
    ("CORS_ORIGINS", &[("CORS_ORIGINS", "app.example.com/path")]),
    ("CORS_ORIGINS", &[("CORS_ORIGINS", "https://app.example.com,null")]),
    ("CORS_ORIGINS", &[("CORS_ORIGINS", "https://*.com")]),
    ("FRONTEND_URL", &[("FRONTEND_URL", "ftp://example.com")]),
    ("PUBLIC_URL", &[("PUBLIC_URL", "example")]),
    ("REDIS_URL", &[("REDIS_URL", "http://hunter2@localhost")]),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", &[("ACCESS_TOKEN_EXPIRE_MINUTES", "0")]),
    ("REFRESH_TOKEN_EXPIRE_DAYS", &[("REFRESH_TOKEN_EXPIRE_DAYS", "-1")]),
    ("MAX_UPLOAD_BYTES", &[("MAX_UPLOAD_BYTES", "10 MiB")]),
    ("CONNECTIONS_TOTAL", &[("CONNECTIONS_TOTAL", "0")]),
    ("CONNECTIONS_PER_ADDRESS", &[("CONNECTIONS_PER_ADDRESS", "-1")]),
    ("BODY_BYTES_TOTAL", &[("BODY_BYTES_TOTAL", "64 MiB")]),
    ("BODY_BYTES_PER_ADDRESS", &[("BODY_BYTES_PER_ADDRESS", "1000")]),
    ("WORKERS", &[("WORKERS", "0")]),
    ("RUST_LOG", &[("RUST_LOG", "info,api=hunter2")]),
    ("RUST_LOG", &[("RUST_LOG", "inof")]),
    ("SMTP_HELO_NAME", &[("SMTP_HOST", "localhost"), ("SMTP_HELO_NAME", "two words")]),
];

/// Valid settings of a server in production.
const PRODUCTION: &[(&str, &str)] = &[
    ("APP_ENV", "production"),
    ("SECRET_KEY", "9f2c47d10be85a63c4e7f01829ab3d5c"),
    ("SMTP_HOST", "localhost"),
    ("FRONTEND_URL", "https://app.example.com"),
    ("PUBLIC_URL", "https://api.example.com"),
];

/// The setting that the error names, and what replaces the valid settings of a server in production.
const UNSAFE_IN_PRODUCTION: &[(&str, &[(&str, &str)])] = &[
    ("SECRET_KEY", &[("SECRET_KEY", "")]),
    ("SECRET_KEY", &[("SECRET_KEY", "change-me-hunter2-change-me-hunter2")]),
    ("SMTP_HOST", &[("SMTP_HOST", "")]),
    ("DEBUG", &[("DEBUG", "true")]),
    ("FRONTEND_URL", &[("FRONTEND_URL", "")]),
    ("PUBLIC_URL", &[("PUBLIC_URL", "")]),
    ("CORS_ORIGINS", &[("CORS_ORIGINS", "*")]),
    ("SMTP_TLS", &[("SMTP_PORT", "25"), ("SMTP_USER", "ann"), ("SMTP_PASSWORD", "hunter2")]),
    ("ALLOW_IN_PRODUCTION", &[("ALLOW_IN_PRODUCTION", "everything")]),
];

/// Starts the server with these settings and returns the defects of its error message.
fn check_refusal(name: &str, settings: &[(&str, &str)], limit: Duration) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "30"]).arg(env!("CARGO_BIN_EXE_api")).env_clear();
    // All other settings are valid.
    command.env("PATH", "/usr/bin:/bin").env("PORT", "0").env("DATA_DIR", folder.path().join("data"));
    command.envs(settings.iter().copied()).current_dir(folder.path());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let took = start.elapsed();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let sentences: Vec<&str> = text.lines().filter(|line| *line != "Invalid settings:").collect();
    let mut wrong = Vec::new();
    if status.success() || status.code().is_none_or(|code| code > 100) {
        wrong.push(format!("ended with {status}"));
    }
    if !matches!(sentences[..], [one] if one.trim_start().starts_with(name)) {
        wrong.push(format!("printed {text:?}"));
    }
    if text.contains("hunter2") {
        wrong.push("printed a secret".to_owned());
    }
    if took > limit {
        wrong.push(format!("took {took:?}"));
    }
    if std::fs::read_dir(folder.path()).unwrap().next().is_some() {
        wrong.push("left files".to_owned());
    }
    wrong.into_iter().map(|wrong| format!("{name} {settings:?}: {wrong}")).collect()
}

fn check_all(limit: Duration) {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut failures = check_refusal("HOST, PORT", &[("HOST", "127.0.0.1"), ("PORT", &port)], limit);
    failures.extend(INVALID.iter().flat_map(|(name, settings)| check_refusal(name, settings, limit)));
    for (name, settings) in UNSAFE_IN_PRODUCTION {
        failures.extend(check_refusal(name, &[PRODUCTION, settings].concat(), limit));
    }
    report("servers with invalid settings", INVALID.len() + UNSAFE_IN_PRODUCTION.len() + 1, &failures);
}

#[test]
fn invalid_setting_stops_the_start_with_one_sentence_and_no_files() {
    check_all(Duration::from_secs(20));
}

#[test]
#[ignore = "takes minutes: just resilience"]
fn invalid_setting_stops_the_start_within_five_seconds() {
    check_all(Duration::from_secs(5));
}

#[test]
fn file_of_settings_that_cannot_be_parsed_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = |file: &[u8]| {
        std::fs::write(folder.path().join(".env"), file).unwrap();
        // Reads the settings as the server does, but ends.
        run_command(folder.path(), &[], &["migrate"])
    };
    for (file, line) in [
        (&b"SENDER_NAME=My Social\nAPP_ENV=production\n"[..], "line 1"),
        (b"PORT=0\nSECRET_KEY=\"hunter2\nAPP_ENV=production\n", "line 2"),
        (b"SENDER_NAME=\xff\n", "UTF-8"),
    ] {
        let (is_ok, text) = start(file);
        assert!(
            !is_ok && text.contains("/.env") && text.contains(line) && !text.contains("hunter2"),
            "{text}"
        );
    }
    std::fs::write(
        folder.path().join(".env"),
        "SENDER_NAME='My $ocial'\nDATABASE_URL=sqlite://$PATH.sqlite3\n",
    )
    .unwrap();
    let (is_ok, text) = run_command(folder.path(), &[], &["migrate"]);
    assert!(is_ok && folder.path().join("$PATH.sqlite3").exists(), "{text}");
}

#[test]
fn folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "a file").unwrap();
    let (is_ok, text) = run_command(folder.path(), &[], &["migrate"]);
    let path = folder.path().join("data");
    assert!(!is_ok && text.contains(path.to_str().unwrap()), "{text}");
}
