//! Mail that is delivered.

use std::collections::HashSet;

use domain::mailer::{Mail, Mailer};
use mail_parser::{MessageParser, MimeHeaders};

use super::{catcher, config, mail, server::TestServer};
use crate::{SmtpConfig, SmtpConfigError, SmtpMailer};

/// Sends the mails to the server of another library and returns what it received.
async fn deliver(mails: Vec<Mail>) -> Vec<catcher::ReceivedMail> {
    let (port, received) = catcher::start();
    let mailer = SmtpMailer::new(config(port)).unwrap();
    for mail in mails {
        mailer.send(mail).await.unwrap();
    }
    received.lock().unwrap().clone()
}

#[tokio::test]
async fn text_and_html_are_sent_as_alternatives() {
    let received = deliver(vec![mail()]).await;
    let message = MessageParser::default().parse(&received[0].data).unwrap();
    assert_eq!(message.content_type().unwrap().subtype(), Some("alternative"));
    assert_eq!((message.text_body_count(), message.html_body_count()), (1, 1));
    assert_eq!(message.body_text(0).unwrap().replace("\r\n", "\n"), mail().text);
    assert_eq!(message.body_html(0).unwrap(), mail().html);
}

#[tokio::test]
async fn subject_and_sender_may_contain_non_ascii_characters() {
    let received = deliver(vec![mail()]).await;
    assert!(received[0].data.is_ascii(), "servers without 8BITMIME accept nothing else");
    let message = MessageParser::default().parse(&received[0].data).unwrap();
    assert_eq!(message.subject(), Some("Grüße – 你好"));
    let sender = message.from().unwrap().first().unwrap();
    assert_eq!((sender.name(), sender.address()), (Some("Über Netz"), Some("no-reply@example.com")));
}

#[tokio::test]
async fn envelope_contains_sender_and_recipient() {
    let received = deliver(vec![mail()]).await;
    assert_eq!(received[0].from, "no-reply@example.com");
    assert_eq!(received[0].to, ["ada@example.org"]);
}

#[tokio::test]
async fn mail_has_date_unique_message_id_and_auto_submitted_header() {
    let received = deliver(vec![mail(), mail()]).await;
    let mut ids = HashSet::new();
    for mail in &received {
        let message = MessageParser::default().parse(&mail.data).unwrap();
        assert_eq!(message.header_raw("Auto-Submitted").unwrap().trim(), "auto-generated");
        let age = chrono::Utc::now().timestamp() - message.date().unwrap().to_timestamp();
        assert!((0..3600).contains(&age), "{age}");
        let id = message.message_id().unwrap();
        assert!(id.ends_with("@example.com"), "{id}");
        ids.insert(id.to_owned());
    }
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn line_break_in_subject_does_not_inject_a_header() {
    let subject = "Hello\r\nBcc: eve@example.net\r\n\r\nbody".to_owned();
    let received = deliver(vec![Mail { subject, ..mail() }]).await;
    let message = MessageParser::default().parse(&received[0].data).unwrap();
    assert!(message.bcc().is_none());
    assert_eq!(received[0].to, ["ada@example.org"]);
    assert_eq!(message.text_body_count(), 1);
}

#[tokio::test]
async fn lines_of_dots_are_delivered_unchanged() {
    let text = ".\n..\n.hidden\nend\n".to_owned();
    let received = deliver(vec![Mail { text: text.clone(), ..mail() }]).await;
    let message = MessageParser::default().parse(&received[0].data).unwrap();
    assert_eq!(message.body_text(0).unwrap().replace("\r\n", "\n"), text);
}

#[tokio::test]
async fn sequential_mails_share_a_connection() {
    let server = TestServer::start(&[]).await;
    let mailer = SmtpMailer::new(config(server.port)).unwrap();
    for _ in 0..3 {
        mailer.send(mail()).await.unwrap();
    }
    assert_eq!(server.count("DATA"), 3);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn concurrent_mails_use_few_connections() {
    let server = TestServer::start(&[]).await;
    let mailer = SmtpMailer::new(config(server.port)).unwrap();
    let mails: Vec<_> = (0..20)
        .map(|_| {
            let mailer = mailer.clone();
            tokio::spawn(async move { mailer.send(mail()).await })
        })
        .collect();
    for sent in mails {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(server.count("DATA"), 20);
    assert!((1..=2).contains(&server.connections()), "{}", server.connections());
}

#[tokio::test]
async fn connection_closed_by_the_server_is_replaced() {
    let server = TestServer::start(&[("NOOP", "close")]).await;
    let mailer = SmtpMailer::new(config(server.port)).unwrap();
    for _ in 0..2 {
        mailer.send(mail()).await.unwrap();
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn new_rejects_an_invalid_sender_address() {
    let config = SmtpConfig { sender_email: "not-an-address".into(), ..config(1025) };
    assert_eq!(SmtpMailer::new(config).err(), Some(SmtpConfigError::Sender));
}

#[tokio::test]
async fn server_is_greeted_with_the_configured_name() {
    let server = TestServer::start(&[]).await;
    let hello_name = Some("social.example.com".to_owned());
    SmtpMailer::new(SmtpConfig { hello_name, ..config(server.port) }).unwrap().send(mail()).await.unwrap();
    assert_eq!(server.lines()[0].text.trim(), "EHLO social.example.com");
}
