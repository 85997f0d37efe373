//! `api serve`: start and stop.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::harness::{Process, run_command};

#[test]
fn invalid_settings_are_all_named_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, text) =
        run_command(folder.path(), &[("PORT", "x"), ("DATABASE_URL", "mysql://secret@host")], &[]);
    assert!(!ok && text.contains("PORT must") && text.contains("DATABASE_URL must"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let (ok, text) = run_command(folder.path(), &[("APP_ENV", "production")], &[]);
    assert!(!ok && text.contains("SECRET_KEY must") && text.contains("SMTP_HOST must"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_runs_without_settings_and_stops_on_sigterm() {
    let mut server = Process::without_defaults(&[]);
    server.launch().await;
    assert!(server.run(&["healthcheck"]).0);
    // Only one process may use an SQLite file.
    let (ok, text) = run_command(server.folder(), &[("PORT", "0")], &[]);
    assert!(!ok && text.contains("in use by another server"), "{text}");
    let key = std::fs::read_to_string(server.data_dir().join("secret_key")).unwrap();
    assert!(key.len() >= 32);
    assert_eq!(server.stop().await.0, Some(0));
    assert!(!server.run(&["healthcheck"]).0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_completes_requests_in_progress() {
    let mut server = Process::without_defaults(&[]);
    server.launch().await;
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let body = r#"{"username":"ann","email":"ann@example.com","password":"correct horse"}"#;
    let head = format!(
        "POST /users/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(20);
    stream.write_all((head + first).as_bytes()).unwrap();
    // Once the server responds to a later request, it has started with this one.
    assert!(server.run(&["healthcheck"]).0);
    server.request_stop();
    let start = Instant::now();
    while TcpStream::connect(server.address()).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(5), "still accepts connections");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!server.has_exited(), "did not wait");
    stream.write_all(rest.as_bytes()).unwrap();
    let mut response = [0; 12];
    stream.read_exact(&mut response).unwrap();
    assert_eq!(&response, b"HTTP/1.1 200");
    drop(stream);
    assert_eq!(server.wait().await, Some(0));
}
