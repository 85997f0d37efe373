//! `api doctor`.

use std::{path::Path, process::Output};

use test_support::{TestDatabase, redis_url};

use crate::harness::command;

/// Runs `api doctor`: whether it succeeded, its report on the standard output, and the text on standard error.
fn doctor(folder: &Path, settings: &[(&str, &str)]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command(folder, settings).arg("doctor").output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Returns the state of one check, and its line.
fn state<'a>(report: &'a str, check: &str) -> (&'a str, &'a str) {
    let line = report.lines().find(|line| line.split_whitespace().nth(1) == Some(check));
    let line = line.unwrap_or_else(|| panic!("no check {check} in {report}"));
    (line.split_whitespace().next().unwrap(), line)
}

const CHECKS: [&str; 7] = ["key", "database", "schema", "clock", "mail", "media", "redis"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_without_settings_passes_and_creates_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, report, _) = doctor(folder.path(), &[]);
    assert!(ok, "{report}");
    for check in CHECKS.iter().chain(&["cors"]) {
        assert_eq!(state(&report, check).0, "ok", "{report}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_reports_a_missing_schema_until_it_is_migrated() {
    let (db, folder) = (TestDatabase::postgres().await, tempfile::tempdir().unwrap());
    let settings = [("DATABASE_URL", db.url()), ("REDIS_URL", redis_url())];
    let (ok, report, _) = doctor(folder.path(), &settings);
    assert!(!ok);
    assert_eq!(state(&report, "database").0, "ok");
    let (schema, line) = state(&report, "schema");
    assert!(schema == "fail" && line.contains("run `api migrate`"), "{line}");
    let url = infra_diesel::DatabaseUrl::parse(db.url()).unwrap();
    infra_diesel::migrate(&url, false).await.unwrap();
    let media = folder.path().join("data/media");
    std::fs::create_dir_all(&media).unwrap();
    let (ok, report, _) = doctor(folder.path(), &settings);
    assert!(ok, "{report}");
    assert!(state(&report, "media").1.contains("and back"), "{report}");
    assert!(state(&report, "clock").1.contains("ms from the database's"), "{report}");
    assert_eq!(file_names(&media), Vec::<String>::new());
}

/// Names of the stored files in a folder.
fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name.contains(".png")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_suggests_a_fix_for_each_failure_and_prints_no_secrets() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing listens at these addresses.
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
    let (ok, report, summary) = doctor(folder.path(), &settings);
    assert!(!ok);
    for (check, fix) in [
        ("database", "DATABASE_URL"),
        ("replica", "DATABASE_REPLICA_URL"),
        ("mail", "SMTP_HOST"),
        ("media", "CLOUDINARY_"),
        ("redis", "REDIS_URL"),
    ] {
        let (state, line) = state(&report, check);
        assert!(state == "fail" && line.contains(fix), "{line}");
    }
    for (check, fix) in [("key", "openssl rand -hex 32"), ("cors", "CORS_ORIGINS")] {
        let (state, line) = state(&report, check);
        assert!(state == "warn" && line.contains(fix), "{line}");
    }
    assert_eq!(summary, "5 checks failed.\n");
    assert!(!report.contains("hidden-word"), "{report}");
}
