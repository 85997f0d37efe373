//! The program as operators call it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use test_support::{TestDatabase, database_test, quiet_port};

use crate::process::{Serving, api};

#[database_test]
async fn migrations_are_named_applied_and_listed(db: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("DATABASE_URL", db.url())];
    let migrate = |arguments: &[&str]| {
        let (ok, text) = api(folder.path(), &settings, &[&["migrate"], arguments].concat());
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
async fn an_old_and_a_newer_schema_are_refused_by_name() {
    let (db, folder) = (TestDatabase::postgres().await, tempfile::tempdir().unwrap());
    let settings = [("DATABASE_URL", db.url())];
    let (ok, text) = api(folder.path(), &settings, &["serve"]);
    assert!(!ok && text.contains("run `api migrate`"), "{text}");
    assert!(api(folder.path(), &settings, &["migrate"]).0);
    let (client, connection) = tokio_postgres::connect(db.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000001')")
        .await
        .unwrap();
    let (ok, text) = api(folder.path(), &settings, &[]);
    assert!(!ok && text.contains("29990101000001") && text.contains("newer version"), "{text}");
}

#[test]
fn what_cannot_be_used_stops_the_start_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, text) = api(folder.path(), &[("PORT", "x"), ("DATABASE_URL", "mysql://secret@host")], &[]);
    assert!(!ok && text.contains("PORT must") && text.contains("DATABASE_URL must"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let (ok, text) = api(folder.path(), &[("APP_ENV", "production")], &[]);
    assert!(!ok && text.contains("SECRET_KEY must") && text.contains("SMTP_HOST must"), "{text}");
}

#[test]
fn the_document_is_printed_without_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, text) = api(folder.path(), &[("PATH", "/nowhere")], &["openapi"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(ok && document["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn it_serves_without_a_setting_and_stops_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let port = quiet_port().to_string();
    let settings = [("PORT", port.as_str()), ("HOST", "127.0.0.1")];
    let mut server = Serving::start(folder.path(), &settings);
    // One process owns an SQLite file.
    let (ok, text) = api(folder.path(), &[("PORT", "0")], &[]);
    assert!(!ok && text.contains("in use by another server"), "{text}");
    let key = std::fs::read_to_string(folder.path().join("data/secret_key")).unwrap();
    assert!(key.len() >= 32);
    server.ask_to_stop();
    assert!(server.0.wait().unwrap().success());
    assert!(!api(folder.path(), &settings, &["healthcheck"]).0);
}

#[test]
fn a_request_that_has_begun_is_answered_before_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let port = quiet_port().to_string();
    let settings = [("PORT", port.as_str()), ("HOST", "127.0.0.1")];
    let mut server = Serving::start(folder.path(), &settings);
    let connect = || TcpStream::connect(("127.0.0.1", port.parse().unwrap()));
    let mut stream = connect().unwrap();
    let body = r#"{"username":"ann","email":"ann@example.com","password":"correct horse"}"#;
    let head = format!(
        "POST /users/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(20);
    stream.write_all((head + first).as_bytes()).unwrap();
    // The server has begun with it once it has begun with one that came later.
    assert!(api(folder.path(), &settings, &["healthcheck"]).0);
    server.ask_to_stop();
    let begun = std::time::Instant::now();
    while connect().is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it goes on to accept connections");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(server.0.try_wait().unwrap().is_none(), "it has not waited");
    stream.write_all(rest.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(stream);
    assert!(server.0.wait().unwrap().success());
}
