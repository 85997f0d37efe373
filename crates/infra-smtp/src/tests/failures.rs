//! Mail that is not delivered.

use std::time::{Duration, Instant};

use domain::mailer::{MailError, Mailer};
use tokio::{net::TcpListener, time};

use super::{
    config, mail,
    server::{LATE_RESPONSE_DELAY, TestServer},
};
use crate::{Login, SmtpConfig, SmtpMailer, Tls};

/// Time in which a pool with background tasks would have taken a connection back.
const RETURN_TIME: Duration = Duration::from_millis(20);

/// Sends a mail to a server with these responses and returns the error.
async fn send_error(responses: &[(&'static str, &'static str)]) -> MailError {
    let server = TestServer::start(responses).await;
    let error = SmtpMailer::new(config(server.port)).unwrap().send(mail()).await.unwrap_err();
    let text = error.to_string();
    for secret in ["ada@example.org", "example.org", "123456", "secret"] {
        assert!(!text.contains(secret), "{text}");
    }
    error
}

fn permanent(text: &str) -> MailError {
    MailError::Permanent(text.into())
}

fn transient(text: &str) -> MailError {
    MailError::Transient(text.into())
}

#[tokio::test]
async fn rejected_recipient_is_permanent() {
    let error = send_error(&[("RCPT", "550 5.1.1 <ada@example.org> does not exist")]).await;
    assert_eq!(error, permanent("the server responded with 550"));
}

#[tokio::test]
async fn rejected_content_is_permanent() {
    let error = send_error(&[(".", "554 5.7.1 we do not like 123456")]).await;
    assert_eq!(error, permanent("the server responded with 554"));
}

#[tokio::test]
async fn temporary_rejection_is_transient() {
    let error = send_error(&[("RCPT", "451 4.7.1 greylisted: ada@example.org")]).await;
    assert_eq!(error, transient("the server responded with 451"));
    let error = send_error(&[(".", "452 4.3.1 disk full")]).await;
    assert_eq!(error, transient("the server responded with 452"));
    let error = send_error(&[("GREETING", "421 too busy")]).await;
    assert_eq!(error, transient("the server responded with 421"));
}

#[tokio::test]
async fn wrong_password_is_transient() {
    let server = TestServer::start(&[("AUTH", "535 5.7.8 bad credentials for ada@example.org")]).await;
    let login = Some(Login { user: "user".into(), password: "wrong".into() });
    let mailer = SmtpMailer::new(SmtpConfig { login, ..config(server.port) }).unwrap();
    assert_eq!(mailer.send(mail()).await, Err(transient("the server responded with 535")));
    assert_eq!(server.count("DATA"), 0);
}

#[tokio::test]
async fn check_logs_in_and_sends_no_mail() {
    let login = || Some(Login { user: "user".into(), password: "right".into() });
    let server = TestServer::start(&[]).await;
    let mailer = SmtpMailer::new(SmtpConfig { login: login(), ..config(server.port) }).unwrap();
    assert_eq!(mailer.check().await, Ok(()));
    let lines = server.lines();
    let commands: Vec<_> = lines.iter().filter_map(|line| line.text.split(' ').next()).collect();
    assert_eq!(commands, ["EHLO", "AUTH", "QUIT"]);
    let rejecting = TestServer::start(&[("AUTH", "535 5.7.8 bad credentials")]).await;
    let mailer = SmtpMailer::new(SmtpConfig { login: login(), ..config(rejecting.port) }).unwrap();
    assert_eq!(mailer.check().await, Err(transient("the server responded with 535")));
}

#[tokio::test]
async fn refused_connection_is_transient() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let sent = SmtpMailer::new(config(port)).unwrap().send(mail()).await;
    assert_eq!(sent, Err(transient("connection failed: connection refused")));
}

#[tokio::test]
async fn unresolvable_host_is_transient() {
    let config = SmtpConfig { host: "mail.invalid".into(), ..config(25) };
    let sent = SmtpMailer::new(config).unwrap().send(mail()).await;
    assert!(matches!(sent, Err(MailError::Transient(_))), "{sent:?}");
}

#[tokio::test]
async fn hanging_server_is_transient_within_the_timeout() {
    const OFFERS_STARTTLS: (&str, &str) = ("EHLO", "250-localhost\r\n250 STARTTLS");
    let mut cases: Vec<_> = ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."]
        .map(|command| (Tls::Plain, vec![(command, "hang")]))
        .into();
    cases.push((Tls::Implicit, vec![("GREETING", "hang")]));
    cases.push((Tls::StartTls, vec![OFFERS_STARTTLS, ("STARTTLS", "hang")]));
    for (tls, responses) in cases {
        let server = TestServer::start(&responses).await;
        let config = SmtpConfig { tls, timeout: Duration::from_millis(300), ..config(server.port) };
        let started = Instant::now();
        let sent = SmtpMailer::new(config).unwrap().send(mail()).await;
        assert!(matches!(sent, Err(MailError::Transient(_))), "{tls:?} {responses:?}: {sent:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{tls:?} {responses:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn connection_of_an_abandoned_mail_is_not_reused() {
    let server = TestServer::start(&[(".", "hang")]).await;
    let config =
        SmtpConfig { timeout: Duration::from_millis(300), max_connections: 1, ..config(server.port) };
    let mailer = SmtpMailer::new(config).unwrap();
    for _ in 0..2 {
        assert!(mailer.send(mail()).await.is_err());
        time::sleep(RETURN_TIME).await;
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn late_response_is_not_attributed_to_the_next_mail() {
    let server = TestServer::start(&[(".", "late 250 accepted")]).await;
    let timeout = LATE_RESPONSE_DELAY * 3 / 4;
    let mailer = SmtpMailer::new(SmtpConfig { timeout, max_connections: 1, ..config(server.port) }).unwrap();
    for _ in 0..2 {
        let sent = mailer.send(mail()).await;
        assert!(matches!(sent, Err(MailError::Transient(_))), "{sent:?}");
        time::sleep(RETURN_TIME).await;
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn closed_connection_or_invalid_response_is_transient() {
    let responses = [("GREETING", "close"), ("GREETING", "HTTP/1.1 400 Bad Request"), ("RCPT", "close")];
    for response in responses.into_iter().chain([(".", "close"), ("MAIL", "\u{1}\u{2}ada@example.org")]) {
        let error = send_error(&[response]).await;
        assert!(matches!(error, MailError::Transient(_)), "{response:?}: {error:?}");
    }
}

#[tokio::test]
async fn missing_starttls_prevents_unencrypted_authentication() {
    let server = TestServer::start(&[]).await;
    let login = Some(Login { user: "user".into(), password: "hunter2hunter2".into() });
    let config = SmtpConfig { tls: Tls::StartTls, login, ..config(server.port) };
    let sent = SmtpMailer::new(config).unwrap().send(mail()).await;
    assert!(matches!(sent, Err(MailError::Transient(_))), "{sent:?}");
    let lines: Vec<_> = server.lines().into_iter().map(|line| line.text).collect();
    assert!(lines.iter().all(|line| line.starts_with("EHLO ")), "{lines:?}");
}

#[test]
fn debug_output_of_config_omits_the_password() {
    let login = Some(Login { user: "user".into(), password: "hunter2hunter2".into() });
    assert!(!format!("{:?}", SmtpConfig { login, ..config(25) }).contains("hunter2"));
}
