//! Mails that do not arrive.

use std::time::Duration;

use domain::mailer::{MailError, Mailer};
use tokio::net::TcpListener;

use super::{config, mail, server::TestServer};
use crate::{Login, SmtpConfig, SmtpMailer, Tls};

/// What becomes of a mail at a server that gives these answers.
async fn outcome(answers: &[(&'static str, &'static str)]) -> MailError {
    let server = TestServer::start(answers).await;
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
async fn a_refused_recipient_is_permanent() {
    let error = outcome(&[("RCPT", "550 5.1.1 <ada@example.org> does not exist")]).await;
    assert_eq!(error, permanent("the server answered 550"));
}

#[tokio::test]
async fn a_refused_content_is_permanent() {
    let error = outcome(&[(".", "554 5.7.1 we do not like 123456")]).await;
    assert_eq!(error, permanent("the server answered 554"));
}

#[tokio::test]
async fn a_server_that_asks_to_try_again_is_transient() {
    let error = outcome(&[("RCPT", "451 4.7.1 greylisted: ada@example.org")]).await;
    assert_eq!(error, transient("the server answered 451"));
    let error = outcome(&[(".", "452 4.3.1 disk full")]).await;
    assert_eq!(error, transient("the server answered 452"));
    let error = outcome(&[("GREETING", "421 too busy")]).await;
    assert_eq!(error, transient("the server answered 421"));
}

#[tokio::test]
async fn a_wrong_password_is_no_fault_of_the_mail() {
    let server = TestServer::start(&[("AUTH", "535 5.7.8 bad credentials for ada@example.org")]).await;
    let login = Some(Login { user: "user".into(), password: "wrong".into() });
    let mailer = SmtpMailer::new(SmtpConfig { login, ..config(server.port) }).unwrap();
    assert_eq!(mailer.send(mail()).await, Err(transient("the server answered 535")));
    assert_eq!(server.count("DATA"), 0);
}

#[tokio::test]
async fn a_check_logs_in_and_sends_nothing() {
    let login = || Some(Login { user: "user".into(), password: "right".into() });
    let server = TestServer::start(&[]).await;
    let mailer = SmtpMailer::new(SmtpConfig { login: login(), ..config(server.port) }).unwrap();
    assert_eq!(mailer.check().await, Ok(()));
    let lines = server.lines();
    let said: Vec<_> = lines.iter().filter_map(|line| line.text.split(' ').next()).collect();
    assert_eq!(said, ["EHLO", "AUTH", "QUIT"]);
    let refusing = TestServer::start(&[("AUTH", "535 5.7.8 bad credentials")]).await;
    let mailer = SmtpMailer::new(SmtpConfig { login: login(), ..config(refusing.port) }).unwrap();
    assert_eq!(mailer.check().await, Err(transient("the server answered 535")));
}

#[tokio::test]
async fn a_refused_connection_is_transient() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let sent = SmtpMailer::new(config(port)).unwrap().send(mail()).await;
    assert_eq!(sent, Err(transient("connection failed: connection refused")));
}

#[tokio::test]
async fn a_name_without_an_address_is_transient() {
    let config = SmtpConfig { host: "mail.invalid".into(), ..config(25) };
    let sent = SmtpMailer::new(config).unwrap().send(mail()).await;
    assert!(matches!(sent, Err(MailError::Transient(_))), "{sent:?}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_as_transient() {
    for command in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        let server = TestServer::start(&[(command, "hang")]).await;
        let config = SmtpConfig { timeout: Duration::from_millis(300), ..config(server.port) };
        let sent = SmtpMailer::new(config).unwrap().send(mail()).await;
        assert!(matches!(sent, Err(MailError::Transient(_))), "{command}: {sent:?}");
    }
}

#[tokio::test]
async fn a_mail_that_was_given_up_midway_leaves_its_connection_to_nobody() {
    let server = TestServer::start(&[(".", "hang")]).await;
    let config = SmtpConfig { timeout: Duration::from_millis(300), connections: 1, ..config(server.port) };
    let mailer = SmtpMailer::new(config).unwrap();
    for _ in 0..2 {
        assert!(mailer.send(mail()).await.is_err());
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_server_that_hangs_up_or_talks_nonsense_is_transient() {
    let answers = [("GREETING", "close"), ("GREETING", "HTTP/1.1 400 Bad Request"), ("RCPT", "close")];
    for answer in answers.into_iter().chain([(".", "close"), ("MAIL", "\u{1}\u{2}ada@example.org")]) {
        let error = outcome(&[answer]).await;
        assert!(matches!(error, MailError::Transient(_)), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn without_starttls_nothing_is_said_in_clear() {
    let server = TestServer::start(&[]).await;
    let login = Some(Login { user: "user".into(), password: "hunter2hunter2".into() });
    let config = SmtpConfig { tls: Tls::StartTls, login, ..config(server.port) };
    let sent = SmtpMailer::new(config).unwrap().send(mail()).await;
    assert!(matches!(sent, Err(MailError::Transient(_))), "{sent:?}");
    let said: Vec<_> = server.lines().into_iter().map(|line| line.text).collect();
    assert!(said.iter().all(|line| line.starts_with("EHLO ")), "{said:?}");
}

#[test]
fn settings_do_not_show_the_password() {
    let login = Some(Login { user: "user".into(), password: "hunter2hunter2".into() });
    assert!(!format!("{:?}", SmtpConfig { login, ..config(25) }).contains("hunter2"));
}
