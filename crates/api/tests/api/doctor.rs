//! `api doctor`, as operators call it.

use std::{path::Path, process::Command};

use test_support::{TestDatabase, redis_url};

/// What it says of these settings, and whether all is well.
fn doctor(folder: &Path, settings: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_api"))
        .arg("doctor")
        .env_clear()
        .env("DATA_DIR", folder.join("data"))
        .envs(settings.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// How something is, and the line that says so.
fn state<'a>(report: &'a str, what: &str) -> (&'a str, &'a str) {
    let line = report.lines().find(|line| line.split_whitespace().nth(1) == Some(what));
    let line = line.unwrap_or_else(|| panic!("nothing of {what} in {report}"));
    (line.split_whitespace().next().unwrap(), line)
}

const THINGS: [&str; 7] = ["key", "database", "schema", "clock", "mail", "media", "redis"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_well_without_any_setting_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (is_well, report) = doctor(folder.path(), &[]);
    assert!(is_well, "{report}");
    for what in THINGS.iter().chain(&["cors"]) {
        assert_eq!(state(&report, what).0, "ok", "{report}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_not_there_is_told_and_then_all_is_well() {
    let (db, folder) = (TestDatabase::postgres().await, tempfile::tempdir().unwrap());
    let settings = [("DATABASE_URL", db.url()), ("REDIS_URL", redis_url())];
    let (is_well, report) = doctor(folder.path(), &settings);
    assert!(!is_well);
    assert_eq!(state(&report, "database").0, "ok");
    let (schema, line) = state(&report, "schema");
    assert!(schema == "fail" && line.contains("run `api migrate`"), "{line}");
    let url = infra_diesel::DatabaseUrl::parse(db.url()).unwrap();
    infra_diesel::migrate(&url, false).await.unwrap();
    let media = folder.path().join("data/media");
    std::fs::create_dir_all(&media).unwrap();
    let (is_well, report) = doctor(folder.path(), &settings);
    assert!(is_well, "{report}");
    assert!(state(&report, "media").1.contains("and back"), "{report}");
    assert!(state(&report, "clock").1.contains("ms from the database's"), "{report}");
    assert_eq!(files(&media), Vec::<String>::new());
}

/// The names of the files in a folder that are no marks of its owner.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name.contains(".png")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_work_is_told_with_how_to_mend_it_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens at any of these.
    let settings = [
        ("DATABASE_URL", "postgres://user:hidden-word@127.0.0.1:1/db"),
        ("DATABASE_REPLICA_URL", "postgres://user:hidden-word@127.0.0.1:1/db"),
        ("SECRET_KEY", "an-example-key-of-more-than-32-bytes-with-a-hidden-word"),
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", "1"),
        ("SMTP_USER", "somebody@example.com"),
        ("SMTP_PASSWORD", "hidden-word"),
        ("REDIS_URL", "redis://:hidden-word@127.0.0.1:1"),
        ("FRONTEND_URL", "https://app.example.com"),
        ("CLOUDINARY_CLOUD_NAME", "cloud"),
        ("CLOUDINARY_API_KEY", "1"),
        ("CLOUDINARY_API_SECRET", "hidden-word"),
        ("CLOUDINARY_API_BASE", "http://127.0.0.1:1"),
    ];
    let (is_well, report) = doctor(folder.path(), &settings);
    assert!(!is_well);
    for (what, mend) in [
        ("database", "DATABASE_URL"),
        ("replica", "DATABASE_REPLICA_URL"),
        ("mail", "SMTP_HOST"),
        ("media", "CLOUDINARY_"),
        ("redis", "REDIS_URL"),
    ] {
        let (state, line) = state(&report, what);
        assert!(state == "fail" && line.contains(mend), "{line}");
    }
    for (what, mend) in [("key", "openssl rand -hex 32"), ("cors", "CORS_ORIGINS")] {
        let (state, line) = state(&report, what);
        assert!(state == "warn" && line.contains(mend), "{line}");
    }
    assert!(!report.contains("hidden-word"), "{report}");
}
