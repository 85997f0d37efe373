//! `api migrate`, and the check of the schema at start.

use test_support::{TestDatabase, database_test};

use crate::harness::run_command;

#[database_test]
async fn migrate_lists_and_applies_pending_migrations(db: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("DATABASE_URL", db.url())];
    let migrate = |arguments: &[&str]| {
        let (ok, text) = run_command(folder.path(), &settings, &[&["migrate"], arguments].concat());
        assert!(ok, "{text}");
        text
    };
    assert!(migrate(&["--dry-run"]).starts_with("would apply "));
    assert!(migrate(&["status"]).starts_with("pending"));
    assert!(migrate(&[]).starts_with("applied "));
    assert!(migrate(&["status"]).starts_with("applied"));
    assert_eq!(migrate(&[]), "The schema is up to date.\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_rejects_outdated_and_newer_schemas() {
    let (db, folder) = (TestDatabase::postgres().await, tempfile::tempdir().unwrap());
    let settings = [("DATABASE_URL", db.url())];
    let (ok, text) = run_command(folder.path(), &settings, &["serve"]);
    assert!(!ok && text.contains("run `api migrate`"), "{text}");
    assert!(run_command(folder.path(), &settings, &["migrate"]).0);
    let (client, connection) = tokio_postgres::connect(db.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000001')")
        .await
        .unwrap();
    let (ok, text) = run_command(folder.path(), &settings, &[]);
    assert!(!ok && text.contains("29990101000001") && text.contains("newer version"), "{text}");
}
